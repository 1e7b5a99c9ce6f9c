/**
 * Writes one EROFS image in one pass: contents go into it as they come, the inodes of what is no folder into a file beside, folders are
 * kept in memory until the end, since only then their children's numbers are known. In the image:
 *
 *     superblock | contents and full folder blocks | inodes of folders | inodes of everything else
 *
 * The memory it takes is that of the names. Synchronous, for confined jobs.
 */
import { readSync } from 'node:fs'
import { archiveFault } from '../layer/entry.ts'
import type { TarItem } from '../layer/reader.ts'
import { Appender } from './appender.ts'
import { erofsBlockBytes, folderBlock, folderBlocks, holeAddress, inodeBytes, linksAt, roundUp, slotBytes, superblock, writeInode, xattrBody } from './format.ts'
import type { FolderEntry, InodeFields, NodeType } from './format.ts'

export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly modifiedNs: bigint
  readonly xattrs: ReadonlyMap<string, Uint8Array>
}

/** What is no folder: written already, known by its slot. */
export interface Leaf {
  readonly type: Exclude<NodeType, 'directory'>
  readonly slot: number
  links: number
}

export interface Folder {
  readonly type: 'directory'
  attributes: Attributes
  /** By name, one character per byte. */
  readonly children: Map<string, Leaf | Folder>
}

/** Files up to this size stand behind their inodes. */
const inlineBytes = 2048
const maxChunks = 65_536
/** Before the root, so that its number is not 0, which readers of folders take for a deleted entry. */
const rootAt = 2 * slotBytes

interface PlacedFolder {
  readonly folder: Folder
  readonly parent: PlacedFolder | undefined
  readonly number: number
  /** Byte in the region of folders. */
  readonly at: number
  readonly xattrs: Buffer
  readonly names: readonly string[]
  readonly blocks: readonly { readonly count: number; readonly bytes: number }[]
  /** The last block stands behind the inode. */
  readonly isInline: boolean
  /** Subfolders as they were placed. */
  readonly below: Map<string, PlacedFolder>
}

export class ErofsWriter {
  readonly #beside: number
  readonly #data: Appender
  readonly #leaves: Appender
  /** Whose count of names is not 1 any more, as it was written. */
  readonly #linked = new Set<Leaf>()
  #inodes = 0
  #hasChunks = false

  /** Descriptors of two empty files, open for reading and writing; the second is scratch. */
  constructor(image: number, beside: number) {
    this.#beside = beside
    this.#data = new Appender(image, erofsBlockBytes)
    this.#leaves = new Appender(beside, 0)
  }

  async file(attributes: Attributes, item: TarItem): Promise<Leaf> {
    if (item.segments !== undefined) return await this.#sparse(attributes, item)
    const { sizeBytes } = item.entry
    if (sizeBytes <= inlineBytes) {
      const content = await wholeContent(item)
      return this.leaf('file', attributes, content)
    }
    const start = this.#data.position
    for (;;) {
      const step = item.read()
      const chunk = step instanceof Promise ? await step : step
      if (chunk === undefined) break
      this.#data.append(chunk)
    }
    this.#data.align(erofsBlockBytes)
    return this.#emit('file', attributes, { layout: 'plain', data: start / erofsBlockBytes, sizeBytes })
  }

  /** What has its content at hand: a small file, the target of a link, nothing. */
  leaf(type: Leaf['type'], attributes: Attributes, content: Buffer): Leaf {
    const head = inodeBytes + (xattrBody(attributes.xattrs)?.length ?? 0)
    if (content.length > 0 && head + content.length <= erofsBlockBytes) return this.#emit(type, attributes, { layout: 'inline', data: 0, sizeBytes: content.length, behind: content })
    const start = content.length === 0 ? 0 : this.#data.position / erofsBlockBytes
    this.#data.append(content)
    this.#data.align(erofsBlockBytes)
    return this.#emit(type, attributes, { layout: 'plain', data: start, sizeBytes: content.length })
  }

  /** `number` as `deviceNumber` gives it. */
  device(type: 'charDevice' | 'blockDevice' | 'fifo', attributes: Attributes, number: number): Leaf {
    return this.#emit(type, attributes, { layout: 'plain', data: number, sizeBytes: 0 })
  }

  /** Says that a leaf has one more name. */
  link(leaf: Leaf): void {
    leaf.links += 1
    this.#linked.add(leaf)
  }

  /** Says that a leaf has one name less. What has none left stays in the image, out of reach. */
  unlink(leaf: Leaf): void {
    leaf.links -= 1
    this.#linked.add(leaf)
  }

  /** Only pieces with content take room; the file's map tells where each piece of equal size is. */
  async #sparse(attributes: Attributes, item: TarItem): Promise<Leaf> {
    const { sizeBytes } = item.entry
    const bits = Math.max(12, Math.ceil(Math.log2(sizeBytes / maxChunks)))
    const chunkBytes = 2 ** bits
    const map = Buffer.alloc(4 * Math.ceil(sizeBytes / chunkBytes), 0xff)
    const placeOf = (chunk: number): number => {
      const known = map.readUInt32LE(4 * chunk)
      if (known !== holeAddress) return known * erofsBlockBytes
      const place = this.#data.position
      this.#data.skip(roundUp(Math.min(chunkBytes, sizeBytes - chunk * chunkBytes), erofsBlockBytes))
      map.writeUInt32LE(place / erofsBlockBytes, 4 * chunk)
      return place
    }
    for (const segment of item.segments ?? []) {
      for (let done = 0; done < segment.length; ) {
        const offset = segment.offset + done
        const chunk = Math.floor(offset / chunkBytes)
        const bytes = await item.read(Math.min(segment.length - done, (chunk + 1) * chunkBytes - offset))
        if (bytes === undefined) throw archiveFault('its sparse content ends too early', item.entry.path)
        this.#data.writeAt(bytes, placeOf(chunk) + (offset - chunk * chunkBytes))
        done += bytes.length
      }
    }
    this.#hasChunks = true
    return this.#emit('file', attributes, { layout: 'chunks', data: bits - 12, sizeBytes, behind: map })
  }

  #emit(type: Leaf['type'], attributes: Attributes, content: Pick<InodeFields, 'layout' | 'data' | 'sizeBytes'> & { readonly behind?: Buffer }): Leaf {
    const xattrs = fittingXattrs(attributes)
    const behind = content.behind ?? noBytes
    const head = inodeBytes + xattrs.length
    this.#leaves.align(slotBytes)
    // Bytes behind an inode must lie in one block.
    if (content.layout === 'inline' && ((this.#leaves.position + head) % erofsBlockBytes) + behind.length > erofsBlockBytes) this.#leaves.align(erofsBlockBytes)
    const leaf: Leaf = { type, slot: this.#leaves.position / slotBytes, links: 1 }
    this.#inodes += 1
    const inode = Buffer.alloc(inodeBytes)
    writeInode(inode, 0, { ...plainAttributes(attributes), ...content, type, links: 1, number: this.#inodes, xattrBytes: xattrs.length })
    this.#leaves.append(inode)
    if (xattrs.length > 0) this.#leaves.append(xattrs)
    if (behind.length > 0) this.#leaves.append(behind)
    return leaf
  }

  finish(root: Folder): void {
    this.#leaves.align(erofsBlockBytes)
    this.#leaves.flush()
    const { folders, bytes: folderRegion } = this.#place(root)
    const nidOf = (node: Leaf | PlacedFolder): number => ('slot' in node ? folderRegion / slotBytes + node.slot : node.at / slotBytes)
    const entriesOf = (placed: PlacedFolder): FolderEntry[] =>
      placed.names.map((name) => {
        const node = name === '.' ? placed : name === '..' ? (placed.parent ?? placed) : (placed.below.get(name) ?? leafOf(placed.folder, name))
        return { name, nid: nidOf(node), type: 'slot' in node ? node.type : 'directory' }
      })
    const inodes = folders.map((placed) => this.#folder(placed, entriesOf(placed)))
    this.#data.align(erofsBlockBytes)
    const metadataAt = this.#data.position
    for (const [index, placed] of folders.entries()) {
      this.#data.fillTo(metadataAt + placed.at)
      this.#data.append(inodes[index] ?? noBytes)
    }
    this.#data.fillTo(metadataAt + folderRegion)
    this.#copyLeaves()
    const blocks = this.#data.position / erofsBlockBytes
    if (blocks > 0xffff_ffff) throw archiveFault('it is larger than the 16 TB a layer may have')
    for (const leaf of this.#linked) {
      const links = Buffer.alloc(4)
      links.writeUInt32LE(leaf.links)
      this.#data.writeAt(links, metadataAt + folderRegion + leaf.slot * slotBytes + linksAt)
    }
    this.#data.writeAt(superblock({ rootNid: rootAt / slotBytes, inodes: this.#inodes, blocks, metadataBlock: metadataAt / erofsBlockBytes, hasChunks: this.#hasChunks }), 0)
  }

  /** Gives every folder its place in the region of folders, the root first. */
  #place(root: Folder): { readonly folders: readonly PlacedFolder[]; readonly bytes: number } {
    const folders: PlacedFolder[] = []
    let at = rootAt
    const waiting: { readonly folder: Folder; readonly parent: PlacedFolder | undefined; readonly name: string }[] = [{ folder: root, parent: undefined, name: '' }]
    // Grows while it is gone through.
    for (const { folder, parent, name } of waiting) {
      const xattrs = fittingXattrs(folder.attributes)
      const names = ['.', '..', ...folder.children.keys()].sort(byBytes)
      const blocks = folderBlocks(names)
      const head = inodeBytes + xattrs.length
      const last = blocks.at(-1)?.bytes ?? 0
      const isInline = head + last <= erofsBlockBytes
      at = roundUp(at, slotBytes)
      if (isInline && ((at + head) % erofsBlockBytes) + last > erofsBlockBytes) at = roundUp(at, erofsBlockBytes)
      this.#inodes += 1
      const placed: PlacedFolder = { folder, parent, number: this.#inodes, at, xattrs, names, blocks, isInline, below: new Map() }
      parent?.below.set(name, placed)
      folders.push(placed)
      at += head + (isInline ? last : 0)
      for (const [childName, child] of folder.children) if (child.type === 'directory') waiting.push({ folder: child, parent: placed, name: childName })
    }
    return { folders, bytes: roundUp(at, erofsBlockBytes) }
  }

  /** Appends the folder's blocks; answers its inode with what stands behind it. */
  #folder(placed: PlacedFolder, entries: readonly FolderEntry[]): Buffer {
    const { folder, blocks, xattrs, isInline } = placed
    this.#data.align(erofsBlockBytes)
    const start = this.#data.position / erofsBlockBytes
    const last = blocks.at(-1)?.bytes ?? 0
    let behind: Buffer = noBytes
    let taken = 0
    for (const [index, { count }] of blocks.entries()) {
      const block = folderBlock(entries.slice(taken, taken + count))
      taken += count
      if (isInline && index === blocks.length - 1) behind = block.subarray(0, last)
      else this.#data.append(block)
    }
    const inode = Buffer.alloc(inodeBytes)
    writeInode(inode, 0, {
      ...plainAttributes(folder.attributes),
      type: 'directory',
      layout: isInline ? 'inline' : 'plain',
      data: start,
      sizeBytes: (blocks.length - 1) * erofsBlockBytes + last,
      links: 2 + placed.below.size,
      number: placed.number,
      xattrBytes: xattrs.length,
    })
    return Buffer.concat([inode, xattrs, behind])
  }

  #copyLeaves(): void {
    const buffer = Buffer.allocUnsafe(1024 * 1024)
    const end = this.#leaves.position
    for (let at = 0; at < end; ) {
      const length = readSync(this.#beside, buffer, 0, Math.min(buffer.length, end - at), at)
      if (length === 0) throw archiveFault('the file beside the image was cut')
      this.#data.append(buffer.subarray(0, length))
      at += length
    }
    this.#data.flush()
  }
}

const noBytes = Buffer.alloc(0)

function plainAttributes({ mode, uid, gid, modifiedNs }: Attributes): Pick<InodeFields, 'mode' | 'uid' | 'gid' | 'modifiedNs'> {
  return { mode, uid, gid, modifiedNs }
}

function fittingXattrs({ xattrs }: Attributes): Buffer {
  const body = xattrBody(xattrs)
  if (body === undefined) throw archiveFault('the extended attributes of an entry take more than 256 kB')
  return body
}

function leafOf(folder: Folder, name: string): Leaf {
  const child = folder.children.get(name)
  if (child === undefined || child.type === 'directory') throw new Error(`'${name}' was not placed`)
  return child
}

function byBytes(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

async function wholeContent(item: TarItem): Promise<Buffer> {
  const first = item.read()
  let content = (first instanceof Promise ? await first : first) ?? noBytes
  while (content.length < item.entry.sizeBytes) {
    const more = await item.read()
    if (more === undefined) break
    content = Buffer.concat([content, more])
  }
  return content
}
