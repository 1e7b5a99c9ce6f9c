/** Unpacks into an EROFS image (`../erofs/`): one file per layer, mounted instead of unpacked. The tree of names is in memory. */
import { deviceNumber } from '../erofs/format.ts'
import type { Attributes, ErofsWriter, Folder, Leaf } from '../erofs/image-writer.ts'
import type { TarEntry } from './entry.ts'
import type { TarItem } from './reader.ts'
import { isOverlayMark, opaqueXattr } from './target.ts'
import type { LayerTarget, Standing } from './target.ts'

type Node = Leaf | Folder

/** Where links lead is known for links only; everything else on the disk already. */
interface Place {
  readonly folder: Folder
  readonly name: string
}

/** As the kernel bounds it. */
const maxLinks = 40
const noXattrs: ReadonlyMap<string, Uint8Array> = new Map()

export class ErofsTarget implements LayerTarget {
  readonly #writer: ErofsWriter
  readonly #root: Folder = emptyFolder()
  readonly #linkTargets = new Map<Leaf, string>()
  readonly #whiteouts = new Set<Leaf>()
  /** Folders by the path they were reached by; emptied when one goes. */
  readonly #reached = new Map<string, Folder>()

  constructor(writer: ErofsWriter) {
    this.#writer = writer
  }

  look(path: Buffer): Standing | undefined {
    const node = this.#find(path)
    if (node === undefined) return undefined
    if (node.type === 'directory') return 'folder'
    if (node.type === 'symlink') return 'symlink'
    return this.#whiteouts.has(node) ? 'whiteout' : 'other'
  }

  isFolder(path: Buffer): boolean {
    return this.#folderAt(path.toString('latin1')) !== undefined
  }

  makeFolder(path: Buffer): void {
    this.#put(path, emptyFolder())
  }

  describeFolder(path: Buffer, entry: TarEntry): void {
    const folder = this.#mustFind(path)
    if (folder.type !== 'directory') throw failure('ENOTDIR')
    folder.attributes = withMark(attributesOf(entry), folder.attributes)
  }

  async file(path: Buffer, item: TarItem, entry: TarEntry): Promise<void> {
    const place = this.#freePlace(path)
    place.folder.children.set(place.name, await this.#writer.file(attributesOf(entry), item))
  }

  hardlink(path: Buffer, target: Buffer): void {
    const node = this.#mustFind(target)
    if (node.type === 'directory') throw failure('EPERM')
    this.#put(path, node)
    this.#writer.link(node)
  }

  special(path: Buffer, entry: TarEntry): void {
    const place = this.#freePlace(path)
    const attributes = attributesOf(entry)
    if (entry.type === 'charDevice' || entry.type === 'blockDevice' || entry.type === 'fifo') {
      place.folder.children.set(place.name, this.#writer.device(entry.type, attributes, entry.device === undefined ? 0 : deviceNumber(entry.device)))
      return
    }
    const link = this.#writer.leaf('symlink', { ...attributes, mode: 0o777 }, entry.linkPath)
    this.#linkTargets.set(link, entry.linkPath.toString('latin1'))
    place.folder.children.set(place.name, link)
  }

  whiteout(path: Buffer): void {
    const place = this.#freePlace(path)
    const mark = this.#writer.device('charDevice', { mode: 0, uid: 0, gid: 0, modifiedNs: 0n, xattrs: noXattrs }, 0)
    this.#whiteouts.add(mark)
    place.folder.children.set(place.name, mark)
  }

  makeOpaque(path: Buffer): void {
    const folder = this.#mustFind(path)
    if (folder.type !== 'directory') throw failure('ENOTDIR')
    folder.attributes = { ...folder.attributes, xattrs: new Map([...folder.attributes.xattrs, [opaqueXattr, Buffer.from('y')]]) }
  }

  remove(path: Buffer): void {
    const { folder, name } = this.#place(path)
    const node = folder.children.get(name)
    if (node === undefined) throw failure('ENOENT')
    folder.children.delete(name)
    if (node.type === 'directory' || node.type === 'symlink') this.#reached.clear()
    this.#forget(node)
  }

  #forget(node: Node): void {
    if (node.type === 'directory') for (const child of node.children.values()) this.#forget(child)
    else this.#writer.unlink(node)
  }

  finish(): void {
    this.#writer.finish(this.#root)
  }

  // ---- the tree ----

  #find(path: Buffer): Node | undefined {
    if (path.length === 0) return this.#root
    const { folder, name } = this.#place(path)
    return folder.children.get(name)
  }

  #mustFind(path: Buffer): Node {
    const node = this.#find(path)
    if (node === undefined) throw failure('ENOENT')
    return node
  }

  #put(path: Buffer, node: Node): void {
    const place = this.#freePlace(path)
    place.folder.children.set(place.name, node)
  }

  #freePlace(path: Buffer): Place {
    const place = this.#place(path)
    if (place.folder.children.has(place.name)) throw failure('EEXIST')
    return place
  }

  #place(path: Buffer): Place {
    const text = path.toString('latin1')
    const slash = text.lastIndexOf('/')
    const folder = slash < 0 ? this.#root : this.#folderAt(text.slice(0, slash))
    if (folder === undefined) throw failure('ENOENT')
    return { folder, name: text.slice(slash + 1) }
  }

  #folderAt(path: string): Folder | undefined {
    const known = this.#reached.get(path)
    if (known !== undefined) return known
    const folder = this.#walk(path)
    if (folder !== undefined) this.#reached.set(path, folder)
    return folder
  }

  /** Goes along a path as the kernel does inside a root: links are followed, `..` of the root is the root. */
  #walk(path: string): Folder | undefined {
    const stack: Folder[] = [this.#root]
    const waiting = path.split('/').reverse()
    let links = 0
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (name === '' || name === '.') continue
      if (name === '..') {
        if (stack.length > 1) stack.pop()
        continue
      }
      const node: Node | undefined = stack.at(-1)?.children.get(name)
      if (node?.type === 'directory') stack.push(node)
      else if (node?.type === 'symlink') {
        links += 1
        if (links > maxLinks) return undefined
        const target = this.#linkTargets.get(node) ?? ''
        if (target.startsWith('/')) stack.length = 1
        waiting.push(...target.split('/').reverse())
      } else return undefined
    }
    return stack.at(-1)
  }
}

export function emptyFolder(): Folder {
  return { type: 'directory', attributes: { mode: 0o755, uid: 0, gid: 0, modifiedNs: 0n, xattrs: noXattrs }, children: new Map() }
}

function attributesOf({ mode, uid, gid, modifiedNs, xattrs }: TarEntry): Attributes {
  if (xattrs.size === 0) return { mode, uid, gid, modifiedNs, xattrs: noXattrs }
  return { mode, uid, gid, modifiedNs, xattrs: new Map([...xattrs].filter(([name]) => !isOverlayMark(name))) }
}

/** A folder that is described after it was made opaque stays so. */
function withMark(attributes: Attributes, before: Attributes): Attributes {
  const mark = before.xattrs.get(opaqueXattr)
  return mark === undefined ? attributes : { ...attributes, xattrs: new Map([...attributes.xattrs, [opaqueXattr, mark]]) }
}

const words = { EEXIST: 'file already exists', ENOENT: 'no such file or directory', ENOTDIR: 'not a directory', EPERM: 'operation not permitted' } as const

function failure(code: keyof typeof words): Error {
  return Object.assign(new Error(`${code}: ${words[code]}`), { code })
}
