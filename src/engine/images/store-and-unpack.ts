/**
 * A layer's bytes go into the blob store, and are unpacked from there while they arrive: the unpacker reads the file behind the writer, so
 * that a download waits for no unpacking.
 */
import { isFault } from '#base/fault.ts'
import type { Ingest } from '#oci/blobs/contract.ts'
import { GrowingFile } from '#oci/blobs/growing-file.ts'
import type { LayerCompression } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import type { LayerUnpacker } from '../snapshots/overlay-snapshots.ts'

export interface StoreAndUnpack {
  readonly snapshots: LayerUnpacker
  /** Stays open: the caller commits it. */
  readonly ingest: Ingest
  /** Its pieces are given away (the ingest's `WriteOptions`). */
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

/** Answers the diff id. What the ingest held before is unpacked as well. */
export async function storeAndUnpack(work: StoreAndUnpack): Promise<Digest> {
  const { ingest, signal } = work
  await using file = await GrowingFile.open(ingest.path)
  file.grow(ingest.offset)
  const unpacking = work.snapshots.unpackLayer({ blob: file, compression: work.compression, signal, ...(work.diffId === undefined ? {} : { diffId: work.diffId }) })
  await bothOrNone(unpacking, store(work, file), work.failed)
  return await unpacking
}

async function store({ ingest, source, signal, onStored }: StoreAndUnpack, file: GrowingFile): Promise<void> {
  try {
    await ingest.write(source, { signal, isGiven: true, onGrown: (length) => file.grow(length) })
    file.end()
    onStored?.()
  } catch (error) {
    file.fail(error)
    throw error
  }
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
