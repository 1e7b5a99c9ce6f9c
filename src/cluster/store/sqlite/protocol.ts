/**
 * What the SQLite store's two threads say to each other, and the file's layout. One row is one version of one key:
 *
 * - `id` = revision × 1024 + ordinal within the commit, so that the row order is the event order;
 * - `until` = the revision that superseded it; NULL while it is current; its own revision when it is a deletion, so that
 *   `revision <= R AND (until IS NULL OR until > R)` is the snapshot at R and `until <= R` is what compaction through R drops;
 * - `value` is NULL exactly in deletions.
 *
 * Integers stay below 2^53: that leaves 2^43 revisions.
 */
import { maxWritesPerCommit } from '../../contract/store.ts'

export const formatVersion = 1

export const schemaSql = `
  CREATE TABLE versions (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, version INTEGER NOT NULL, until INTEGER, value BLOB
  ) STRICT;
  CREATE INDEX versions_by_key ON versions (key, id);
  CREATE UNIQUE INDEX versions_current ON versions (key) WHERE until IS NULL;
  CREATE INDEX versions_superseded ON versions (until) WHERE until IS NOT NULL;
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  INSERT INTO counters VALUES ('revision', 0), ('compacted', 0);
`

export function rowId(revision: number, ordinal: number): number {
  return revision * maxWritesPerCommit + ordinal
}

export function revisionOf(rowId: number): number {
  return Math.floor(rowId / maxWritesPerCommit)
}

/** `modRevision`: what the key must have been written at; 0 = it must not exist; absent = whatever. `length` counts value bytes. */
export interface WriteMessage {
  readonly key: string
  readonly length: number | undefined
  readonly modRevision: number | undefined
}

/** The values of a batch travel as one transferred buffer, end to end in the order of the writes. */
export type ToWriter =
  | { readonly type: 'commit'; readonly batch: readonly (readonly WriteMessage[])[]; readonly values: ArrayBuffer }
  | { readonly type: 'compact'; readonly revision: number }
  | { readonly type: 'close' }

/** What became of one commit of a batch. `puts` names created revision and version of each write; undefined where a delete or nothing happened. */
export type CommitResult =
  | { readonly type: 'done'; readonly revision: number; readonly changes: readonly WriteResult[] }
  | { readonly type: 'conflict'; readonly key: string; readonly modRevision: number | undefined }

export type WriteResult = { readonly type: 'put'; readonly created: number; readonly version: number } | { readonly type: 'deleted' } | { readonly type: 'nothing' }

export type FromWriter =
  | { readonly type: 'opened'; readonly revision: number; readonly compacted: number }
  | { readonly type: 'refused'; readonly code: 'unavailable' | 'dataLoss'; readonly message: string }
  | { readonly type: 'committed'; readonly results: readonly CommitResult[] }
  | { readonly type: 'failed'; readonly message: string }
  /** Rows to forget are left: ask again, after any commit that waits. */
  | { readonly type: 'compactMore' }
  | { readonly type: 'compacted' }
