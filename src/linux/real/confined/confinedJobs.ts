/** The main thread's side of confined jobs: a small pool of confined workers, one job at a time in each. */
import { Readable } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { unreachable } from '#base/assert.ts'
import type { Clock, Timer } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { Gate } from '#base/task.ts'
import type { ConfinedJobs, FileInput, JobOptions, RunningJob } from '../../contract/confined.ts'
import { fromFaultMessage, toFaultMessage } from '../faultMessage.ts'
import type { FromJob, ToJob } from './messages.ts'
import { Parcel } from './parcel.ts'

/** Idle workers kept for the next job, and for how long: a worker takes some 30 ms to start and weighs some 9 MB. */
const keptIdle = 1
const keptIdleMs = 3000

interface IdleWorker {
  readonly worker: Worker
  readonly timer: Timer
}

/** Small chunks travel together: a message costs more than many of them. */
const gatheredBytes = 256 * 1024

/** Jobs at a time; more wait their turn. */
export interface JobLimits {
  /** Of those that only compute and answer. */
  readonly alone: number
  /**
   * Of those that read or write a stream: its other end may be a client that has fallen silent, or another such job. They must not
   * keep the others waiting, nor each other, but for their memory.
   */
  readonly streaming: number
}

export class ConfinedWorkers implements ConfinedJobs, AsyncDisposable {
  readonly #alone: Gate
  readonly #streaming: Gate
  readonly #clock: Clock
  readonly #idle: IdleWorker[] = []
  readonly #all = new Set<Worker>()
  #closed = false

  constructor(limits: JobLimits, clock: Clock) {
    this.#clock = clock
    this.#alone = new Gate(limits.alone)
    this.#streaming = new Gate(limits.streaming)
  }

  async run<A, R>(root: string, job: URL, args: A, options: JobOptions = {}): Promise<R> {
    const running = this.#start<A, R>(options.input === undefined ? this.#alone : this.#streaming, root, job, args, options)
    running.output.on('error', () => running.output.destroy()).resume()
    return await running.result
  }

  start<A, R>(root: string, job: URL, args: A, options: JobOptions = {}): RunningJob<R> {
    return this.#start(this.#streaming, root, job, args, options)
  }

  #start<A, R>(gate: Gate, root: string, job: URL, args: A, options: JobOptions): RunningJob<R> {
    const output = new JobOutput()
    const result = gate.run(async () => {
      const worker = this.#take()
      const ended = await new JobRun<R>(worker, output, options).finish({ kind: 'start', root, module: job.href, args, file: fileOf(options)?.descriptor })
      this.#giveBack(worker, ended.reusable)
      if ('fault' in ended) throw ended.fault
      return ended.result
    })
    result.then(
      () => output.finish(),
      (error: Error) => output.destroy(error),
    )
    return {
      output,
      result,
      async [Symbol.asyncDispose]() {
        output.destroy()
        await Promise.allSettled([result])
      },
    }
  }

  #take(): Worker {
    if (this.#closed) throw new Fault('canceled', 'the kernel room was closed')
    const idle = this.#idle.pop()
    if (idle !== undefined) {
      idle.timer.cancel()
      return idle.worker
    }
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { name: 'confined', trackUnmanagedFds: false })
    this.#all.add(worker)
    worker.once('exit', () => {
      this.#all.delete(worker)
      this.#forget(worker)
    })
    return worker
  }

  #giveBack(worker: Worker, reusable: boolean): void {
    worker.unref()
    if (reusable && !this.#closed && this.#idle.length < keptIdle) this.#idle.push({ worker, timer: this.#clock.after(keptIdleMs, () => this.#end(worker), { background: true }) })
    else void worker.terminate()
  }

  #end(worker: Worker): void {
    this.#forget(worker)
    void worker.terminate()
  }

  #forget(worker: Worker): void {
    const at = this.#idle.findIndex((idle) => idle.worker === worker)
    if (at >= 0) this.#idle.splice(at, 1)[0]?.timer.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#all].map((worker) => worker.terminate()))
  }
}

/** Asks the job for more as the consumer takes. */
class JobOutput extends Readable {
  #onTaken: (() => void) | undefined
  readonly #waiting: Uint8Array[] = []
  #room = true
  #finished = false

  connect(onTaken: () => void): void {
    this.#onTaken = onTaken
  }

  accept(bytes: Uint8Array): void {
    if (this.destroyed) return this.#onTaken?.()
    this.#waiting.push(bytes)
    this.#drain()
  }

  finish(): void {
    this.#finished = true
    this.#drain()
  }

  #drain(): void {
    while (this.#room) {
      const next = this.#waiting.shift()
      if (next === undefined) break
      this.#room = this.push(next)
      this.#onTaken?.()
    }
    if (this.#finished && this.#waiting.length === 0 && !this.destroyed) this.push(null)
  }

  override _read(): void {
    this.#room = true
    this.#drain()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // The job is not held up by a consumer that went away.
    for (const _ of this.#waiting.splice(0)) this.#onTaken?.()
    done(error)
  }
}

function streamOf({ input }: JobOptions): Readable | undefined {
  return input instanceof Readable ? input : undefined
}

function fileOf({ input }: JobOptions): FileInput | undefined {
  return input instanceof Readable ? undefined : input
}

type Ended<R> = { readonly result: R; readonly reusable: boolean } | { readonly fault: unknown; readonly reusable: boolean }

class JobRun<R> {
  readonly #worker: Worker
  readonly #output: JobOutput
  readonly #options: JobOptions
  readonly #ended = Promise.withResolvers<Ended<R>>()
  readonly #input: AsyncIterator<Uint8Array> | undefined
  #inputTurn: Promise<void> = Promise.resolve()
  #inputEnded = false

  constructor(worker: Worker, output: JobOutput, options: JobOptions) {
    this.#worker = worker
    this.#output = output
    this.#options = options
    this.#input = streamOf(options)?.[Symbol.asyncIterator]()
  }

  async finish(start: ToJob): Promise<Ended<R>> {
    const onMessage = (message: FromJob): void => this.#onMessage(message)
    const onError = (error: unknown): void => this.#ended.resolve({ fault: error, reusable: false })
    const onExit = (): void => this.#ended.resolve({ fault: new Fault('internal', 'the confined worker ended in the middle of its job'), reusable: false })
    const onAbort = (): void => this.#send({ kind: 'abort' })
    this.#worker.on('message', onMessage)
    this.#worker.on('error', onError)
    this.#worker.on('exit', onExit)
    this.#options.signal?.addEventListener('abort', onAbort, { once: true })
    this.#output.connect(() => this.#send({ kind: 'more' }))
    this.#worker.ref()
    this.#send(start)
    const unfollow = fileOf(this.#options)?.follow({
      grown: (length) => this.#send({ kind: 'grown', length }),
      ended: () => this.#send({ kind: 'inputEnd' }),
      failed: (error) => this.#send({ kind: 'inputFailed', fault: toFaultMessage(error) }),
    })
    if (this.#options.signal?.aborted === true) onAbort()
    const ended = await this.#ended.promise
    unfollow?.()
    this.#worker.off('message', onMessage)
    this.#worker.off('error', onError)
    this.#worker.off('exit', onExit)
    this.#options.signal?.removeEventListener('abort', onAbort)
    if (!this.#inputEnded) streamOf(this.#options)?.destroy()
    await this.#inputTurn
    this.#output.connect(() => undefined)
    return ended
  }

  #send(message: ToJob): void {
    this.#worker.postMessage(message)
  }

  #onMessage(message: FromJob): void {
    switch (message.kind) {
      case 'needInput':
        this.#inputTurn = this.#inputTurn.then(() => this.#feed())
        return
      case 'chunk':
        return this.#output.accept(message.bytes)
      case 'done':
        // The caller of run<A, R>() names what its job returns.
        return this.#ended.resolve({ result: message.result as R, reusable: true })
      case 'failed':
        return this.#ended.resolve({ fault: fromFaultMessage(message.fault), reusable: !message.spoiled })
      default:
        return unreachable(message)
    }
  }

  async #feed(): Promise<void> {
    if (this.#inputEnded) return
    const parcel = new Parcel(this.#options.inputIsOurs === true)
    try {
      // What is at hand; more is not waited for.
      while (parcel.length === 0 || (parcel.length < gatheredBytes && (streamOf(this.#options)?.readableLength ?? 0) > 0)) {
        const next = await this.#input?.next()
        if (next === undefined || next.done === true) {
          this.#inputEnded = true
          break
        }
        parcel.add(next.value)
      }
      const chunks = parcel.close()
      if (chunks.length > 0) this.#worker.postMessage({ kind: 'chunks', chunks } satisfies ToJob, chunks.map(({ buffer }) => buffer))
      if (this.#inputEnded) this.#send({ kind: 'inputEnd' })
    } catch (error) {
      this.#inputEnded = true
      this.#send({ kind: 'inputFailed', fault: toFaultMessage(error) })
    }
  }
}
