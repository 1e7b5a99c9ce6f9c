/**
 * podman's `test/apiv2/*.at` (containers/podman, Apache-2.0) against dockerd and Berth, side by side: the suite's own shell
 * functions run, file by file, and the requests of the Docker-compatible API among them are judged (those below `libpod/` are
 * podman's own). Writes `conformance/results/podman-api.json`; a case that fails has a reason: dockerd answers the same, or one
 * of `podman-reasons.ts`.
 *
 *     PODMAN_SUITE=/path/to/podman npm run conformance -- podman-api
 *
 * `PODMAN_ONLY` names one file's beginning (`20-`), `PODMAN_LOG` a folder for the suite's output. The suite wants curl and jq.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openDoor } from './engines/podman-door.ts'
import { caseName, steady } from './engines/podman-names.ts'
import { emptyEngine, podmanImages, podmanSuite, writePodman } from './engines/podman-stand-in.ts'
import { runSideBySide, type SuiteCase } from './engines/side-by-side.ts'
import { apiReason } from './engines/podman-reasons.ts'

const port = 8081

export async function run(): Promise<void> {
  const suite = podmanSuite('podman-api')
  if (suite === undefined) return
  await runSideBySide({
    driver: 'podman-api',
    suite: 'podman test/apiv2, Docker-compatible requests',
    commit: suite.commit,
    images: podmanImages,
    reason: apiReason,
    cases: async (engine, folder) => {
      const path = `${writePodman(join(folder, 'bin'))}:${process.env['PATH'] ?? ''}`
      const tests = join(suite.folder, 'test/apiv2')
      await using door = await openDoor(port)
      void door
      const cases: SuiteCase[] = []
      for (const file of readdirSync(tests).filter((name) => name.endsWith('.at') && name.startsWith(process.env['PODMAN_ONLY'] ?? '') && isCompatible(join(tests, name))).sort()) {
        await emptyEngine()
        cases.push(...(await runFile({ tests, file, folder, path, engine })))
      }
      await emptyEngine()
      return cases
    },
  })
}

/** Whether a file makes any request that is not podman's own. */
function isCompatible(file: string): boolean {
  return readFileSync(file, 'utf8').split('\n').some((line) => /^\s*t +(GET|POST|PUT|DELETE|HEAD) /.test(line) && !line.includes('libpod'))
}

interface FileRun {
  readonly tests: string
  readonly file: string
  readonly folder: string
  readonly path: string
  readonly engine: string
}

async function runFile({ tests, file, folder, path, engine }: FileRun): Promise<readonly SuiteCase[]> {
  const name = file.replace(/\.at$/, '')
  const temporary = join(folder, name)
  mkdirSync(temporary)
  const logs = process.env['PODMAN_LOG'] ?? folder
  mkdirSync(logs, { recursive: true })
  const log = join(logs, `${name}.${engine}.log`)
  const output = openSync(log, 'w')
  // quay.io is a registry here that needs no credentials: what it has not is 404.
  const env = { ...process.env, PATH: path, PODMAN: join(folder, 'bin/podman'), CONTAINERS_HELPER_BINARY_DIR: join(folder, 'bin'), CI_USE_REGISTRY_CACHE: '1', TMPDIR: temporary, PODMAN_SERVICE_PORT: String(port), HOME: temporary }
  try {
    const child = spawn('bash', [join(tests, 'test-apiv2'), name], { cwd: temporary, env, stdio: ['ignore', output, output], timeout: 150_000 })
    await new Promise<void>((done, fail) => child.once('error', fail).once('exit', () => done()))
  } finally {
    closeSync(output)
  }
  return casesOf(readFileSync(log, 'utf8'))
}

/** `ok 12 [file] GET path : what` and what follows a `not ok`. Names that come again are numbered. */
function casesOf(log: string): readonly SuiteCase[] {
  const seen = new Map<string, number>()
  const cases: SuiteCase[] = []
  // What the suite prints of a binary answer does not end with a line.
  const lines = log.split(/\n|(?=\bnot ok \d+ \[)|(?<!\bnot )(?=\bok \d+ \[)/)
  lines.forEach((line, index) => {
    const [, no, context = '', rest = ''] = /^(not )?ok \d+ (\[[^\]]+\]) (.*)$/.exec(line) ?? []
    if (context === '' || rest.includes('libpod/')) return
    const title = caseName(context, rest)
    const count = (seen.get(title) ?? 0) + 1
    seen.set(title, count)
    const name = count === 1 ? title : `${title} (${count})`
    if (rest.includes('# skip')) return cases.push({ name, verdict: 'skipped' })
    if (no === undefined) return cases.push({ name, verdict: 'passed' })
    const found = lines.slice(index + 1, index + 4).filter((each) => /^# +(expected|actual|response):/.test(each))
    return cases.push({ name, verdict: 'failed', detail: steady(found.map((each) => each.replace(/^# +/, '').slice(0, 220)).join(', ')) })
  })
  return cases
}
