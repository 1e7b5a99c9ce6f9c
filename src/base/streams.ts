/** Waiting for streams of Node's. */
import type { Writable } from 'node:stream'

/** After a write that answered false: resolves when there is room again, or when the other side is gone, which `destroyed` tells. */
export function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.on('drain', done)
    stream.on('close', done)
  })
}
