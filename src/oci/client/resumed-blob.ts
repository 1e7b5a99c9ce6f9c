/** A blob as one stream of bytes, whatever the network does meanwhile: a broken download goes on where it ended. */
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Descriptor } from '../descriptor.ts'
import type { BlobSource } from './registry-client.ts'

/** Failures in a row without a single byte between them, before it is given up. */
const maxFruitlessTries = 5

export interface ResumeOptions {
  readonly client: BlobSource
  readonly repository: string
  readonly descriptor: Descriptor
  /** Bytes that are here already. */
  readonly start?: number
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** Yields exactly the bytes from `start` to the descriptor's size; more is `dataLoss`. */
export async function* resumedBlob(options: ResumeOptions): AsyncGenerator<Uint8Array> {
  const { client, repository, descriptor, signal } = options
  let offset = options.start ?? 0
  let fruitless = 0
  while (offset < descriptor.size) {
    try {
      const { body, whole } = await client.blob(repository, descriptor.digest, { start: offset, ...(signal === undefined ? {} : { signal }) })
      let skip = whole ? offset : 0
      for await (const chunk of body) {
        const bytes: Buffer = chunk
        const part = skip >= bytes.length ? undefined : bytes.subarray(skip)
        skip = Math.max(0, skip - bytes.length)
        if (part === undefined) continue
        offset += part.length
        fruitless = 0
        if (offset > descriptor.size) throw new Fault('dataLoss', `blob ${descriptor.digest}: ${client.registry} sends more than the ${descriptor.size} bytes promised`)
        yield part
      }
      if (offset < descriptor.size) throw new Fault('unavailable', `blob ${descriptor.digest}: ${client.registry} ended the download after ${offset} of ${descriptor.size} bytes`)
    } catch (error) {
      if (signal?.aborted === true) throw new Fault('canceled', 'the transfer was canceled', { cause: error })
      if (error instanceof Fault && !isFault(error, 'unavailable')) throw error
      fruitless += 1
      if (fruitless >= maxFruitlessTries) throw error
      await sleep(options.clock, 200 * 2 ** fruitless, signal)
    }
  }
}
