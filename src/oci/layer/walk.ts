/**
 * Reads a tree into a tar: what an overlay's upper folder holds as a layer (`layer`), or a tree as it is (`tree`). The same
 * content always gives the same bytes: names in byte order, parents first, no user names, no access times. Runs inside
 * a confined job, hence the synchronous calls.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import { containerIdOf, overflowId, type IdMapping, type IdRange } from '#linux/contract/id-mapping.ts'
import type { RawFiles } from '#linux/contract/raw-files.ts'
import { withoutRootId } from './file-capabilities.ts'
import { BlockWriter } from './block-writer.ts'
import type { EntryType, TarEntry } from './entry.ts'
import { tarEnd, tarHeader, tarPadding } from './writer.ts'

export interface WalkOptions {
  readonly kind: 'layer' | 'tree'
  /** Absolute path of what is read; `/` or below inside a confined job. */
  readonly base: Buffer
  /** Name of `base` in the archive. Empty: `base` itself gets no entry, its children stand at the top. */
  readonly name: Buffer
  readonly files: RawFiles
  /** How the owners that the tree shows are mapped; the archive gets those inside. */
  readonly ids?: IdMapping
  /** Takes a block of the tar; its memory is used again when the promise has resolved. */
  readonly output: (block: Uint8Array) => Promise<void>
}

export interface Walked {
  readonly entries: number
  readonly sizeBytes: number
}

const separator = Buffer.from('/')

export async function writeTree(options: WalkOptions): Promise<Walked> {
  const writer = new TreeWriter(options)
  await writer.visit(options.base, options.name, lstatSync(options.base, { bigint: true }))
  await writer.end()
  return { entries: writer.entries, sizeBytes: writer.sizeBytes }
}

class TreeWriter {
  readonly #options: WalkOptions
  readonly #links = new Map<string, Buffer>()
  readonly #blocks: BlockWriter
  entries = 0
  sizeBytes = 0

  constructor(options: WalkOptions) {
    this.#options = options
    this.#blocks = new BlockWriter(options.output)
  }

  async visit(path: Buffer, name: Buffer, found: BigIntStats): Promise<void> {
    if (this.#options.kind === 'layer' && isWhiteoutNode(found)) return await this.#marker(whiteoutName(name))
    const type = typeOf(found)
    if (type === undefined) return
    if (type === 'file') return await this.#file(path, name, found)
    if (type === 'symlink') this.sizeBytes += Number(found.size)
    if (name.length > 0) await this.#header(this.#entry(path, name, found, type))
    if (type === 'directory') await this.#children(path, name)
  }

  async #children(path: Buffer, name: Buffer): Promise<void> {
    if (this.#options.kind === 'layer' && name.length > 0 && this.#isOpaque(path)) await this.#marker(Buffer.concat([name, Buffer.from('/.wh..wh..opq')]))
    for (const child of readdirSync(path, { encoding: 'buffer' }).sort((a, b) => a.compare(b))) {
      const childPath = path.at(-1) === 0x2f ? Buffer.concat([path, child]) : Buffer.concat([path, separator, child])
      const found = lstatSync(childPath, { bigint: true, throwIfNoEntry: false })
      // A running container may remove what was just listed.
      if (found !== undefined) await this.visit(childPath, name.length === 0 ? child : Buffer.concat([name, separator, child]), found)
    }
  }

  #isOpaque(path: Buffer): boolean {
    return this.#options.files.xattrs(path).get('trusted.overlay.opaque')?.toString() === 'y'
  }

  async #file(path: Buffer, name: Buffer, found: BigIntStats): Promise<void> {
    const inode = found.nlink > 1n ? `${found.dev}:${found.ino}` : undefined
    const first = inode === undefined ? undefined : this.#links.get(inode)
    if (first !== undefined) return await this.#header({ ...this.#entry(path, name, found, 'hardlink'), linkPath: first, xattrs: new Map() })
    const descriptor = openForReading(path)
    if (descriptor === undefined) return
    try {
      const opened = fstatSync(descriptor, { bigint: true })
      if (!opened.isFile()) return
      const entry = this.#entry(path, name, opened, 'file')
      if (inode !== undefined) this.#links.set(inode, name)
      await this.#header(entry)
      await this.#content(descriptor, entry.sizeBytes)
      this.sizeBytes += entry.sizeBytes
    } finally {
      closeSync(descriptor)
    }
  }

  /** Exactly `size` bytes: a file that shrinks meanwhile is filled with zeros, one that grows is cut. */
  async #content(descriptor: number, size: number): Promise<void> {
    for (let left = size; left > 0; ) {
      const room = this.#blocks.room()
      if (room === undefined) {
        await this.#blocks.next()
        continue
      }
      const part = room.subarray(0, left)
      const length = readSync(descriptor, part, 0, part.length, null)
      if (length === 0) part.fill(0)
      this.#blocks.advance(length === 0 ? part.length : length)
      left -= length === 0 ? part.length : length
    }
    await this.#blocks.write(tarPadding(size))
  }

  #entry(path: Buffer, name: Buffer, found: BigIntStats, type: EntryType): TarEntry {
    const isDevice = type === 'charDevice' || type === 'blockDevice'
    return {
      type,
      path: name,
      linkPath: type === 'symlink' ? readlinkSync(path, { encoding: 'buffer' }) : Buffer.alloc(0),
      mode: Number(found.mode & 0o7777n),
      uid: inside(this.#options.ids?.uids, Number(found.uid)),
      gid: inside(this.#options.ids?.gids, Number(found.gid)),
      userName: '',
      groupName: '',
      sizeBytes: type === 'file' ? Number(found.size) : 0,
      modifiedNs: found.mtimeNs,
      ...(isDevice ? { device: deviceNumbers(found.rdev) } : {}),
      xattrs: this.#xattrs(path),
    }
  }

  #xattrs(path: Buffer): ReadonlyMap<string, Buffer> {
    const found = this.#options.files.xattrs(path)
    if (found.size === 0) return found
    // overlayfs's own marks and SELinux labels belong to this machine, not to the layer.
    return new Map([...found].filter(([name]) => !/^(trusted|user)\.overlay\./.test(name) && name !== 'security.selinux' && name !== 'system.posix_acl_access' && name !== 'system.posix_acl_default').map(([name, value]) => [name, name === 'security.capability' ? withoutRootId(value) : value]))
  }

  async #marker(name: Buffer): Promise<void> {
    await this.#header({ type: 'file', path: name, linkPath: Buffer.alloc(0), mode: 0, uid: 0, gid: 0, userName: '', groupName: '', sizeBytes: 0, modifiedNs: 0n, xattrs: new Map() })
  }

  async #header(entry: TarEntry): Promise<void> {
    this.entries += 1
    await this.#blocks.write(tarHeader(entry))
  }

  async end(): Promise<void> {
    await this.#blocks.write(tarEnd)
    await this.#blocks.end()
  }
}

/** Who has no name inside is nobody there. */
function inside(ranges: readonly IdRange[] | undefined, id: number): number {
  return ranges === undefined ? id : (containerIdOf(ranges, id) ?? overflowId)
}

function openForReading(path: Buffer): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    // Removed or replaced by a link since it was listed.
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ELOOP') return undefined
    throw error
  }
}

export function isWhiteoutNode(found: BigIntStats): boolean {
  return found.isCharacterDevice() && found.rdev === 0n
}

function whiteoutName(name: Buffer): Buffer {
  const cut = name.lastIndexOf(0x2f) + 1
  return Buffer.concat([name.subarray(0, cut), Buffer.from('.wh.'), name.subarray(cut)])
}

/** Sockets have no place in an archive. */
export function typeOf(found: BigIntStats): EntryType | undefined {
  if (found.isFile()) return 'file'
  if (found.isDirectory()) return 'directory'
  if (found.isSymbolicLink()) return 'symlink'
  if (found.isCharacterDevice()) return 'charDevice'
  if (found.isBlockDevice()) return 'blockDevice'
  return found.isFIFO() ? 'fifo' : undefined
}

/** The parts of a Linux device number (makedev(3)). */
function deviceNumbers(device: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  }
}
