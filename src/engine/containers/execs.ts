/** Further processes in running containers (`docker exec`): made, started once, remembered for five minutes after they ended. */
import type { Clock } from '#base/clock.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import type { ExecSpec, ExecState, StreamSession } from '../contract/containers.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { ProcessSpec } from '../contract/runtime-spec.ts'
import type { RunningExec, Runtime, TerminalSize } from '../contract/runtime.ts'
import { capabilitiesOf } from './capabilities.ts'
import { eventAttributes } from './event-attributes.ts'
import { rootfsPath, type Entry, type EntryPaths } from './entry.ts'
import { durationText } from './health.ts'
import type { HostFacts } from './host.ts'
import { lookUpIdentity } from './identity.ts'
import { OutputQueue } from './output-queue.ts'
import { execFault } from './runtime-failure.ts'
import { linkEnv, linksOf, stillLinked } from './legacy-links.ts'
import { processEnv, rlimitsOf } from './spec.ts'

export interface ExecTableOptions {
  readonly runtime: Pick<Runtime, 'exec' | 'expect'>
  readonly events: EventPublisher
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly host: HostFacts
  readonly paths: EntryPaths
  readonly entry: (id: string) => Entry | undefined
}

interface Exec {
  readonly id: string
  readonly containerId: string
  readonly spec: ExecSpec
  phase: 'created' | 'running' | 'ended'
  pid: number
  exitCode: number | undefined
  running: RunningExec | undefined
  size: TerminalSize | undefined
}

const keptForMs = 5 * 60_000
/** Of a health check's output. */
const keptOutputBytes = 4096

/** As dockerd joins them: a command alone is followed by a space. */
function wordsOf({ command: [program = '', ...args] }: ExecSpec): string {
  return `${program} ${args.join(' ')}`
}

function killProcess(pid: number): void {
  if (pid <= 1) return
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // It ended by itself.
    if (systemErrorCode(error) !== 'ESRCH') throw error
  }
}

export class ExecTable {
  readonly #options: ExecTableOptions
  readonly #execs = new Map<string, Exec>()

  constructor(options: ExecTableOptions) {
    this.#options = options
  }

  create(entry: Entry, spec: ExecSpec): { readonly execId: string } {
    requireExecutable(entry)
    if (spec.command.length === 0) throw new Fault('invalidArgument', 'No exec command specified')
    this.#options.runtime.expect()
    const id = randomHex(this.#options.random, 64)
    this.#execs.set(id, { id, containerId: entry.id, spec, phase: 'created', pid: 0, exitCode: undefined, running: undefined, size: spec.consoleSize })
    entry.execIds.add(id)
    this.#publish(entry, `exec_create: ${wordsOf(spec)}`, { execID: id })
    return { execId: id }
  }

  /** What must hold before the client's connection is taken over for streams. */
  requireStartable(execId: string): ExecState {
    const exec = this.#get(execId)
    const entry = this.#options.entry(exec.containerId)
    if (entry === undefined) throw new Fault('notFound', `No such container: ${exec.containerId}`)
    requireExecutable(entry)
    if (exec.phase === 'running') throw new Fault('conflict', `Error: Exec command ${execId} is already running`)
    if (exec.phase === 'ended') throw new Fault('conflict', `Error: Exec command ${execId} has already run`)
    return this.inspect(execId)
  }

  async start(execId: string): Promise<{ readonly session: StreamSession | undefined; readonly exited: Promise<number> }> {
    this.requireStartable(execId)
    const exec = this.#get(execId)
    const entry = this.#options.entry(exec.containerId)
    if (entry === undefined) throw new Fault('notFound', `No such container: ${exec.containerId}`)
    exec.phase = 'running'
    const attached = exec.spec.attachOutput !== false || exec.spec.stdin === true
    const queue = attached ? new OutputQueue({ clock: this.#options.clock, accepts: (channel) => exec.spec.channels?.includes(channel) ?? true, onClosed: () => exec.running?.attachment?.close() }) : undefined
    // Told before it runs, as dockerd does.
    this.#publish(entry, `exec_start: ${wordsOf(exec.spec)}`, { execID: execId })
    try {
      const sizeAtStart = exec.size
      const spec = await this.#processOf(entry, exec)
      exec.running = await this.#options.runtime.exec(entry.id, { execId, process: spec, stdin: exec.spec.stdin ?? false, sink: queue })
      if (exec.size !== undefined && exec.size !== sizeAtStart) this.#sizeLate(exec.running, exec.size)
    } catch (error) {
      const fault = execFault(error, exec.spec.command[0] ?? '')
      const exitCode = fault.details['exitCode']
      // No `exec_die`: it never lived.
      this.#settle(exec, entry, typeof exitCode === 'number' ? exitCode : 126)
      throw fault
    }
    const { running } = exec
    exec.pid = running.pid
    const exited = running.exited.then((exitCode) => {
      this.#end(exec, entry, exitCode)
      return exitCode
    })
    // The client asks for the exit code as soon as its stream ends: it must be known by then.
    if (queue !== undefined) void Promise.allSettled([running.attachment?.closed, exited]).then(() => queue.end())
    exited.catch((error: unknown) => this.#options.log.warn({ container: entry.id, exec: execId, error: String(error) }, 'lost an exec'))
    return { session: queue === undefined ? undefined : this.#session(queue, running), exited }
  }

  /** Runs a command, keeps the beginning of its output, kills it when it takes too long. Never rejects: -1 says that it could not run. */
  async runToEnd(entry: Entry | undefined, { command, timeoutMs }: { readonly command: readonly string[]; readonly timeoutMs: number }): Promise<{ readonly exitCode: number; readonly output: string }> {
    if (entry === undefined) return { exitCode: -1, output: 'the container is gone' }
    try {
      const { execId } = this.create(entry, { command })
      const { session, exited } = await this.start(execId)
      let timedOut = false
      using timer = this.#options.clock.after(timeoutMs, () => {
        timedOut = true
        killProcess(this.#get(execId).pid)
        session?.close()
      })
      void timer
      const kept: Buffer[] = []
      let bytes = 0
      if (session !== undefined) {
        for await (const { data } of session.output) {
          if (bytes < keptOutputBytes) kept.push(data.subarray(0, keptOutputBytes - bytes))
          bytes += data.length
        }
      }
      const output = `${Buffer.concat(kept).toString()}${bytes > keptOutputBytes ? '...' : ''}`
      if (timedOut) return { exitCode: -1, output: `Health check exceeded timeout (${durationText(timeoutMs)})${output === '' ? '' : `: ${output}`}` }
      return { exitCode: await exited, output }
    } catch (error) {
      return { exitCode: -1, output: error instanceof Error ? error.message : String(error) }
    }
  }

  async resize(execId: string, size: TerminalSize): Promise<void> {
    const exec = this.#get(execId)
    // The client may come before the process runs: the size is then that of its start.
    exec.size = size
    await exec.running?.resize(size)
  }

  /** For a size that came while the process was being started. It may have ended since. */
  #sizeLate(running: RunningExec, size: TerminalSize): void {
    running.resize(size).catch((error: unknown) => this.#options.log.debug({ error: String(error) }, 'a terminal was not resized'))
  }

  inspect(execId: string): ExecState {
    const { id, containerId, spec, phase, pid, exitCode } = this.#get(execId)
    return { id, containerId, spec, running: phase === 'running', pid, exitCode }
  }

  #get(execId: string): Exec {
    const exec = this.#execs.get(execId)
    if (exec === undefined) throw new Fault('notFound', `No such exec instance: ${execId}`)
    return exec
  }

  async #processOf(entry: Entry, exec: Exec): Promise<ProcessSpec> {
    const { host, paths } = this.#options
    const { spec } = exec
    const { security = {}, resources = {} } = entry.record.spec
    const identity = await lookUpIdentity(rootfsPath(paths, entry.id), spec.user || entry.effective.user, security.groupAdd ?? [])
    const capabilities = capabilitiesOf({ privileged: spec.privileged === true || security.privileged === true, add: security.capAdd ?? [], drop: security.capDrop ?? [] }, host.unavailableCapabilities)
    const root = identity.uid === 0
    const own = new Set((spec.env ?? []).map((line) => line.split('=', 1)[0]))
    const inherited = [...linkEnv(entry.record.name, stillLinked(linksOf(entry), this.#options.entry)), ...entry.effective.env]
    const env = [...inherited.filter((line) => !own.has(line.split('=', 1)[0])), ...(spec.env ?? []).filter((line) => line.includes('='))]
    return {
      terminal: spec.tty ?? false,
      ...(exec.size === undefined ? {} : { consoleSize: { height: exec.size.rows, width: exec.size.columns } }),
      user: { uid: identity.uid, gid: identity.gid, additionalGids: identity.additionalGids },
      args: spec.command,
      env: processEnv({ env, hostname: entry.effective.hostname, tty: spec.tty ?? false, home: identity.home }),
      cwd: spec.workingDir || entry.effective.workingDir || '/',
      capabilities: { bounding: capabilities, effective: root ? capabilities : [], permitted: root ? capabilities : [] },
      rlimits: rlimitsOf(resources.ulimits ?? [], host.rlimitCeilings),
      noNewPrivileges: security.noNewPrivileges ?? false,
    }
  }

  #session(queue: OutputQueue, { attachment }: RunningExec): StreamSession {
    const close = (): void => queue.discard()
    attachment?.stdin?.on('error', (error) => this.#options.log.debug({ error: error.message }, 'the process closed its input'))
    return { output: queue, stdin: attachment?.stdin, close, [Symbol.dispose]: close }
  }

  #end(exec: Exec, entry: Entry, exitCode: number): void {
    this.#settle(exec, entry, exitCode)
    this.#publish(entry, 'exec_die', { execID: exec.id, exitCode: String(exitCode) })
  }

  #settle(exec: Exec, entry: Entry, exitCode: number): void {
    exec.phase = 'ended'
    exec.pid = 0
    exec.exitCode = exitCode
    exec.running = undefined
    entry.execIds.delete(exec.id)
    this.#options.clock.after(keptForMs, () => this.#execs.delete(exec.id), { background: true })
  }

  #publish(entry: Entry, action: string, attributes: Readonly<Record<string, string>>): void {
    this.#options.events.publish({ type: 'container', action, actor: { id: entry.id, attributes: { ...eventAttributes(entry), ...attributes } }, namespace: entry.record.spec.namespace })
  }
}

function requireExecutable({ record, id }: Entry): void {
  switch (record.lifecycle.status) {
    case 'running':
      return
    case 'paused':
      throw new Fault('conflict', `Container ${record.name} is paused, unpause the container before exec`)
    case 'restarting':
      throw new Fault('conflict', `Container ${id} is restarting, wait until the container is running`)
    default:
      throw new Fault('conflict', `Container ${id} is not running`)
  }
}
