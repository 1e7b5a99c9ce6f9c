/**
 * Storage in a file system: records below `root`, content in a blob store, which the engine of the same machine may share. A
 * segment of an upload is an ingest that was released; the usual upload has one, which becomes the blob by a rename.
 */
import type { Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Random } from '#base/random.ts'
import { sweepIngests } from '#oci/blobs/collect.ts'
import type { Blobs, BlobStat, Ingest } from '#oci/blobs/contract.ts'
import type { Digest } from '#oci/digest.ts'
import type { Content, RegistryStorage, Segment, TakeInOptions } from './contract.ts'
import { openFileRecords } from './file-records.ts'

export interface FileStorageOptions {
  readonly root: string
  readonly blobs: Blobs
  readonly clock: Clock
  readonly random: Random
}

export async function openFileStorage(options: FileStorageOptions): Promise<RegistryStorage> {
  return { content: new FileContent(options.blobs), records: await openFileRecords(options), [Symbol.asyncDispose]: async () => {} }
}

class FileContent implements Content {
  readonly #blobs: Blobs

  constructor(blobs: Blobs) {
    this.#blobs = blobs
  }

  path(digest: Digest): string {
    return this.#blobs.path(digest)
  }

  stat(digest: Digest): Promise<BlobStat | undefined> {
    return this.#blobs.stat(digest)
  }

  open(digest: Digest, range?: { readonly start?: number; readonly end?: number }): Promise<Readable> {
    return this.#blobs.open(digest, range)
  }

  read(digest: Digest, options: { readonly maxBytes: number }): Promise<Buffer> {
    return this.#blobs.read(digest, options)
  }

  list(): AsyncIterable<BlobStat> {
    return this.#blobs.list()
  }

  keep(digest: Digest): Promise<boolean> {
    return this.#blobs.keep(digest)
  }

  remove(digest: Digest, options: { readonly committedBeforeMs: number }): Promise<number | undefined> {
    return this.#blobs.remove(digest, options)
  }

  async takeIn(source: AsyncIterable<Uint8Array>, options: TakeInOptions): Promise<void> {
    await using ingest = await this.#blobs.begin()
    try {
      await ingest.write(source, options)
    } finally {
      if (ingest.offset > 0) {
        await options.claim({ id: ingest.id, sizeBytes: ingest.offset })
        await ingest.release()
      }
    }
  }

  async assemble(segments: readonly Segment[], options: { readonly expect: Digest }): Promise<BlobStat> {
    const [only, ...more] = segments
    if (only === undefined || more.length > 0) return await this.#join(segments, options)
    const ingest = await this.#blobs.resume(only.id)
    return await this.#commit(ingest, only, options)
  }

  async #commit(ingest: Ingest, segment: Segment, options: { readonly expect: Digest }): Promise<BlobStat> {
    try {
      if (ingest.offset !== segment.sizeBytes) throw lost(segment)
      return await ingest.commit(options)
    } finally {
      // A commit that failed leaves the segment to its upload.
      await ingest.release()
    }
  }

  async #join(segments: readonly Segment[], options: { readonly expect: Digest }): Promise<BlobStat> {
    await using whole = await this.#blobs.begin()
    for (const segment of segments) {
      const part = await this.#blobs.resume(segment.id)
      try {
        if (part.offset !== segment.sizeBytes) throw lost(segment)
        await whole.write(part.content())
      } finally {
        await part.release()
      }
    }
    const stat = await whole.commit(options)
    for (const segment of segments) await this.discard(segment)
    return stat
  }

  async discard(segment: Segment): Promise<void> {
    try {
      await (await this.#blobs.resume(segment.id)).abort()
    } catch (error) {
      // Somebody has discarded it, or does so now.
      if (!isFault(error, 'notFound') && !isFault(error, 'conflict')) throw error
    }
  }

  async sweep(options: { readonly writtenBeforeMs: number; readonly used: ReadonlySet<string> }): Promise<number> {
    return await sweepIngests(this.#blobs, options.writtenBeforeMs, options.used)
  }
}

function lost(segment: Segment): Fault {
  return new Fault('notFound', `a part of the upload is not here any more: it held ${segment.sizeBytes} bytes`, { details: { reason: 'BLOB_UPLOAD_UNKNOWN' } })
}
