/**
 * docker-py's integration tests (docker/docker-py, Apache-2.0) against dockerd and Berth, side by side. The suite is not part of
 * this repository: `DOCKER_PY` names a clone, `DOCKER_PY_PYTHON` a Python with requests, urllib3, pytest, pytest-timeout,
 * paramiko and websocket-client (else `python3`). Writes `conformance/results/docker-py.json`.
 *
 *     DOCKER_PY=/path/to/docker-py DOCKER_PY_PYTHON=/path/to/venv/bin/python npm run conformance -- docker-py
 *
 * `DOCKER_PY_ONLY` is an expression for pytest's -k, `DOCKER_PY_LOG` a path whose `.dockerd` and `.berth` get pytest's output.
 * Every client speaks API 1.41, dockerd 20.10's newest. Swarm, services, nodes, plugins, secrets and configs are left out.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commitOf, runSideBySide, type SuiteCase } from './engines/side-by-side.ts'
import { standInImages } from './engines/stand-in-images.ts'
import type { Verdict } from './record.ts'

const outsideScope = ['api_config_test', 'api_plugin_test', 'api_secret_test', 'api_service_test', 'api_swarm_test', 'models_nodes_test', 'models_services_test', 'models_swarm_test']

/** Networks of a swarm, in a file that is in scope otherwise. */
const swarmCases = ['test_create_network_attachable', 'test_create_network_ingress', 'test_create_inspect_network_with_scope']

export async function run(): Promise<void> {
  const clone = process.env['DOCKER_PY']
  if (clone === undefined) throw new Error('DOCKER_PY is not set: expected the path of a clone of docker/docker-py')
  await runSideBySide({
    driver: 'docker-py',
    suite: 'docker-py tests/integration',
    commit: commitOf(clone, process.env['DOCKER_PY_COMMIT']),
    images: () =>
      standInImages([
        { names: ['alpine:3.10'], command: ['/bin/sh'], release: 'alpine 3.10' },
        { names: ['alpine:latest'], command: ['/bin/sh'], release: 'alpine' },
        { names: ['busybox:latest'], command: ['sh'], release: 'busybox' },
        { names: ['hello-world:latest'], command: ['/bin/echo', 'Hello from Docker!'], release: 'hello-world' },
      ]),
    cases: (engine, folder) => runPytest(clone, folder, engine),
  })
}

async function runPytest(clone: string, folder: string, engine: string): Promise<readonly SuiteCase[]> {
  const report = join(folder, 'report.xml')
  const only = process.env['DOCKER_PY_ONLY']
  const args = [
    '-m', 'pytest', 'tests/integration', '-q', '-p', 'no:cacheprovider', `--junitxml=${report}`, '--timeout=60',
    ...outsideScope.map((file) => `--ignore=tests/integration/${file}.py`),
    '-k', [...swarmCases.map((name) => `not ${name}`), ...(only === undefined ? [] : [`(${only})`])].join(' and '),
  ]
  // Without a configuration file docker-py writes its contexts into the working directory.
  mkdirSync(join(folder, '.docker'))
  writeFileSync(join(folder, '.docker/config.json'), '{}')
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', DOCKER_TEST_API_VERSION: '1.41', TMPDIR: folder, HOME: folder, DOCKER_CONFIG: join(folder, '.docker') }
  const log = process.env['DOCKER_PY_LOG']
  const output = log === undefined ? undefined : openSync(`${log}.${engine}`, 'w')
  try {
    const child = spawn(process.env['DOCKER_PY_PYTHON'] ?? 'python3', args, { cwd: clone, env, stdio: ['ignore', output ?? 'ignore', output ?? 'ignore'], timeout: 420_000 })
    await new Promise<void>((done, fail) => child.once('error', fail).once('exit', () => done()))
  } finally {
    if (output !== undefined) closeSync(output)
  }
  return verdictsOf(readFileSync(report, 'utf8'))
}

/** Cases of a JUnit report, as pytest writes it. */
function verdictsOf(report: string): readonly SuiteCase[] {
  const verdicts = new Map<string, Verdict>()
  for (const [, attributes = '', body = ''] of report.matchAll(/<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs)) {
    const attribute = (name: string): string => new RegExp(`(?:^| )${name}="([^"]*)"`).exec(attributes)?.[1] ?? ''
    const name = `${attribute('classname').replace('tests.integration.', '')} ${attribute('name')}`
    const verdict: Verdict = /<(failure|error)\b/.test(body) ? 'failed' : /<skipped\b/.test(body) ? 'skipped' : 'passed'
    // An error while tearing down is a second entry of the same case.
    if (verdicts.get(name) !== 'failed') verdicts.set(name, verdict)
  }
  if (verdicts.size === 0) throw new Error('pytest reported no case')
  return [...verdicts].map(([name, verdict]) => ({ name, verdict }))
}
