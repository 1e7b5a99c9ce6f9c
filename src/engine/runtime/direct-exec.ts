/**
 * A command in a running container straight through `crun exec`, its streams being pipes of ours: half the time of a conmon
 * in between. Only without a terminal (conmon holds those), and only with crun, which writes the pid file after everything
 * that can fail has succeeded; runc writes it before.
 */
import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'
import { type Clock, sleep } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import type { Child, ChildStream, ExitStatus, Processes } from '#linux/contract/processes.ts'
import type { Attachment, ExecRequest, OutputChannel, OutputSink, RunningExec } from '../contract/runtime.ts'
import { removeFolder } from './bundle.ts'
import type { RuntimeTool } from './conmon.ts'
import { runtimeFault } from './failure.ts'

export interface DirectExecParts {
  readonly processes: Pick<Processes, 'start'>
  readonly tool: RuntimeTool
  readonly cgroup: string
  readonly clock: Clock
}

/** How long the pipes may stay silent after the command ended: a process it left behind may hold them open for ever. */
const silenceMs = 100

export async function startDirectExec(parts: DirectExecParts, id: string, folder: string, request: ExecRequest): Promise<RunningExec> {
  const { tool, processes, cgroup, clock } = parts
  const pidFile = new PidFile(folder)
  try {
    // Complaints go to a file: stderr is the command's own.
    const complaints = join(folder, 'log')
    const argv = [tool.path, `--root=${tool.stateRoot}`, '--log', complaints, 'exec', '--pid-file', pidFile.path, '--process', join(folder, 'process.json'), id]
    // Without a sink nothing ties the command to us.
    const output = request.sink === undefined ? 'null' : 'pipeOut'
    const child = await processes.start(argv, { stdio: [request.stdin ? 'pipeIn' : 'null', output, output], session: true, cgroup })
    const pid = await Promise.race([pidFile.written, child.exited.then(() => pidFile.read())])
    if (pid === undefined) {
      closePipes(child)
      throw runtimeFault(`exec in container ${id}`, (await readTextIfThere(complaints)) ?? 'crun ended without a word')
    }
    const attachment = request.sink === undefined ? undefined : new PipeAttachment(child, request.sink)
    return {
      pid,
      attachment,
      exited: ended({ exited: child.exited, attachment, clock, folder }),
      resize: async () => {
        throw new Fault('conflict', 'the command has no terminal')
      },
    }
  } finally {
    pidFile.close()
  }
}

/** Of a command that did not come to run nobody reads what it says: its pipes would stay open for ever. */
export function closePipes({ stdio }: Pick<Child, 'stdio'>): void {
  for (const stream of stdio) stream?.destroy()
}

/** Told by inotify when crun has written it. */
class PidFile {
  readonly path: string
  readonly written: Promise<number>
  readonly #watcher: FSWatcher

  constructor(folder: string) {
    this.path = join(folder, 'pid')
    const written = Promise.withResolvers<number>()
    this.written = written.promise
    this.#watcher = watch(folder, () => {
      this.read().then((pid) => (pid === undefined ? undefined : written.resolve(pid)), written.reject)
    })
    this.#watcher.on('error', written.reject)
    // A rejection that comes after the race was decided concerns nobody.
    written.promise.catch((error: unknown) => error)
  }

  /** undefined: not written yet. */
  async read(): Promise<number | undefined> {
    const pid = Number.parseInt((await readTextIfThere(this.path)) ?? '', 10)
    return Number.isNaN(pid) ? undefined : pid
  }

  close(): void {
    this.#watcher.close()
  }
}

class PipeAttachment implements Attachment {
  readonly stdin: ChildStream | undefined
  readonly closed: Promise<void>
  /** Settles when both pipes have ended; earlier than that only `closed` may. */
  readonly drained: Promise<void>
  readonly #streams: readonly ChildStream[]
  readonly #left = Promise.withResolvers<void>()
  #isLeft = false
  /** Grows with each piece taken; `busy` while the sink thinks. */
  progress = 0
  busy = 0

  constructor(child: Child, sink: OutputSink) {
    const [stdin, stdout, stderr] = child.stdio
    this.stdin = stdin
    // A command that reads no more is no fault.
    stdin?.on('error', () => stdin.destroy())
    this.#streams = [stdout, stderr].filter((stream) => stream !== undefined)
    this.drained = Promise.all([this.#pump(stdout, 'stdout', sink), this.#pump(stderr, 'stderr', sink)]).then(() => undefined)
    this.closed = Promise.race([this.drained, this.#left.promise])
  }

  /** Reads to the end in any case: a command whose client left must not die of a closed pipe. */
  async #pump(stream: ChildStream | undefined, channel: OutputChannel, sink: OutputSink): Promise<void> {
    try {
      for await (const chunk of stream ?? []) {
        this.progress += 1
        if (!this.#isLeft) await this.#hand(sink, channel, chunk)
      }
    } catch (error) {
      // Given up after the command's end.
      if (stream?.destroyed !== true) throw error
    }
  }

  async #hand(sink: OutputSink, channel: OutputChannel, chunk: Buffer): Promise<void> {
    this.busy += 1
    try {
      const taken = sink.write(channel, chunk)
      if (taken !== undefined) await Promise.race([taken, this.#left.promise])
    } catch (error) {
      // A sink that fails takes no more.
      if (!(error instanceof Error)) throw error
      this.close()
    } finally {
      this.busy -= 1
    }
  }

  close(): void {
    this.#isLeft = true
    this.#left.resolve()
    this.stdin?.destroy()
  }

  giveUp(): void {
    this.close()
    for (const stream of this.#streams) stream.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

async function ended({ exited, attachment, clock, folder }: { readonly exited: Promise<ExitStatus>; readonly attachment: PipeAttachment | undefined; readonly clock: Clock; readonly folder: string }): Promise<number> {
  try {
    const { exitCode, signal } = await exited
    if (attachment !== undefined) await drained(attachment, clock)
    return exitCode ?? 128 + (signal ?? 9)
  } finally {
    await removeFolder(folder)
  }
}

async function drained(attachment: PipeAttachment, clock: Clock): Promise<void> {
  const done = attachment.drained.then(() => 'done' as const)
  for (;;) {
    const seen = attachment.progress
    const abort = new AbortController()
    const silence = sleep(clock, silenceMs, abort.signal).then(
      () => 'silent' as const,
      () => 'done' as const,
    )
    const first = await Promise.race([done, silence])
    abort.abort()
    if (first === 'done') break
    if (attachment.progress === seen && attachment.busy === 0) return attachment.giveUp()
  }
  attachment.stdin?.destroy()
}
