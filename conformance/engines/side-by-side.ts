/**
 * Runs a foreign suite against dockerd and against Berth, one after the other in one run, each in network and mount namespaces of
 * its own, and holds the verdicts beside each other: the run fails with the name of each case that dockerd passes and Berth
 * does not. `CONFORMANCE_ONLY=berth` (or `dockerd`) runs one of them and records nothing.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeResult, type Verdict } from '../record.ts'
import { withEngine, type EngineName } from './default-socket.ts'
import { prepareHub, startHub } from './stand-in-hub.ts'
import { imageArchive, type StandInImage } from './stand-in-images.ts'

export interface SuiteCase {
  readonly name: string
  readonly verdict: Verdict
}

export interface ForeignSuite {
  /** Name of the driver and of the result file. */
  readonly driver: string
  readonly suite: string
  readonly commit: string
  readonly images: () => readonly StandInImage[]
  /** Cases that are recorded and not held against Berth. */
  readonly isOutsideScope?: (name: string) => boolean
  /** Runs the suite against the engine at the default socket; `folder` is empty and goes away afterwards. */
  readonly cases: (engine: EngineName, folder: string) => Promise<readonly SuiteCase[]>
}

const insideVariable = 'BERTH_CONFORMANCE_ENGINE'
const folderVariable = 'BERTH_CONFORMANCE_FOLDER'

export async function runSideBySide(suite: ForeignSuite): Promise<void> {
  const engine = process.env[insideVariable]
  const folder = process.env[folderVariable]
  if ((engine === 'dockerd' || engine === 'berth') && folder !== undefined) return runInside(suite, engine, folder)
  const outer = mkdtempSync(join(tmpdir(), 'cf-'))
  const only = process.env['CONFORMANCE_ONLY']
  try {
    if (only === 'dockerd' || only === 'berth') {
      // For mending: nothing is recorded.
      for (const [name, verdict] of runApart(suite.driver, only, join(outer, only))) if (verdict !== 'passed') console.log(`${verdict} ${name}`)
      return
    }
    const verdicts = new Map<EngineName, ReadonlyMap<string, Verdict>>()
    for (const name of ['dockerd', 'berth'] as const) verdicts.set(name, runApart(suite.driver, name, join(outer, name)))
    record(suite, verdicts.get('dockerd') ?? new Map(), verdicts.get('berth') ?? new Map())
  } finally {
    rmSync(outer, { recursive: true, force: true })
  }
}

function runApart(driver: string, engine: EngineName, folder: string): ReadonlyMap<string, Verdict> {
  mkdirSync(folder)
  const { authority } = prepareHub(join(folder, 'hub'))
  const tool = join(import.meta.dirname, '../../tools/conformance.ts')
  const env = { ...process.env, [insideVariable]: engine, [folderVariable]: folder, NODE_EXTRA_CA_CERTS: authority, SSL_CERT_FILE: authority, DOCKER_HOST: 'unix:///run/docker.sock', HOME: folder }
  const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, driver], { stdio: 'inherit', env })
  if (result.status !== 0) throw new Error(`${driver} against ${engine} did not come to its end (${result.status ?? result.signal})`)
  const cases: SuiteCase[] = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'))
  return new Map(cases.map(({ name, verdict }) => [name, verdict]))
}

async function runInside(suite: ForeignSuite, engine: EngineName, folder: string): Promise<void> {
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  // As on a user's machine, so that shared and slave binds can be asked for; the namespace itself is cut off from the machine's.
  spawnSync('mount', ['--make-rshared', '/'])
  const images = suite.images()
  const hubFolder = join(folder, 'hub')
  await using hub = await startHub(images, { authority: join(hubFolder, 'ca.pem'), certificate: join(hubFolder, 'hub.pem'), key: join(hubFolder, 'hub.key') })
  void hub
  await withEngine(engine, join(folder, 'engine'), imageArchive(images), async () => {
    const work = join(folder, 'work')
    mkdirSync(work)
    writeFileSync(join(folder, 'cases.json'), JSON.stringify(await suite.cases(engine, work)))
  })
}

function record(suite: ForeignSuite, dockerd: ReadonlyMap<string, Verdict>, berth: ReadonlyMap<string, Verdict>): void {
  const names = new Set([...dockerd.keys(), ...berth.keys()])
  const cases = [...names].map((name) => ({ name, verdict: berth.get(name) ?? 'skipped', dockerd: dockerd.get(name) ?? 'skipped' }))
  writeResult(suite.driver, { suite: suite.suite, commit: suite.commit, cases })
  const behind = cases.filter((entry) => entry.dockerd === 'passed' && entry.verdict !== 'passed' && suite.isOutsideScope?.(entry.name) !== true)
  const ahead = cases.filter((entry) => entry.dockerd !== 'passed' && entry.verdict === 'passed')
  console.log(`dockerd passes ${[...dockerd.values()].filter((verdict) => verdict === 'passed').length} of ${dockerd.size}; Berth alone passes ${ahead.length}`)
  if (behind.length === 0) return
  console.error(`${behind.length} cases that dockerd passes and Berth does not:\n${behind.map(({ name, verdict }) => `  ${name} (${verdict})`).join('\n')}`)
  process.exitCode = 1
}

/** The commit of a suite's clone. */
export function commitOf(clone: string, known?: string): string {
  if (known !== undefined) return known
  const result = spawnSync('git', ['-C', clone, 'rev-parse', 'HEAD'], { encoding: 'utf8' })
  return result.status === 0 ? result.stdout.trim() : 'unknown'
}
