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
  /** What was expected and what was found, without what changes from run to run. */
  readonly detail?: string
  /** Why it may be so. */
  readonly reason?: string
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
  /**
   * Where given, each failing case must have a reason: one of these, or that dockerd fails it with the same detail (the suite
   * expects what Docker does not do). A case that dockerd passes needs one that says why Berth is right nevertheless.
   */
  readonly reason?: (name: string, dockerd: Verdict) => string | undefined
  /** Where true, no expectation is written down: Berth passes a case whose detail is dockerd's. */
  readonly dockerdIsRight?: boolean
  /** With `dockerdIsRight`: lines of a case that may differ (`dockerd: …`, `Berth:   …`), and why. Every other one fails it, and so does one that no longer differs. */
  readonly differs?: (name: string) => Readonly<Record<string, string>>
}

type CasesByName = ReadonlyMap<string, SuiteCase>

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
      for (const { name, verdict, detail } of runApart(suite.driver, only, join(outer, only)).values()) if (verdict !== 'passed') console.log(`${verdict} ${name}${detail === undefined ? '' : `: ${detail}`}`)
      return
    }
    const verdicts = new Map<EngineName, CasesByName>()
    for (const name of ['dockerd', 'berth'] as const) verdicts.set(name, runApart(suite.driver, name, join(outer, name)))
    record(suite, verdicts.get('dockerd') ?? new Map(), verdicts.get('berth') ?? new Map())
  } finally {
    rmSync(outer, { recursive: true, force: true })
  }
}

function runApart(driver: string, engine: EngineName, folder: string): CasesByName {
  mkdirSync(folder)
  const { authority } = prepareHub(join(folder, 'hub'))
  const tool = join(import.meta.dirname, '../../tools/conformance.ts')
  const env = { ...process.env, [insideVariable]: engine, [folderVariable]: folder, NODE_EXTRA_CA_CERTS: authority, SSL_CERT_FILE: authority, DOCKER_HOST: 'unix:///run/docker.sock', HOME: folder }
  const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, driver], { stdio: 'inherit', env })
  if (result.status !== 0) throw new Error(`${driver} against ${engine} did not come to its end (${result.status ?? result.signal})`)
  const cases: SuiteCase[] = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'))
  return new Map(cases.map((entry) => [entry.name, entry]))
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

function record(suite: ForeignSuite, dockerd: CasesByName, found: CasesByName): void {
  const berth = suite.dockerdIsRight === true ? heldAgainst(suite, dockerd, found) : found
  const names = new Set([...dockerd.keys(), ...berth.keys()])
  const cases = [...names].map((name) => {
    const [peer, ours] = [dockerd.get(name), berth.get(name)]
    const reason = ours?.verdict === 'passed' ? undefined : reasonFor(suite, name, peer, ours)
    return { name, verdict: ours?.verdict ?? ('skipped' as const), dockerd: peer?.verdict ?? ('skipped' as const), ...(reason === undefined ? {} : { reason }) }
  })
  writeResult(suite.driver, { suite: suite.suite, commit: suite.commit, cases })
  const behind = cases.filter((entry) => entry.dockerd === 'passed' && entry.verdict !== 'passed' && suite.isOutsideScope?.(entry.name) !== true && entry.reason === undefined)
  const ahead = cases.filter((entry) => entry.dockerd !== 'passed' && entry.verdict === 'passed')
  console.log(`dockerd passes ${[...dockerd.values()].filter(({ verdict }) => verdict === 'passed').length} of ${dockerd.size}; Berth alone passes ${ahead.length}`)
  const detail = (cases: CasesByName, name: string): string => cases.get(name)?.detail ?? cases.get(name)?.verdict ?? 'did not run'
  complain('that dockerd passes and Berth does not', behind.map(({ name }) => `${name}: ${detail(berth, name)}`))
  if (suite.reason === undefined) return
  const unexplained = cases.filter((entry) => entry.verdict === 'failed' && entry.reason === undefined && !behind.includes(entry))
  complain('that fail without a reason', unexplained.map(({ name }) => `${name}:\n      dockerd: ${detail(dockerd, name)}\n      Berth:   ${detail(berth, name)}`))
}

function heldAgainst(suite: ForeignSuite, dockerd: CasesByName, berth: CasesByName): CasesByName {
  return new Map(
    [...berth].map(([name, entry]) => {
      const [expected, got] = [dockerd.get(name)?.detail?.split('\n') ?? [], entry.detail?.split('\n') ?? []]
      const differences = [...expected.filter((line) => !got.includes(line)).map((line) => `dockerd: ${line}`), ...got.filter((line) => !expected.includes(line)).map((line) => `Berth:   ${line}`)]
      const listed = suite.differs?.(name) ?? {}
      const wrong = [...differences.filter((line) => listed[line] === undefined), ...Object.keys(listed).filter((line) => !differences.includes(line)).map((line) => `no longer differs: ${line}`)]
      if (wrong.length > 0) return [name, { name, verdict: 'failed', detail: `\n      ${wrong.join('\n      ')}` }]
      return [name, differences.length === 0 ? entry : { name, verdict: 'failed', reason: [...new Set(Object.values(listed))].join('; ') }]
    }),
  )
}

function complain(what: string, lines: readonly string[]): void {
  if (lines.length === 0) return
  console.error(`${lines.length} cases ${what}:\n${lines.map((line) => `  ${line}`).join('\n')}`)
  process.exitCode = 1
}

function reasonFor(suite: ForeignSuite, name: string, dockerd: SuiteCase | undefined, berth: SuiteCase | undefined): string | undefined {
  const known = berth?.reason ?? suite.reason?.(name, dockerd?.verdict ?? 'skipped')
  if (known !== undefined) return known
  const same = dockerd?.verdict === 'failed' && berth?.verdict === 'failed' && dockerd.detail !== undefined && dockerd.detail === berth.detail
  return same ? `dockerd answers the same: ${berth.detail}` : undefined
}

/** The commit of a suite's clone. */
export function commitOf(clone: string, known?: string): string {
  if (known !== undefined) return known
  const result = spawnSync('git', ['-C', clone, 'rev-parse', 'HEAD'], { encoding: 'utf8' })
  return result.status === 0 ? result.stdout.trim() : 'unknown'
}
