/**
 * A command in a running container straight through `crun exec`, its streams being pipes of ours: half the time of a conmon
 * in between. Only without a terminal (conmon holds those), and only with crun, which tells the pid after everything that can
 * fail has succeeded; runc tells it before. No file is made: crun opens its own descriptors by their names below /proc.
 */
import { type Clock, sleep } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Child, ChildStream, Processes } from '#linux/contract/processes.ts'
import type { Attachment, ExecRequest, OutputChannel, OutputSink, RunningExec } from '../contract/runtime.ts'
import type { BundleFacts } from './bundle.ts'
import type { RuntimeTool } from './conmon.ts'
import { runtimeFault } from './failure.ts'
import { streamOwner } from './stream-owner.ts'

export interface DirectExecParts {
  readonly processes: Pick<Processes, 'start'>
  readonly tool: RuntimeTool
  readonly cgroup: string
  readonly clock: Clock
}

/** How long the pipes may stay silent after the command ended: a process it left behind may hold them open for ever. */
const silenceMs = 100

/** Descriptors of crun beside the command's own three. */
const processFd = 3
const pidFd = 4
const complaintsFd = 5

export async function startDirectExec({ tool, processes, cgroup, clock }: DirectExecParts, { id, facts }: { readonly id: string; readonly facts: Pick<BundleFacts, 'mapping'> }, request: ExecRequest): Promise<RunningExec> {
  // Complaints have a pipe of their own: stderr is the command's.
  const argv = [tool.path, `--root=${tool.stateRoot}`, '--log', named(complaintsFd), 'exec', '--pid-file', named(pidFd), '--process', named(processFd), id]
  const attached = request.sink !== undefined
  const pipeOwner = streamOwner(request.process, facts.mapping)
  const output = attached ? 'pipeOut' : 'null'
  const child = await processes.start(argv, {
    stdio: [request.stdin ? 'pipeIn' : 'null', output, output, { content: JSON.stringify(request.process) }, 'pipeOut', 'pipeOut'],
    session: true,
    // Only what shall outlive us goes there: an attached command loses its pipes with us, and to enter a group may take 10 ms.
    ...(attached ? {} : { cgroup }),
    ...(pipeOwner === undefined ? {} : { pipeOwner }),
  })
  const pid = await pidOf(child)
  if (pid === undefined) {
    const complaints = await textOf(child.stdio[complaintsFd])
    closePipes(child)
    throw runtimeFault(`exec in container ${id}`, complaints || 'crun ended without a word')
  }
  const attachment = request.sink === undefined ? undefined : new PipeAttachment(child, request.sink)
  return {
    pid,
    attachment,
    exited: ended({ child, attachment, clock }),
    resize: async () => {
      throw new Fault('conflict', 'the command has no terminal')
    },
  }
}

function named(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/** undefined: crun ended without telling one. */
async function pidOf({ stdio }: Child): Promise<number | undefined> {
  // Written at once, and so short that it comes in one piece.
  for await (const digits of stdio[pidFd] ?? []) return Number(digits)
  return undefined
}

async function textOf(stream: ChildStream | undefined): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of stream ?? []) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

/** Of a command that did not come to run nobody reads what it says: its pipes would stay open for ever. */
export function closePipes({ stdio }: Pick<Child, 'stdio'>): void {
  for (const stream of stdio) stream?.destroy()
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

async function ended({ child, attachment, clock }: { readonly child: Child; readonly attachment: PipeAttachment | undefined; readonly clock: Clock }): Promise<number> {
  const { exitCode, signal } = await child.exited
  if (attachment !== undefined) await drained(attachment, clock)
  child.stdio[complaintsFd]?.destroy()
  return exitCode ?? 128 + (signal ?? 9)
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
