/** The confined jobs of this room: where their modules stand, what they take and answer. They run in `#linux/contract/confined.ts`. */
import type { BigIntStats } from 'node:fs'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { Filled } from '../blobs/hashed-file.ts'
import type { LayerCompression } from '../descriptor.ts'
import type { Digest } from '../digest.ts'
import type { EntryType } from './entry.ts'

/** Unpacks the job's input below `base`. */
export interface UnpackArgs {
  readonly kind: 'layer' | 'tree'
  readonly compression: LayerCompression | 'detect'
  /** Absolute, inside the job's root. Made (0755) where it is missing and `makeBase` says so. */
  readonly base: string
  readonly makeBase?: boolean
  /** Writes an EROFS image of this name instead (for `layer`). */
  readonly image?: string
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly keepKinds?: boolean
  /** The tree shows owners mapped; the archive has those inside. */
  readonly ids?: IdMapping
}

export interface UnpackResult {
  /** Digest of the whole uncompressed stream. */
  readonly diffId: Digest
  /** Length of the uncompressed stream. */
  readonly tarBytes: number
  readonly entries: number
  readonly sizeBytes: number
}

export const unpackJob = new URL('./unpack.job.ts', import.meta.url)

/** Writes `path` (followed to its last link inside the root when `follow`) as a tar to the job's output. */
export interface PackArgs {
  readonly kind: 'layer' | 'tree'
  readonly path: string
  /** Name of `path` in the tar; empty: its children stand at the top. */
  readonly name: string
  /** The tree shows owners mapped; the archive gets those inside. */
  readonly ids?: IdMapping
  /** An open, empty file that gets the tar instead of the output. */
  readonly fd?: number
}

export interface PackResult {
  readonly entries: number
  readonly sizeBytes: number
  /** Of the tar, where it went into a file. */
  readonly filled?: Filled
}

export const packJob = new URL('./pack.job.ts', import.meta.url)

/** Lists an overlay's upper folder. */
export interface ListedEntry {
  /** Bytes relative to the root, without leading slash. */
  readonly path: Uint8Array
  readonly kind: EntryType | 'whiteout' | 'socket'
  readonly opaque: boolean
  readonly sizeBytes: number
  /** `dev:ino` where the file has several names, so that it is counted once. */
  readonly inode?: string
  /** Of a folder: mode, owner and time, so that one that was only looked into can be told from one that changed. */
  readonly attributes?: string
}

/** See `ListedEntry.attributes`. */
export function folderAttributes(stats: BigIntStats): string {
  return `${stats.mode.toString(8)} ${stats.uid}:${stats.gid} ${stats.mtimeNs}`
}

export const listJob = new URL('./list.job.ts', import.meta.url)

/** Describes one path; a link is described itself, its parents are followed inside the root. */
export interface StatResult {
  readonly name: string
  readonly kind: EntryType | 'socket'
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedNs: bigint
  readonly linkTarget: string
  /** Where the path leads when links are followed; undefined when that is nothing. */
  readonly resolved: { readonly path: string; readonly isFolder: boolean } | undefined
}

export const statJob = new URL('./stat.job.ts', import.meta.url)

/** Set again where a folder still stands. */
export interface FolderTimes {
  /** Bytes, absolute, from the job's root. */
  readonly path: Uint8Array
  readonly accessedNs: bigint
  readonly modifiedNs: bigint
}

export const folderTimesJob = new URL('./folder-times.job.ts', import.meta.url)

/** Brings everything of the root's file system to the disk (syncfs). */
export const syncJob = new URL('./sync.job.ts', import.meta.url)
