/**
 * podman's `test/python/docker/compat` (containers/podman, Apache-2.0) against dockerd and Berth, side by side: docker-py speaks to
 * what the suite takes for `podman system service`. `PODMAN_PYTHON` is a Python with docker, pytest, pytest-timeout, PyYAML and
 * openapi-schema-validator (else `python3`). Writes `conformance/results/podman-compat.json`.
 *
 *     PODMAN_SUITE=/path/to/podman PODMAN_PYTHON=/path/to/venv/bin/python npm run conformance -- podman-compat
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openDoor } from './engines/podman-door.ts'
import { emptyEngine, podmanImages, podmanSuite, writePodman } from './engines/podman-stand-in.ts'
import { compatReason } from './engines/podman-reasons.ts'
import { runSideBySide, type SuiteCase } from './engines/side-by-side.ts'

const port = 8080

export async function run(): Promise<void> {
  const suite = podmanSuite('podman-compat')
  if (suite === undefined) return
  await runSideBySide({
    driver: 'podman-compat',
    suite: 'podman test/python/docker/compat',
    commit: suite.commit,
    images: podmanImages,
    reason: compatReason,
    cases: async (engine, folder) => {
      const bin = writePodman(join(folder, 'bin'))
      await using door = await openDoor(port)
      void door
      await emptyEngine()
      const report = join(folder, 'report.xml')
      const logs = process.env['PODMAN_LOG'] ?? folder
      mkdirSync(logs, { recursive: true })
      const output = openSync(join(logs, `compat.${engine}.log`), 'w')
      // The suite's package is called `test`, as one of Python's own that Fedora leaves out.
      const modules = join(folder, 'modules')
      mkdirSync(join(modules, 'test'), { recursive: true })
      writeFileSync(join(modules, 'test/__init__.py'), `__path__ = [${JSON.stringify(join(suite.folder, 'test'))}]\n`)
      const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, PODMAN: join(bin, 'podman'), TMPDIR: folder, HOME: folder, PYTHONPATH: modules, PYTHONDONTWRITEBYTECODE: '1' }
      const args = ['-m', 'pytest', 'test/python/docker/compat', '-q', '-p', 'no:cacheprovider', `--junitxml=${report}`, '--timeout=60']
      try {
        const child = spawn(process.env['PODMAN_PYTHON'] ?? 'python3', args, { cwd: suite.folder, env, stdio: ['ignore', output, output], timeout: 400_000 })
        await new Promise<void>((done, fail) => child.once('error', fail).once('exit', () => done()))
      } finally {
        closeSync(output)
      }
      return casesOf(readFileSync(report, 'utf8'))
    },
  })
}

function casesOf(report: string): readonly SuiteCase[] {
  const cases: SuiteCase[] = []
  for (const [, attributes = '', body = ''] of report.matchAll(/<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs)) {
    const attribute = (name: string): string => new RegExp(`(?:^| )${name}="([^"]*)"`).exec(attributes)?.[1] ?? ''
    const name = `${attribute('classname').replace('test.python.docker.compat.', '')} ${attribute('name')}`
    const message = /<(?:failure|error) message="([^"]*)"/.exec(body)?.[1]
    if (message !== undefined) cases.push({ name, verdict: 'failed', detail: message.replace(/&#10;.*/s, '').replace(/[0-9a-f]{12,64}/g, 'ID').replace(/\/v1\.\d\d\//, '/vX/').slice(0, 220) })
    else cases.push({ name, verdict: body.includes('<skipped') ? 'skipped' : 'passed' })
  }
  if (cases.length === 0) throw new Error('pytest reported no case')
  return cases
}
