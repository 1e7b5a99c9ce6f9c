/**
 * One entry of a layer archive (POSIX pax format as image-spec `layer.md` asks for; ustar and GNU tar are read as well).
 * Names, link targets and extended attributes are bytes: they need not be UTF-8.
 */
import { Fault } from '#base/fault.ts'

export type EntryType = 'file' | 'hardlink' | 'symlink' | 'charDevice' | 'blockDevice' | 'directory' | 'fifo'

export interface TarEntry {
  readonly type: EntryType
  /** As stored, without the trailing slash of folders; see `safePath` before it touches a file system. */
  readonly path: Buffer
  /** Target of a symlink or hard link; empty otherwise. */
  readonly linkPath: Buffer
  /** Permission bits with set-uid, set-gid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly userName: string
  readonly groupName: string
  /** Logical length of a file's content (holes included); 0 for everything else. */
  readonly sizeBytes: number
  readonly modifiedNs: bigint
  readonly accessedNs?: bigint
  readonly device?: { readonly major: number; readonly minor: number }
  readonly xattrs: ReadonlyMap<string, Buffer>
}

/** Where the stored bytes of a sparse file belong; everything between is a hole. */
export interface Segment {
  readonly offset: number
  readonly length: number
}

/** Bounds on what an archive may claim, against bombs. */
export interface TarLimits {
  readonly maxEntries: number
  /** Sum of logical file sizes. */
  readonly maxTotalBytes: number
  /** One pax header or long name. */
  readonly maxHeaderBytes: number
  readonly maxPathBytes: number
}

export const defaultTarLimits: TarLimits = {
  maxEntries: 4_000_000,
  maxTotalBytes: 256 * 1024 ** 3,
  maxHeaderBytes: 1024 * 1024,
  maxPathBytes: 4096,
}

/** `invalidArgument`, naming the entry where one is known. */
export function archiveFault(message: string, path?: Uint8Array): Fault {
  return new Fault('invalidArgument', path === undefined ? `archive: ${message}` : `archive entry '${printable(path)}': ${message}`)
}

/** A name for people: control characters escaped, cut to a bearable length. */
export function printable(path: Uint8Array): string {
  const text = Buffer.from(path).toString('utf8')
  const quoted = JSON.stringify(text).slice(1, -1)
  return quoted.length > 300 ? `${quoted.slice(0, 300)}…` : quoted
}
