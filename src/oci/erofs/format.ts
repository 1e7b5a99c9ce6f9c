/**
 * The on-disk structures of EROFS that an uncompressed image needs (Linux `fs/erofs/erofs_fs.h`): superblock, extended inodes,
 * folder blocks, extended attributes. Everything is little-endian; a block has 4 kB; an inode's number (nid) counts slots of 32
 * bytes from the start of the metadata.
 */

export const erofsBlockBytes = 4096
export const slotBytes = 32
export const inodeBytes = 64
export const superblockAt = 1024
/** Block address of a hole in a chunk map. */
export const holeAddress = 0xffff_ffff

/** `EROFS_FT_*`, as folder entries name the type. */
export const fileTypes = { file: 1, directory: 2, charDevice: 3, blockDevice: 4, fifo: 5, symlink: 7 } as const
/** `S_IF*`. */
export const modeTypes = { file: 0o100000, directory: 0o040000, charDevice: 0o020000, blockDevice: 0o060000, fifo: 0o010000, symlink: 0o120000 } as const

export type NodeType = keyof typeof fileTypes

/** Where an inode's bytes are: in blocks of their own one after another, behind the inode itself, or in chunks that a map behind the inode lists. */
export const layouts = { plain: 0, inline: 2, chunks: 4 } as const

export interface SuperblockFields {
  readonly rootNid: number
  readonly inodes: number
  readonly blocks: number
  readonly metadataBlock: number
  readonly hasChunks: boolean
}

/** The first block. Nothing in it depends on the time or on chance: equal trees give equal images. */
export function superblock(fields: SuperblockFields): Buffer {
  const block = Buffer.alloc(erofsBlockBytes)
  const at = superblockAt
  block.writeUInt32LE(0xe0f5_e1e2, at)
  // Compatible feature: the inodes' time is that of the modification.
  block.writeUInt32LE(0x2, at + 8)
  block.writeUInt8(12, at + 12)
  block.writeUInt16LE(fields.rootNid, at + 14)
  block.writeBigUInt64LE(BigInt(fields.inodes), at + 16)
  block.writeUInt32LE(fields.blocks, at + 36)
  block.writeUInt32LE(fields.metadataBlock, at + 40)
  block.writeUInt32LE(fields.hasChunks ? 0x4 : 0, at + 80)
  return block
}

export interface InodeFields {
  readonly type: NodeType
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly modifiedNs: bigint
  readonly sizeBytes: number
  readonly links: number
  /** Serial number, for checkers. */
  readonly number: number
  readonly layout: keyof typeof layouts
  /** Block address, device number or form of the chunks. */
  readonly data: number
  /** Length of what {@link xattrBody} gave. */
  readonly xattrBytes: number
}

const nsPerSecond = 1_000_000_000n

/** An extended inode (`struct erofs_inode_extended`) at `at` of `target`. */
export function writeInode(target: Buffer, at: number, fields: InodeFields): void {
  const nanoseconds = ((fields.modifiedNs % nsPerSecond) + nsPerSecond) % nsPerSecond
  target.writeUInt16LE(1 | (layouts[fields.layout] << 1), at)
  target.writeUInt16LE(fields.xattrBytes === 0 ? 0 : (fields.xattrBytes - xattrHeaderBytes) / 4 + 1, at + 2)
  target.writeUInt16LE(modeTypes[fields.type] | fields.mode, at + 4)
  target.writeBigUInt64LE(BigInt(fields.sizeBytes), at + 8)
  target.writeUInt32LE(fields.data, at + 16)
  target.writeUInt32LE(fields.number, at + 20)
  target.writeUInt32LE(fields.uid, at + 24)
  target.writeUInt32LE(fields.gid, at + 28)
  target.writeBigInt64LE((fields.modifiedNs - nanoseconds) / nsPerSecond, at + 32)
  target.writeUInt32LE(Number(nanoseconds), at + 40)
  target.writeUInt32LE(fields.links, at + linksAt)
}

/** Where an inode's count of names stands. */
export const linksAt = 44

/** As the kernel's `new_encode_dev`. */
export function deviceNumber({ major, minor }: { readonly major: number; readonly minor: number }): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}

const xattrHeaderBytes = 12
/** `EROFS_XATTR_INDEX_*`; the two ACLs are named by their index alone. */
const xattrPrefixes: readonly (readonly [prefix: string, index: number])[] = [['user.', 1], ['trusted.', 4], ['security.', 6]]
const xattrNames: ReadonlyMap<string, number> = new Map([['system.posix_acl_access', 2], ['system.posix_acl_default', 3]])

function xattrName(name: string): { readonly index: number; readonly rest: Buffer } | undefined {
  const whole = xattrNames.get(name)
  if (whole !== undefined) return { index: whole, rest: Buffer.alloc(0) }
  const known = xattrPrefixes.find(([prefix]) => name.startsWith(prefix))
  return known === undefined ? undefined : { index: known[1], rest: Buffer.from(name.slice(known[0].length)) }
}

/**
 * The attributes as they follow their inode; empty when there are none. Names of other classes are left out, as file systems that do not
 * support them do; undefined when they do not fit in the 256 kB an inode has for them.
 */
export function xattrBody(xattrs: ReadonlyMap<string, Uint8Array>): Buffer | undefined {
  if (xattrs.size === 0) return Buffer.alloc(0)
  const parts: Buffer[] = []
  for (const [name, value] of xattrs) {
    const known = xattrName(name)
    if (known === undefined) continue
    if (known.rest.length > 255 || value.length > 0xffff) return undefined
    const entry = Buffer.alloc(roundUp(4 + known.rest.length + value.length, 4))
    entry.writeUInt8(known.rest.length, 0)
    entry.writeUInt8(known.index, 1)
    entry.writeUInt16LE(value.length, 2)
    known.rest.copy(entry, 4)
    entry.set(value, 4 + known.rest.length)
    parts.push(entry)
  }
  if (parts.length === 0) return Buffer.alloc(0)
  const body = Buffer.concat([Buffer.alloc(xattrHeaderBytes), ...parts])
  return (body.length - xattrHeaderBytes) / 4 + 1 > 0xffff ? undefined : body
}

export interface FolderEntry {
  /** One character per byte. */
  readonly name: string
  readonly nid: number
  readonly type: NodeType
}

const entryBytes = 12

/** How the names of a folder, in order of their bytes, fall into blocks: the count of entries and the bytes used of each block. */
export function folderBlocks(names: readonly string[]): readonly { readonly count: number; readonly bytes: number }[] {
  const blocks: { count: number; bytes: number }[] = []
  let last = { count: 0, bytes: 0 }
  for (const name of names) {
    const needed = entryBytes + name.length
    if (last.bytes + needed > erofsBlockBytes || blocks.length === 0) blocks.push((last = { count: 0, bytes: 0 }))
    last.count += 1
    last.bytes += needed
  }
  return blocks
}

/** One block of a folder: its entries, then their names. */
export function folderBlock(entries: readonly FolderEntry[]): Buffer {
  const block = Buffer.alloc(erofsBlockBytes)
  let nameAt = entries.length * entryBytes
  for (const [index, { name, nid, type }] of entries.entries()) {
    const at = index * entryBytes
    block.writeBigUInt64LE(BigInt(nid), at)
    block.writeUInt16LE(nameAt, at + 8)
    block.writeUInt8(fileTypes[type], at + 10)
    nameAt += block.write(name, nameAt, 'latin1')
  }
  return block
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
