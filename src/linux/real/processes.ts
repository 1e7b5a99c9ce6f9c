/** Processes over the spawning kernel worker and the poller's pidfds. */
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { systemClock, type Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Child, ChildStream, ExitStatus, ProcessIdentity, Processes, RunOptions, RunResult, StartOptions } from '../contract/processes.ts'
import type { KernelPoller } from './poller/poller.ts'
import type { KernelThread } from './thread.ts'

const defaultEnv: Readonly<Record<string, string>> = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C' }
const defaultOutputBytes = 1024 * 1024
const SIGKILL = 9

interface Parts {
  readonly thread: KernelThread
  readonly poller: KernelPoller
  readonly clock?: Clock
}

export class KernelProcesses implements Processes {
  readonly #thread: KernelThread
  readonly #poller: KernelPoller
  readonly #clock: Clock

  constructor(parts: Parts) {
    this.#thread = parts.thread
    this.#poller = parts.poller
    this.#clock = parts.clock ?? systemClock
  }

  async start(argv: readonly string[], options: StartOptions = {}): Promise<Child> {
    if (argv.length === 0) throw new Fault('invalidArgument', 'an empty argument vector starts nothing')
    const stdio = options.stdio ?? ['null', 'null', 'null']
    const request = { argv, env: options.env ?? defaultEnv, stdio, session: options.session ?? false }
    const spawned = await this.#thread.call('spawn', {
      ...request,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.cgroup === undefined ? {} : { cgroup: options.cgroup }),
      ...(options.pipeOwner === undefined ? {} : { pipeOwner: options.pipeOwner }),
    })
    const exited = this.#poller.watchExit({ pid: spawned.pid, child: true }).catch((error: unknown): ExitStatus => {
      // Only when the kernel room closes under a running child: nobody can learn its status any more.
      if (!isFault(error)) throw error
      return { exitCode: undefined, signal: undefined }
    })
    return { pid: spawned.pid, stdio: spawned.pipes.map((fd, index) => (fd === undefined ? undefined : openPipe(fd, stdio[index] === 'pipeIn'))), exited }
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    if (options.signal?.aborted === true) throw new Fault('canceled', `running ${argv[0] ?? ''} was canceled`)
    const child = await this.start(argv, {
      stdio: [options.stdin === undefined ? 'null' : 'pipeIn', 'pipeOut', 'pipeOut'],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    return new Run(argv, child, { kill: () => this.#killChild(child), clock: this.#clock }).finish(options)
  }

  async #killChild(child: Child): Promise<void> {
    try {
      await this.kill(child.pid, SIGKILL)
    } catch (error) {
      // It ended by itself in the meantime.
      if (!isFault(error, 'notFound')) throw error
    }
  }

  async kill(target: number | ProcessIdentity, signal: number): Promise<void> {
    await this.#thread.call('signalProcess', typeof target === 'number' ? { pid: target, signal } : { ...target, signal })
  }

  async watchExit(target: number | ProcessIdentity, signal?: AbortSignal): Promise<void> {
    const identity = typeof target === 'number' ? { pid: target } : target
    await this.#poller.watchExit({ ...identity, child: false, ...(signal === undefined ? {} : { signal }) })
  }

  sealExecutable(path: string): Promise<string> {
    return this.#thread.call('sealExecutable', { path })
  }

  identify(pid: number): Promise<ProcessIdentity | undefined> {
    return this.#thread.call('identify', { pid })
  }
}

function openPipe(fd: number, writable: boolean): ChildStream {
  return new Socket({ fd, readable: !writable, writable })
}

interface RunParts {
  kill(): Promise<void>
  readonly clock: Clock
}

/** One process run to its end; the first reason to give up kills it and becomes the fault. */
class Run {
  readonly #argv: readonly string[]
  readonly #child: Child
  readonly #parts: RunParts
  #fault: Fault | undefined
  #killed: Promise<void> | undefined

  constructor(argv: readonly string[], child: Child, parts: RunParts) {
    this.#argv = argv
    this.#child = child
    this.#parts = parts
  }

  async finish(options: RunOptions): Promise<RunResult> {
    const name = this.#argv[0] ?? ''
    const onAbort = (): void => this.#giveUp(new Fault('canceled', `running ${name} was canceled`))
    options.signal?.addEventListener('abort', onAbort, { once: true })
    // It may have been aborted while the process was being started.
    if (options.signal?.aborted === true) onAbort()
    const timer = options.timeoutMs === undefined ? undefined : this.#parts.clock.after(options.timeoutMs, () => this.#giveUp(new Fault('timeout', `${name} took longer than ${options.timeoutMs} ms and was killed`)))
    try {
      this.#feed(options.stdin)
      const most = options.maxOutputBytes ?? defaultOutputBytes
      const [stdout, stderr, status] = await Promise.all([this.#collect(this.#child.stdio[1], most), this.#collect(this.#child.stdio[2], most), this.#child.exited])
      await this.#killed
      if (this.#fault !== undefined) throw this.#fault
      return { ...status, stdout, stderr }
    } finally {
      timer?.cancel()
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  #feed(stdin: string | Uint8Array | undefined): void {
    const stream = this.#child.stdio[0]
    if (stdin === undefined || stream === undefined) return
    // A process that ends without reading all of it is no fault of ours.
    stream.on('error', () => stream.destroy())
    stream.end(stdin)
  }

  #giveUp(fault: Fault): void {
    if (this.#fault !== undefined) return
    this.#fault = fault
    // A grandchild may hold the pipes open for ever.
    this.#killed = this.#parts.kill().finally(() => {
      for (const stream of this.#child.stdio) stream?.destroy()
    })
  }

  #collect(stream: Readable | undefined, most: number): Promise<Buffer> {
    if (stream === undefined) return Promise.resolve(Buffer.alloc(0))
    return new Promise((resolve) => {
      const chunks: Buffer[] = []
      let length = 0
      stream.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length <= most) chunks.push(chunk)
        else this.#giveUp(new Fault('tooLarge', `${this.#argv[0] ?? ''} wrote more than ${most} bytes`))
      })
      stream.on('error', () => stream.destroy())
      stream.on('close', () => resolve(Buffer.concat(chunks)))
    })
  }
}
