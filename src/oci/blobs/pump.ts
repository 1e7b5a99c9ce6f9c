/** Bytes from a source to whoever takes them, one piece after another, until the source ends, fails, or a signal aborts. */
import { Fault } from '#base/fault.ts'

export interface PumpOptions {
  /** A piece that it refuses ends the pumping with its error. */
  readonly take: (bytes: Uint8Array) => Promise<void>
  readonly signal?: AbortSignal
}

/** A source that is not read to its end is stopped. `canceled` when the signal aborts. */
export async function pump(source: AsyncIterable<Uint8Array>, { take, signal }: PumpOptions): Promise<void> {
  const iterator = source[Symbol.asyncIterator]()
  let stop: (() => void) | undefined
  const stopped = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new Fault('canceled', 'taking in bytes was canceled', { cause: signal?.reason }))
  })
  stopped.catch((error: unknown) => error)
  if (signal?.aborted === true) stop?.()
  else if (stop !== undefined) signal?.addEventListener('abort', stop, { once: true })
  let finished = false
  try {
    for (;;) {
      const step = signal === undefined ? await iterator.next() : await Promise.race([iterator.next(), stopped])
      if (step.done === true) break
      await take(step.value)
    }
    finished = true
  } finally {
    if (stop !== undefined) signal?.removeEventListener('abort', stop)
    if (!finished) await endSource(source, iterator)
  }
}

/** Stops a source nobody reads any more. A stream is destroyed: its iterator's `return` would wait for a pending `next`. */
async function endSource(source: AsyncIterable<Uint8Array>, iterator: AsyncIterator<Uint8Array>): Promise<void> {
  if ('destroy' in source && typeof source.destroy === 'function') source.destroy()
  else await iterator.return?.()
}
