/**
 * Every field of HostConfig against Debian's dockerd: the same creations (limits/cases.ts) go to both, in namespaces of their own, and status,
 * message, warnings, exit code and output must be equal. Writes `conformance/results/limits.json`; differences are printed.
 *
 *     npm run conformance -- limits
 */
import { readFileSync } from 'node:fs'
import { startDockerd } from '../bench/dockerd.ts'
import { ApiClient, busyboxRoot, openRealEngine, type ContainerRun } from '../src/engine/real-engine.fixture.ts'
import { openKernel } from '../src/linux/real/kernel.ts'
import { enterNamespaces } from '../tools/instance.ts'
import { limitCases, type LimitCase } from './limits/cases.ts'
import { writeResult, type Verdict } from './record.ts'
import { spawnSync } from 'node:child_process'

/** What differs by nature: ids, that dockerd calls many faults of the request its own (500 for 400), and the runtime's own words around a refusal. */
function normalised(text: string): string {
  return text
    .replace(/[0-9a-f]{64}/g, 'ID')
    .replace(/^(?:failed to create task for container: )?(?:failed to create shim(?: task)?: )?OCI runtime create failed: .*$/s, 'OCI runtime create failed')
    .replace(/\/tmp\/\S+/g, 'PATH')
}

function seen(run: ContainerRun): string {
  const refused = run.created.status === 201 ? run.started?.status : run.created.status
  return JSON.stringify({ created: run.created.status === 500 ? 400 : run.created.status, status: refused === 400 || refused === 500 ? 'refused' : refused, message: normalised(run.refusal), warnings: run.warnings.map(normalised), exitCode: run.exitCode, output: run.output })
}

async function runCase(client: ApiClient, { script = 'true', host = {}, config = {}, api = '1.41' }: LimitCase): Promise<string> {
  return seen(await client.at(api).run(script, host, config))
}

export async function run(): Promise<void> {
  enterNamespaces()
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  await using dockerd = await startDockerd()
  if (dockerd === undefined) throw new Error('dockerd is not installed: expected Debian’s docker.io')
  const kernel = await openKernel()
  spawnSync('docker', ['-H', dockerd.dockerHost, 'import', '-', 'bb:1'], { input: await busyboxRoot(kernel) })
  await using berth = await openRealEngine(kernel, { name: 'lcf', subnet: '172.29.64.0/20' })
  const other = new ApiClient(dockerd.dockerHost.replace('unix://', ''))
  const cases: { name: string; verdict: Verdict }[] = []
  for (const limitCase of limitCases) {
    const [wanted, got] = [await runCase(other, limitCase), await runCase(berth.client, limitCase)]
    cases.push({ name: limitCase.name, verdict: wanted === got ? 'passed' : limitCase.differs === undefined ? 'failed' : 'skipped' })
    if (wanted !== got && limitCase.differs === undefined) console.log(`${limitCase.name}\n  dockerd ${wanted}\n  berth   ${got}`)
  }
  writeResult('limits', { suite: 'HostConfig against dockerd (conformance/limits/cases.ts)', commit: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(), cases })
}
