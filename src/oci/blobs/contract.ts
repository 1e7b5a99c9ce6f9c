/**
 * Blobs: immutable bytes named by their digest, under both the engine and the registry. Functions ask for the smallest
 * of the capabilities below, not for the whole store.
 *
 * Writing goes through an *ingest*, which can be left and resumed (a chunked upload, an interrupted pull):
 *
 * ```ts
 * await using ingest = await blobs.begin()
 * await ingest.write(body)                         // as often as chunks come; ingest.offset counts the bytes
 * const { digest } = await ingest.commit({ expect })  // only now is the blob visible, and it is on the disk
 * ```
 *
 * Promises: a blob is visible whole or not at all, also after a power cut; committing bytes that are already there is
 * no error; concurrent ingests of the same content do not disturb each other. Faults: `invalidArgument` with
 * `details.reason` `DIGEST_INVALID` for a wrong digest, `notFound`, `conflict` for an ingest already written to by
 * somebody, `resourceExhausted` when the disk is full, `canceled`.
 *
 * Specified by: OCI image-spec `descriptor.md`, distribution-spec (uploads).
 */
import type { Readable } from 'node:stream'
import type { Digest, DigestAlgorithm } from '../digest.ts'
import type { Filled } from './hashed-file.ts'

export interface BlobStat {
  readonly digest: Digest
  readonly sizeBytes: number
  /** Milliseconds since the epoch at which the blob was committed or kept last; the collector spares what is young. */
  readonly committedAtMs: number
}

export interface BlobReader {
  /** What is known of a blob; undefined when it is not here. */
  stat(digest: Digest): Promise<BlobStat | undefined>
  /** Its bytes, from `start` up to and without `end` (both default to the whole). `notFound` when it is not here, `rangeNotSatisfiable` when the range is not inside. */
  open(digest: Digest, range?: { readonly start?: number; readonly end?: number }): Promise<Readable>
  /** Its bytes at once; more than `maxBytes` is `tooLarge`. For manifests and configurations. */
  read(digest: Digest, options: { readonly maxBytes: number }): Promise<Buffer>
  /** Where a local file with these bytes stands, for sendfile, loop mounts and confined jobs. It must not be changed. */
  path(digest: Digest): string
  /** Every blob, in no order. */
  list(): AsyncIterable<BlobStat>
}

export interface WriteOptions {
  readonly signal?: AbortSignal
  readonly maxBytes?: number
  /** Told how many bytes the ingest's file holds, each time that is more. */
  readonly onGrown?: (offset: number) => void
  /**
   * The source gives its pieces away: each is emptied once it is written. Their memory is free at once then, and not when garbage is
   * collected next, which is after many megabytes.
   */
  readonly isGiven?: boolean
}

export interface Ingest extends AsyncDisposable {
  readonly id: string
  /** Where the local file with its bytes stands until the ingest ends, for who reads it while it grows. */
  readonly path: string
  /** Bytes taken so far. */
  readonly offset: number
  /**
   * Appends the source's bytes and returns the new offset. When the source fails or `signal` aborts, what arrived
   * before stays and counts. `conflict` when another write of this ingest is under way. `maxBytes` bounds the whole
   * ingest: beyond it `tooLarge`. The source is read a little ahead.
   */
  write(source: AsyncIterable<Uint8Array>, options?: WriteOptions): Promise<number>
  /**
   * Lets another thread write the whole content into the file, by a {@link HashedFile}, so that no byte passes through this one. Only into
   * an empty ingest, and nothing can be added (`conflict`). When the writer fails the ingest is empty again.
   */
  fill(writer: (fd: number) => Promise<Filled>): Promise<void>
  /** The bytes taken so far. Nothing may be written meanwhile. */
  content(): Readable
  /**
   * Makes the bytes a blob. With `expect`, other content is refused (`invalidArgument`, `DIGEST_INVALID`) and the
   * ingest stays open so that its owner decides; without it the digest is computed (`algorithm`, sha256 by default).
   */
  commit(options?: { readonly expect?: Digest; readonly algorithm?: DigestAlgorithm }): Promise<BlobStat>
  /** Throws the bytes away. No error when that has happened already. */
  abort(): Promise<void>
  /** Lets go of the ingest and leaves its bytes to be resumed by id. */
  release(): Promise<void>
  /** `await using`: aborts what was neither committed nor released. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface BlobIngester {
  /** Starts an ingest; `id` (letters, digits, `-`, `_`) is made up when none is given. `alreadyExists` when the id is in use. */
  begin(options?: { readonly id?: string }): Promise<Ingest>
  /** Takes up an ingest that was released or that a crash left behind. `notFound` for an unknown id, `conflict` while somebody holds it. */
  resume(id: string): Promise<Ingest>
  /** Ids of ingests that nobody holds, with their age, so that abandoned ones can be thrown away. */
  abandoned(): AsyncIterable<{ readonly id: string; readonly sizeBytes: number; readonly touchedAtMs: number }>
}

export interface BlobKeeper {
  /** Makes a blob young, which keeps the collector from it for its grace; false when it is not here. To be called before something is linked to it. */
  keep(digest: Digest): Promise<boolean>
}

export interface BlobRemover {
  /**
   * Forgets a blob and answers the bytes that frees; readers that have it open still finish. With `committedBeforeMs`: unless it was
   * committed or kept since, by whichever process. undefined then, and when it is not here.
   */
  remove(digest: Digest, options?: { readonly committedBeforeMs: number }): Promise<number | undefined>
}

export interface Blobs extends BlobReader, BlobIngester, BlobKeeper, BlobRemover {}
