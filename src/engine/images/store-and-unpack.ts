/** One pass over a layer's bytes: they go into the blob store and are unpacked at the same time, as fast as the slower of the two. */
import { PassThrough } from 'node:stream'
import { isFault } from '#base/fault.ts'
import { drained } from '#base/streams.ts'
import type { Ingest } from '#oci/blobs/contract.ts'
import type { LayerCompression } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import type { LayerUnpacker } from '../snapshots/overlay-snapshots.ts'

export interface StoreAndUnpack {
  readonly snapshots: LayerUnpacker
  /** Stays open: the caller commits it. */
  readonly ingest: Ingest
  readonly source: AsyncIterable<Uint8Array>
  readonly compression: LayerCompression | 'detect'
  /** What it must unpack to; left out when that is to be found out. */
  readonly diffId?: Digest
  readonly signal: AbortSignal
  /** Aborted when one half fails; `signal` is expected to follow it. */
  readonly failed: AbortController
  /** Called when the last byte is stored; unpacking may go on. */
  readonly onStored?: () => void
}

/** Answers the diff id. */
export async function storeAndUnpack(work: StoreAndUnpack): Promise<Digest> {
  const feed = new PassThrough({ highWaterMark: 4 * 1024 * 1024 })
  const unpacking = work.snapshots.unpackLayer({ blob: feed, compression: work.compression, signal: work.signal, ...(work.diffId === undefined ? {} : { diffId: work.diffId }) })
  const storing = work.ingest.write(fedTo(feed, work.source), { signal: work.signal }).then(() => work.onStored?.())
  await bothOrNone(unpacking, storing, work.failed)
  return await unpacking
}

/** Waits for both; when one fails the other is aborted, and the first failure is thrown. */
async function bothOrNone(first: Promise<unknown>, second: Promise<unknown>, failed: AbortController): Promise<void> {
  const errors: unknown[] = []
  const guard = (work: Promise<unknown>): Promise<unknown> =>
    work.catch((error: unknown) => {
      errors.push(error)
      failed.abort(error)
    })
  await Promise.all([guard(first), guard(second)])
  if (errors.length > 0) throw errors.find((error) => !isFault(error, 'canceled')) ?? errors[0]
}

/** Passes chunks on and writes each to `feed` as well, as fast as the slower of the two. */
async function* fedTo(feed: PassThrough, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // A reader that ended early says so itself.
  feed.on('error', () => feed.destroy())
  try {
    for await (const chunk of source) {
      if (!feed.destroyed && !feed.write(chunk)) await drained(feed)
      yield chunk
    }
    feed.end()
  } catch (error) {
    feed.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  } finally {
    if (!feed.writableEnded) feed.destroy()
  }
}
