/**
 * Bytes from a source to whoever takes them, until the source ends, fails, or a signal aborts. While pieces are taken the next ones are
 * read, and are taken together: few large writes instead of many small ones.
 */
import { Fault } from '#base/fault.ts'

/** Read ahead of what is being taken, before the source has to wait. */
const aheadBytes = 512 * 1024

export interface PumpOptions {
  /** Takes the pieces that have come since the last call, in order. What it refuses ends the pumping with its error. */
  readonly take: (pieces: readonly Uint8Array[]) => Promise<void>
  readonly signal?: AbortSignal
}

/** A source that is not read to its end is stopped; what it gave before is still taken. `canceled` when the signal aborts. */
export async function pump(source: AsyncIterable<Uint8Array>, { take, signal }: PumpOptions): Promise<void> {
  const iterator = source[Symbol.asyncIterator]()
  const stop = new Stop()
  const taker = new Taker(take, stop)
  const abort = (): void => stop.because(new Fault('canceled', 'taking in bytes was canceled', { cause: signal?.reason }))
  if (signal?.aborted === true) abort()
  else signal?.addEventListener('abort', abort, { once: true })
  let finished = false
  try {
    for (;;) {
      const step = await stop.or(() => iterator.next())
      if (step.done === true) break
      await taker.add(step.value)
    }
    finished = true
  } finally {
    signal?.removeEventListener('abort', abort)
    await taker.end()
    if (!finished) await endSource(source, iterator)
  }
  stop.check()
}

/** Why the pumping ends early. Not a promise to race with: each race would stay on it until the end. */
class Stop {
  #reason: { readonly error: unknown } | undefined
  #interrupt: ((error: unknown) => void) | undefined

  /** The first reason counts. */
  because(error: unknown): void {
    this.#reason ??= { error }
    this.#interrupt?.(this.#reason.error)
  }

  check(): void {
    if (this.#reason !== undefined) throw this.#reason.error
  }

  /** The work's result, or the reason as soon as there is one. */
  async or<T>(work: () => Promise<T>): Promise<T> {
    this.check()
    return await new Promise<T>((resolve, reject) => {
      this.#interrupt = reject
      work().then(resolve, reject)
    })
  }
}

class Taker {
  readonly #take: PumpOptions['take']
  readonly #stop: Stop
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #taking: Promise<void> | undefined
  #hasRoom: (() => void) | undefined

  constructor(take: PumpOptions['take'], stop: Stop) {
    this.#take = take
    this.#stop = stop
  }

  /** Resolves when there is room for another piece. Once a piece was refused it takes none. */
  async add(piece: Uint8Array): Promise<void> {
    this.#stop.check()
    this.#waiting.push(piece)
    this.#waitingBytes += piece.length
    this.#taking ??= this.#run()
    if (this.#waitingBytes >= aheadBytes) await new Promise<void>((resolve) => (this.#hasRoom = resolve))
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const pieces = this.#waiting
        this.#waiting = []
        this.#waitingBytes = 0
        this.#hasRoom?.()
        await this.#take(pieces)
      }
      this.#taking = undefined
    } catch (error) {
      this.#stop.because(error)
      this.#hasRoom?.()
    }
  }

  /** Waits until all is taken, or one was refused. */
  async end(): Promise<void> {
    await this.#taking
  }
}

/** Stops a source nobody reads any more. A stream is destroyed: its iterator's `return` would wait for a pending `next`. */
async function endSource(source: AsyncIterable<Uint8Array>, iterator: AsyncIterator<Uint8Array>): Promise<void> {
  if ('destroy' in source && typeof source.destroy === 'function') source.destroy()
  else await iterator.return?.()
}
