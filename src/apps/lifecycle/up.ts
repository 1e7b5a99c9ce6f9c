/** `berth up`: checks what the machine must offer, starts the two supervised processes, and says when all of it is ready. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { type Clock, sleep } from '#base/clock.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { ExitError } from '#cli/exit.ts'
import { print, type Terminal } from '#cli/terminal.ts'
import { requireWayTo } from '#engine/userns/remap.ts'
import { mappingOfOption } from '#engine/userns/subordinate-ids.ts'
import { startDetached } from '#linux/real/detached.ts'
import type { Config } from '../config/config.ts'
import { down } from './down.ts'
import { rememberSysctls } from './machine-sysctls.ts'
import { isAlive, processNames, runningPid } from './processes.ts'
import { waitReady } from './ready.ts'

const readyTimeoutMs = 60_000
/** Megabytes. Left alone, V8 lets the young generation grow tenfold under load and does not give it back: 40 MB after some hundred containers. */
const smallYoungSpace = '--max-semi-space-size=4'
/** crun needs a mount namespace without the v2 part of a hybrid cgroup tree; the script makes one where it is needed. */
const enterNamespace = 'src/linux/real/enter-namespace.sh'
const home = resolve(import.meta.dirname, '../../..')

/** Says exactly what is missing, and how to get it. */
function checkMachine(): void {
  if (process.getuid?.() !== 0) throw new ExitError('berth: containers need root: run it with sudo')
  if (!/\boverlay\b/.test(readFileSync('/proc/filesystems', 'utf8'))) throw new ExitError('berth: the kernel has no overlay file system: load it with modprobe overlay')
}

/** Refuses a port that somebody else holds, before anything is started. */
function checkPort(port: number, flag: string): Promise<void> {
  return new Promise((fulfil, reject) => {
    const probe = createServer()
    probe.once('error', (error) => {
      const taken = systemErrorCode(error) === 'EADDRINUSE'
      reject(taken ? new ExitError(`berth: port ${port} is taken by another program: stop it, or choose another with ${flag}=PORT in the environment`) : error)
    })
    probe.listen({ port, host: '127.0.0.1' }, () => probe.close(() => fulfil()))
  })
}

function makeDirectories(config: Config): void {
  for (const [path, mode] of [
    [config.paths.state, 0o711],
    [config.paths.run, 0o755],
    [config.paths.logs, 0o750],
    [dirname(config.paths.configFile), 0o755],
    [config.paths.pki, 0o700],
  ] as const) {
    mkdirSync(path, { recursive: true, mode })
  }
}

async function startProcesses(config: Config): Promise<void> {
  for (const name of processNames) {
    if (runningPid(config.paths.run, name, 'supervisor') !== undefined) continue
    const log = join(config.paths.logs, `${name}.log`)
    const program = ['sh', join(home, 'tools/node.sh'), ...(name === 'node' ? [smallYoungSpace] : []), join(home, `src/apps/${name}.ts`)]
    const command = name === 'node' ? ['sh', join(home, enterNamespace), 'enter', config.paths.run, config.paths.state, ...program] : program
    await startDetached(['sh', join(home, 'src/apps/supervise.sh'), name, config.paths.run, log, ...command], { env: process.env, logPath: log })
  }
}

function lastLines(path: string, count: number): string {
  if (!existsSync(path)) return ''
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-count).map((line) => `    ${line.slice(0, 400)}\n`).join('')
}

function closingWords(config: Config): string {
  const environment = config.root === undefined ? '' : `BERTH_ROOT=${config.root} `
  const berth = `${environment}${join(home, 'bin/berth')}`
  return `
Berth is up. Point the stock clients at it:
  export DOCKER_HOST=unix://${config.paths.dockerSocket}
  export KUBECONFIG=${config.paths.kubeconfig}
  registry: ${config.registryAddress}:${config.registryPort}

Try:
  ${berth} status
  ${berth} kube get nodes
  ${environment}npm --prefix ${home} run tour
`
}

export async function up(config: Config, terminal: Terminal, options: { readonly detach: boolean }): Promise<number> {
  const clock = terminal.clock
  checkMachine()
  const already = processNames.every((name) => runningPid(config.paths.run, name, 'process') !== undefined)
  if (!already) {
    // Refused here rather than in a log.
    const mapping = await mappingOfOption(config.usernsRemap)
    makeDirectories(config)
    if (mapping !== undefined) for (const root of [config.paths.state, config.paths.run]) await requireWayTo(root)
    rememberSysctls(config)
    await checkPorts(config)
  }
  const started = clock.monotonicMs()
  await print(terminal.stdout, already ? 'Berth is running already.\n' : `Starting Berth${config.root === undefined ? '' : ` in ${config.root}`}\n`)
  await startProcesses(config)
  const stop = new AbortController()
  using _signals = terminal.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort())
  try {
    await waitReady(config, clock, {
      timeoutMs: readyTimeoutMs,
      signal: stop.signal,
      onReady: ({ label, where }, elapsedMs) => void terminal.stdout.write(`  ✓ ${label.padEnd(12)} ${where}  ${(elapsedMs / 1000).toFixed(1)} s\n`),
    })
  } catch (error) {
    if (stop.signal.aborted) return await down(config, terminal, { keepWorkloads: false })
    if (!(error instanceof Fault)) throw error
    const logs = processNames.map((name) => join(config.paths.logs, `${name}.log`))
    await print(terminal.stderr, `berth: ${error.message}\n${logs.map((log) => `  last lines of ${log}:\n${lastLines(log, 5)}`).join('')}`)
    return 1
  }
  await print(terminal.stdout, `  ready in ${((clock.monotonicMs() - started) / 1000).toFixed(1)} s\n${closingWords(config)}`)
  if (options.detach) return 0
  return await stayInForeground(config, terminal, clock, stop.signal)
}

async function checkPorts(config: Config): Promise<void> {
  for (const [name, port, flag] of [
    ['server', config.apiPort, 'BERTH_API_PORT'],
    ['node', config.kubeletPort, 'BERTH_KUBELET_PORT'],
    ['node', config.registryPort, 'BERTH_REGISTRY_PORT'],
  ] as const) {
    if (runningPid(config.paths.run, name, 'process') === undefined) await checkPort(port, flag)
  }
}

/** Ctrl-C stops everything; when somebody else stops Berth (`berth down`), we end too. */
async function stayInForeground(config: Config, terminal: Terminal, clock: Clock, interrupted: AbortSignal): Promise<number> {
  await print(terminal.stdout, '\nRunning in the foreground: Ctrl-C stops Berth and its containers (berth up --detach keeps it running).\n')
  const supervisors = processNames.map((name) => runningPid(config.paths.run, name, 'supervisor'))
  while (!interrupted.aborted && supervisors.some((pid) => pid !== undefined && isAlive(pid))) {
    await sleep(clock, 1000, interrupted).catch((error: unknown) => {
      if (!interrupted.aborted) throw error
    })
  }
  return interrupted.aborted ? await down(config, terminal, { keepWorkloads: false }) : 0
}
