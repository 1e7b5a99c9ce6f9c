/**
 * What the registry needs of an object storage: whole objects by key, conditional writes, removals, and lists by prefix. No
 * multipart uploads, copies or versions, so that whatever speaks S3 will do. `s3-objects.ts` speaks it; `memory-objects.ts` is the
 * same in memory for tests.
 */
import type { Readable } from 'node:stream'

export interface ObjectStat {
  /** Changes with the content. */
  readonly etag: string
  readonly sizeBytes: number
  /** By the storage's clock, which may tell whole seconds only. */
  readonly writtenAtMs: number
}

export interface FoundObject extends ObjectStat {
  readonly body: Buffer
}

/** What must hold for a write to happen: there is no such object, or it is this one. */
export type Condition = { readonly absent: true } | { readonly etag: string }

export type ListedObject = ({ readonly isPrefix: false } & ObjectStat & { readonly key: string }) | { readonly isPrefix: true; readonly key: string }

/** Faults: `unavailable` when the storage does not answer or refuses. */
export interface ObjectStore extends AsyncDisposable {
  /** A small object with its bytes; undefined when there is none. */
  get(key: string): Promise<FoundObject | undefined>
  stat(key: string): Promise<ObjectStat | undefined>
  /** Bytes from `start` up to and without `end`, which lie inside; undefined when there is no such object. */
  open(key: string, range: { readonly start: number; readonly end: number }): Promise<Readable | undefined>
  /** False when the condition does not hold. */
  put(key: string, body: Uint8Array, condition?: Condition): Promise<boolean>
  /** No error when there is none. Unconditional, since few storages know conditions here (`removal.ts`). */
  delete(key: string): Promise<void>
  /** Objects whose key starts with `prefix`, by the bytes of their keys. With `delimiter`, keys that hold it after the prefix are told once, as that prefix. */
  list(prefix: string, options?: { readonly delimiter: '/' }): AsyncIterable<ListedObject>
}
