/**
 * `Runtime`: the low-level container runtime (conmon + crun or runc), one level above processes and one below Docker.
 * It knows bundles, processes, terminals and exits. It knows nothing about images, networks, names or restart policies.
 *
 * A container's life through this contract:
 *
 *     await runtime.create({ id, spec, stdin: 'none', logPath })      // namespaces and init exist, init waits
 *     const attachment = await runtime.attach(id, sink)               // optional: before start, so that no byte is lost
 *     await runtime.start(id)                                         // the process runs
 *     runtime.onExit((exit) => …)                                     // told exactly once, after the output was drained to the log
 *     await runtime.delete(id)                                        // cgroup, bundle, sockets and pid files are gone
 *
 * After `delete` the same id may be created again (that is how a restart works: the log file is appended to).
 *
 * What the implementation promises:
 * - Nothing of ours is the parent of a container: killing Berth leaves it running, its log growing. `recover` finds it again.
 * - Output goes to `logPath` in CRI log format (`<RFC3339Nano> stdout|stderr F|P <bytes>`), whoever is attached or not.
 * - A container whose conmon died is killed and reported as exited with 137.
 * - Calls for one id are made one after another by the caller, except `attach`, `exec`, `resize`, `signal` and `stats`.
 *
 * Faults: `notFound` (no such id), `alreadyExists` (create of an id that lives), `conflict` (wrong state, e.g. exec in a stopped
 * container), `invalidArgument` or `internal` with `details.runtimeFailure` for what the runtime binary refused (see below).
 */
import type { Writable } from 'node:stream'
import type { ProcessSpec, ResourcesSpec, RuntimeSpec } from './runtime-spec.ts'

export interface Runtime {
  info(): Promise<RuntimeInfo>
  /**
   * Writes the bundle, makes the container and its init process, which waits for `start`.
   * `spec.root.path` is mounted already. `spec.linux.cgroupsPath` names the cgroup. A terminal is asked for by `spec.process.terminal`.
   */
  create(request: CreateRequest): Promise<{ readonly pid: number }>
  start(id: string): Promise<void>
  /** Says that a `create` or `exec` will come soon: what it would wait for at first begins already. Never fails. */
  expect(): void
  /** Sends `signal` (a number, e.g. 15) to init, or to every process of the container with `all`. An exited container gives `notFound` or `conflict`. */
  signal(id: string, signal: number, options?: { readonly all?: boolean }): Promise<void>
  pause(id: string): Promise<void>
  resume(id: string): Promise<void>
  /** Changes the limits of a running container. */
  update(id: string, resources: ResourcesSpec): Promise<void>
  /** Removes all traces. With `force` a running container is killed first. Idempotent: an unknown id is no error. */
  delete(id: string, options?: { readonly force?: boolean }): Promise<void>

  /** Joins a created or running container's streams. See `OutputSink` for who may block. */
  attach(id: string, sink: OutputSink): Promise<Attachment>
  /** Sets the size of the container's terminal in character cells. */
  resize(id: string, size: TerminalSize): Promise<void>
  /**
   * Starts another process in a running container. The streams are joined before the process runs, so that nothing is lost;
   * without a sink its output is discarded.
   */
  exec(id: string, request: ExecRequest): Promise<RunningExec>

  /** Registers a listener for exits of containers' init processes. Called exactly once per `start`. */
  onExit(listener: (exit: ContainerExit) => void): Disposable
  /** Registers a listener for processes that the kernel killed for want of a container's memory, while the container may live on. */
  onOom(listener: (id: string) => void): Disposable
  /**
   * After a restart of Berth: what lives and what ended while nobody watched, for exactly these ids. Ids it returns as
   * `created`, `running` or `paused` are watched again from now on. Bundles of ids not named are left alone.
   */
  recover(ids: readonly string[]): Promise<readonly RecoveredContainer[]>

  /** The process ids inside the container, as the host sees them. */
  processes(id: string): Promise<readonly number[]>
  stats(id: string): Promise<RuntimeStats>
  /** Moves the log aside (to `rotatedPath`) and makes conmon reopen `logPath`. */
  rotateLog(id: string, rotatedPath: string): Promise<void>
  /** Makes conmon open `logPath` anew, after somebody else renamed the file (the node agent does). */
  reopenLog(id: string): Promise<void>
}

export interface RuntimeInfo {
  /** `crun` or `runc`, with the version as `--version` prints it, e.g. `1.8.1`. */
  readonly name: string
  readonly version: string
  readonly path: string
  readonly conmonVersion: string
  readonly cgroupMode: 'v1' | 'hybrid' | 'v2'
}

export interface CreateRequest {
  /** 64 hex digits; unique per engine instance. */
  readonly id: string
  readonly spec: RuntimeSpec
  /**
   * `none`: stdin is /dev/null. `once`: it closes when the first client that attached it goes. `open`: it stays open until the
   * container ends.
   */
  readonly stdin: 'none' | 'once' | 'open'
  /** The CRI log file, created or appended to. Its folder exists. `undefined`: output is only for those attached. */
  readonly logPath: string | undefined
  /** When the log has grown to this size it is begun anew, the old one being lost: for when nobody calls `rotateLog`. Absent: it grows. */
  readonly logCeilingBytes?: number
  /** What the runtime needs in its environment and the log, never secrets. */
  readonly annotations?: Readonly<Record<string, string>>
}

export type OutputChannel = 'stdout' | 'stderr'

/**
 * Where output goes. When `write` answers a promise, the runtime reads nothing more for this attachment until it resolves (the
 * container's next write then waits too). A sink lets that last only as long as it is willing to freeze the container, then
 * closes its attachment: an attached reader that never reads must not stop a container for good. With a terminal everything is `stdout`. The
 * buffer belongs to the sink.
 */
export interface OutputSink {
  write(channel: OutputChannel, data: Buffer): void | Promise<void>
}

export interface Attachment extends Disposable {
  /** The process's stdin; `end()` is end-of-file for it. Honour its back-pressure. Undefined where the container has no stdin. */
  readonly stdin: Writable | undefined
  /** Resolves when the other side closed after the last byte was written to the sink, or when this attachment was closed. */
  readonly closed: Promise<void>
  /** Detaches; the container runs on. Idempotent. */
  close(): void
}

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

export interface ExecRequest {
  readonly execId: string
  readonly process: ProcessSpec
  /** False: stdin is /dev/null. */
  readonly stdin: boolean
  readonly sink: OutputSink | undefined
}

export interface RunningExec {
  readonly pid: number
  /** Undefined without a sink. */
  readonly attachment: Attachment | undefined
  /** The exit code (128 + signal when killed by one), after the output has been drained. */
  readonly exited: Promise<number>
  resize(size: TerminalSize): Promise<void>
}

export interface ContainerExit {
  readonly id: string
  /** 0–255; 128 + signal when killed by one. */
  readonly exitCode: number
  readonly oomKilled: boolean
  readonly finishedAtNs: bigint
}

export interface RecoveredContainer {
  readonly id: string
  readonly state: 'created' | 'running' | 'paused' | 'exited' | 'absent'
  readonly pid?: number
  /** When `state` is `exited`. */
  readonly exit?: ContainerExit
}

/** Raw counters; rates are the reader's business. Bytes and nanoseconds. Absent: the kernel does not tell. */
export interface RuntimeStats {
  readonly readAtNs: bigint
  readonly cpu: { readonly totalNs: bigint; readonly userNs: bigint; readonly systemNs: bigint; readonly perProcessorNs?: readonly bigint[]; readonly throttledPeriods: number; readonly periods: number; readonly throttledNs: bigint }
  readonly memory: { readonly usageBytes: number; readonly maxUsageBytes?: number; readonly limitBytes?: number; readonly inactiveFileBytes: number; readonly counters: Readonly<Record<string, number>> }
  readonly pids: { readonly current: number; readonly limit?: number }
  readonly blockIo: readonly { readonly major: number; readonly minor: number; readonly op: 'read' | 'write'; readonly bytes: number; readonly operations: number }[]
}

/**
 * What `details.runtimeFailure` of a Fault from `create`, `start` or `exec` holds. The kind decides Docker's exit code
 * (127 for `executableNotFound`, 126 for `permissionDenied` and `notExecutable`), so runtimes' differing words are classified
 * once, at the edge that reads them.
 */
export interface RuntimeFailure {
  readonly kind: 'executableNotFound' | 'permissionDenied' | 'notExecutable' | 'workingDirectory' | 'mount' | 'other'
  /** The runtime's own words, one line, without time stamps. */
  readonly runtimeMessage: string
}
