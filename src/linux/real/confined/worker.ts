/**
 * A confined worker: imports the job, moves its own thread (unshare(CLONE_FS)) into the given root, runs the job there
 * and comes back for the next one. Everything it needs itself is loaded before.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort, receiveMessageOnPort } from 'node:worker_threads'
import { present, unreachable } from '#base/assert.ts'
import { Fault } from '#base/fault.ts'
import type { JobContext, JobFunction } from '../../contract/confined.ts'
import { fromFaultMessage, toFaultMessage } from '../faultMessage.ts'
import { check, CLONE_FS, libc } from '../libc.ts'
import { rawFiles } from '../rawFiles.ts'
import { type FromJob, type ToJob, window } from './messages.ts'

const port = present(parentPort, "the confined worker's port")
const post = (message: FromJob): void => port.postMessage(message)

check(libc.unshare(CLONE_FS), 'give the confined worker a root of its own')
const home = openSync('/', 'r')

/** Of a file, read at a time. */
const fileStepBytes = 256 * 1024

type Arrived = { readonly chunks: readonly Uint8Array[] } | { readonly fault: Fault } | 'end'

/** The streams and the signal of the job that runs now. */
class Session implements JobContext {
  readonly files = rawFiles
  readonly #abort = new AbortController()
  readonly #arrived: Arrived[] = []
  #wakeInput: (() => void) | undefined
  readonly #file: number | undefined
  #fileLength = 0
  #credit = window
  #wakeOutput: (() => void) | undefined

  constructor(file: number | undefined) {
    this.#file = file
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  readonly input: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => (this.#file === undefined ? this.#chunks() : this.#steps(this.#file)) }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    for (let asked = 0; asked < window; asked += 1) post({ kind: 'needInput' })
    for (;;) {
      if (this.#arrived.length === 0) await new Promise<void>((resolve) => (this.#wakeInput = resolve))
      this.signal.throwIfAborted()
      const next = this.#arrived.shift()
      if (next === 'end') return
      if (next === undefined) continue
      if ('fault' in next) throw next.fault
      post({ kind: 'needInput' })
      yield* next.chunks
    }
  }

  async *#steps(file: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; ; ) {
      this.signal.throwIfAborted()
      if (at < this.#fileLength) {
        const step = Buffer.allocUnsafeSlow(Math.min(fileStepBytes, this.#fileLength - at))
        const bytesRead = readSync(file, step, 0, step.length, at)
        if (bytesRead === 0) throw new Fault('dataLoss', `the job's input is shorter than it was: ${at} of ${this.#fileLength} bytes`)
        at += bytesRead
        yield step.subarray(0, bytesRead)
        // A file that is whole already gives no occasion to hear of an abort.
        for (let heard = receiveMessageOnPort(port); heard !== undefined; heard = receiveMessageOnPort(port)) hear(heard.message)
        continue
      }
      const end = this.#arrived.shift()
      if (end === 'end') return
      if (end !== undefined && 'fault' in end) throw end.fault
      await new Promise<void>((resolve) => (this.#wakeInput = resolve))
    }
  }

  async output(bytes: Uint8Array): Promise<void> {
    while (this.#credit === 0 && !this.signal.aborted) await new Promise<void>((resolve) => (this.#wakeOutput = resolve))
    this.signal.throwIfAborted()
    this.#credit -= 1
    // As in the other direction: a copy that is handed over.
    const copy = new Uint8Array(bytes)
    port.postMessage({ kind: 'chunk', bytes: copy } satisfies FromJob, [copy.buffer])
  }

  arrive(arrived: Arrived): void {
    this.#arrived.push(arrived)
    this.#wakeInput?.()
  }

  grown(length: number): void {
    this.#fileLength = length
    this.#wakeInput?.()
  }

  more(): void {
    this.#credit += 1
    this.#wakeOutput?.()
  }

  abort(): void {
    this.#abort.abort(new Fault('canceled', 'the job was canceled'))
    this.#wakeInput?.()
    this.#wakeOutput?.()
  }
}

function enter(root: string): void {
  check(libc.chroot(root), `enter the root ${root}`)
  check(libc.chdir('/'), `enter the root ${root}`)
}

/** Root has CAP_SYS_CHROOT, so a descriptor of the old root leads back. */
function goHome(): boolean {
  return libc.fchdir(home) === 0 && libc.chroot('.') === 0
}

async function start(message: { readonly root: string; readonly module: string; readonly args: unknown }, session: Session): Promise<void> {
  let answer: FromJob
  try {
    const loaded: unknown = await import(message.module)
    const job = jobOf(loaded, message.module)
    enter(message.root)
    answer = { kind: 'done', result: await job(message.args, session) }
  } catch (error) {
    answer = { kind: 'failed', fault: toFaultMessage(error), spoiled: false }
  }
  if (!goHome()) {
    const fault = toFaultMessage(new Fault('internal', 'a confined worker cannot return from its root'))
    answer = { kind: 'failed', fault: answer.kind === 'failed' ? answer.fault : fault, spoiled: true }
  }
  post(answer)
}

function jobOf(loaded: unknown, module: string): JobFunction<unknown, unknown> {
  if (typeof loaded === 'object' && loaded !== null && 'job' in loaded && typeof loaded.job === 'function') return loaded.job as JobFunction<unknown, unknown>
  throw new Fault('internal', `the job module ${module} exports no function 'job'`)
}

let session = new Session(undefined)

port.on('message', hear)

function hear(message: ToJob): void {
  switch (message.kind) {
    case 'start':
      session = new Session(message.file)
      void start(message, session)
      return
    case 'grown':
      return session.grown(message.length)
    case 'chunks':
      return session.arrive({ chunks: message.chunks })
    case 'inputEnd':
      return session.arrive('end')
    case 'inputFailed':
      return session.arrive({ fault: fromFaultMessage(message.fault) })
    case 'more':
      return session.more()
    case 'abort':
      return session.abort()
    default:
      return unreachable(message)
  }
}

port.once('close', () => closeSync(home))
