/**
 * What an archive is unpacked into. `apply.ts` decides what an entry means; a target carries it out, on a file system
 * (`folder-target.ts`) or into an image of one (`erofs-target.ts`). Paths are bytes relative to the root, without leading slash; the
 * root itself is empty. Links in parents are followed inside the root.
 *
 * Failures are errors with Node's `code`, as `fs` throws them: `EEXIST` where something stands in the way, `ENOENT`, `EPERM`, `ENOSPC` …
 */
import type { TarEntry } from './entry.ts'
import type { TarItem } from './reader.ts'

export type Standing = 'folder' | 'symlink' | 'whiteout' | 'other'

export interface LayerTarget {
  /** What stands there itself; undefined for nothing. */
  look(path: Buffer): Standing | undefined
  /** Whether a folder stands there or where the link there leads. */
  isFolder(path: Buffer): boolean
  /** A folder that belongs to root (0755) until it is described. `EEXIST`. */
  makeFolder(path: Buffer): void
  /** Gives a folder its owner, mode, attributes and, once all is unpacked, time. */
  describeFolder(path: Buffer, entry: TarEntry): void
  /** A file with everything the entry says. `EEXIST` before a byte was read. */
  file(path: Buffer, item: TarItem, entry: TarEntry): Promise<void>
  /** `EEXIST`, `ENOENT` without the target. */
  hardlink(path: Buffer, target: Buffer): void
  /** A symlink, device or fifo. `EEXIST`. */
  special(path: Buffer, entry: TarEntry): void
  /** Hides what the layers below have by that name. */
  whiteout(path: Buffer): void
  /** Hides what the layers below have in that folder. */
  makeOpaque(path: Buffer): void
  /** With everything in it. */
  remove(path: Buffer): void
  /** After the last entry. */
  finish(): void
}

/** Marks of overlayfs itself are ours to make, never the archive's. */
export function isOverlayMark(xattr: string): boolean {
  return /^(trusted|user)\.overlay\./.test(xattr)
}

export const opaqueXattr = 'trusted.overlay.opaque'
