/**
 * Where a registry keeps everything: content (blobs by digest, and the segments uploads consist of) and records (links, tags,
 * uploads). Nothing of it lives in a registry's memory, so that any number of registries may serve one storage; what two of
 * them do at the same instant is settled here, by three promises that every driver keeps:
 *
 * - *create* lets one win: of two who create the same record, one is told `false`.
 * - *renew and remove*: a blob or record that was renewed (`keep`, `touch`, another commit or write) after the remover looked is
 *   not removed. So what is young is as good as leased: the collector removes only what has been old for long, and who relies on
 *   something first makes it young.
 * - what a call has returned is on the disk, and every registry over the storage sees it.
 *
 * `storage.suite.ts` is run by every driver. Paths of records are built from repository names, tags and digests: their parts hold
 * no `/`, no `~`, and are never `.` or `..`.
 */
import type { BlobReader, BlobStat } from '#oci/blobs/contract.ts'
import type { Digest, DigestAlgorithm } from '#oci/digest.ts'

export interface RecordStat {
  /** Changes with every write and touch. */
  readonly version: string
  /** Milliseconds since the epoch, by the storage's clock. */
  readonly writtenAtMs: number
}

export interface RecordEntry {
  readonly name: string
  /** True for what other records stand below. */
  readonly isFolder: boolean
  /** undefined when it has gone since. */
  stat(): Promise<RecordStat | undefined>
}

export interface Records {
  read(path: string): Promise<Buffer | undefined>
  stat(path: string): Promise<RecordStat | undefined>
  /** Puts a record there or replaces it, whole or not at all. Not `durable`: a power cut may lose it, though never half of it. */
  write(path: string, content: string, options?: { readonly durable?: boolean }): Promise<void>
  /** The same, only where there is none; false when there is. */
  create(path: string, content: string, options?: { readonly durable?: boolean }): Promise<boolean>
  /** Makes a record young; false when it is not there. */
  touch(path: string): Promise<boolean>
  /** True when it was there. With `version`: only that one; false when it has been touched or written since. */
  remove(path: string, options?: { readonly version?: string }): Promise<boolean>
  /** What stands directly below a folder, by the bytes of its name; a folder that nobody wrote to is empty. */
  list(folder: string): AsyncIterable<RecordEntry>
}

/** Bytes that were taken in and belong to no blob yet: a piece of an upload. */
export interface Segment {
  readonly id: string
  readonly sizeBytes: number
}

export interface TakeInOptions {
  /** Called with each segment, in order, once its bytes are stored. When it throws, the segment is given up and taking in ends with that error. */
  readonly claim: (segment: Segment) => Promise<void>
  /** The segment that stands before this one in the upload: its hash is gone on with where it is still known. */
  readonly after?: Segment
  /** The algorithm of the digest to be promised in the end; sha256 by default. Another may be promised, at the price of reading again. */
  readonly algorithm?: DigestAlgorithm
  readonly signal?: AbortSignal
  /** More bytes than this from the source are `tooLarge`. */
  readonly maxBytes?: number
  /** The source's pieces may be emptied once they are stored (see the blobs' `WriteOptions`). */
  readonly isGiven?: boolean
}

export interface Content extends Omit<BlobReader, 'path' | 'list'> {
  /** Every blob, in no order. */
  list(): AsyncIterable<Pick<BlobStat, 'digest' | 'committedAtMs'>>
  /** Where a local file with these bytes stands, for sendfile; undefined where blobs are no files. */
  path(digest: Digest): string | undefined
  /** Makes a blob young; false when it is not here. To be called before something is linked to it. */
  keep(digest: Digest): Promise<boolean>
  /** Removes a blob unless it was committed or kept since `committedBeforeMs`; answers its bytes, or undefined when it stays or is not here. Readers that have it open finish, unless they take longer than until the next collection. */
  remove(digest: Digest, options: { readonly committedBeforeMs: number }): Promise<number | undefined>
  /** Stores the source's bytes as segments; the source must not use the memory of what it gave again. When the source fails or is canceled, what arrived is stored and claimed before the error is thrown. */
  takeIn(source: AsyncIterable<Uint8Array>, options: TakeInOptions): Promise<void>
  /** Makes segments, in this order, one blob: `DIGEST_INVALID` when they are another, `notFound` when one is gone. They are used up when it succeeds. */
  assemble(segments: readonly Segment[], options: { readonly expect: Digest }): Promise<BlobStat>
  discard(segment: Segment): Promise<void>
  /** Frees bytes that belong to no blob, are not `used` by an upload and were written before `writtenBeforeMs`; answers how many. */
  sweep(options: { readonly writtenBeforeMs: number; readonly used: ReadonlySet<string> }): Promise<number>
}

export interface RegistryStorage extends AsyncDisposable {
  readonly content: Content
  readonly records: Records
}

/** Stores bytes that are at hand as a blob. */
export async function storeBytes(content: Content, bytes: Uint8Array, digest: Digest): Promise<void> {
  const segments: Segment[] = []
  const source = (async function* () {
    yield bytes
  })()
  await content.takeIn(source, { claim: async (segment) => void segments.push(segment) })
  await content.assemble(segments, { expect: digest })
}
