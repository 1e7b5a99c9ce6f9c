/**
 * Starting and watching processes. Always an argument vector, never a shell string. Children are started by
 * posix_spawn(3) in a kernel worker, so that the main thread never forks.
 */
import type { Readable, Writable } from 'node:stream'

export interface RunOptions {
  /** Replaces the environment; default is a small one: PATH, HOME=/root, LANG=C. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly stdin?: string | Uint8Array
  /** SIGKILL and a `timeout` fault when it takes longer. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Output beyond this many bytes per stream is a `tooLarge` fault and kills the process. Default 1 MiB. */
  readonly maxOutputBytes?: number
}

export interface ExitStatus {
  /** undefined when a signal ended it. */
  readonly exitCode: number | undefined
  readonly signal: number | undefined
}

export interface RunResult extends ExitStatus {
  readonly stdout: Buffer
  readonly stderr: Buffer
}

/** What a child's descriptor is: a pipe to us, /dev/null, our own descriptor of the same number, one that the caller opened, or a file in memory. */
export type ChildDescriptor = 'pipeIn' | 'pipeOut' | 'null' | 'inherit' | { readonly fd: number } | { readonly content: string }

export interface StartOptions {
  /** Descriptors 0, 1, 2, 3 … of the child. `pipeIn`: the child reads what we write; `pipeOut`: we read what it writes. Default `['null', 'null', 'null']`. */
  readonly stdio?: readonly ChildDescriptor[]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** A session of its own (setsid), so that a terminal's signals do not reach it. */
  readonly session?: boolean
  /** Cgroup (as in {@link Cgroups}) the child is put into; it must exist. */
  readonly cgroup?: string
  /** Whose the pipes are, so that a process with another user can open them again by name (`/dev/stdout`). Default: ours. */
  readonly pipeOwner?: { readonly uid: number; readonly gid: number }
}

export interface Child {
  readonly pid: number
  /** By descriptor number: a Writable for `pipeIn`, a Readable for `pipeOut`, undefined for the others. */
  readonly stdio: readonly (ChildStream | undefined)[]
  /** Settles when the process has ended and was reaped. Never rejects. */
  readonly exited: Promise<ExitStatus>
}

export type ChildStream = Readable & Writable

/** A process that may not be our child. `startTime` (field 22 of /proc/PID/stat) tells it from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTime: bigint
}

/** Faults: `notFound` (no such executable; message contains "executable file not found"), `permissionDenied`, `timeout`, `tooLarge`, `canceled`. */
export interface Processes {
  /** Runs to the end and collects the output. A non-zero exit is a result, not a fault. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>
  start(argv: readonly string[], options?: StartOptions): Promise<Child>
  /** Sends a signal by number; `notFound` when there is no such process. With an identity, never hits a reused pid. */
  kill(target: number | ProcessIdentity, signal: number): Promise<void>
  /** Resolves when the process has ended, at once when it is gone already. Works for processes that are not our children (pidfd). Rejects only with `canceled`. */
  watchExit(target: number | ProcessIdentity, signal?: AbortSignal): Promise<void>
  /**
   * A sealed copy of an executable in memory; answers a path by which it can be started while this process lives. crun copies
   * itself this way at each start, so that no container can overwrite it; from a sealed copy it need not, and starts in half the time.
   */
  sealExecutable(path: string): Promise<string>
  /** undefined when there is no such process. */
  identify(pid: number): Promise<ProcessIdentity | undefined>
}
