/**
 * Unpacks a tar below a folder. Runs inside a confined job (the folder is the job's root, so that no link leads out) and
 * therefore uses synchronous file calls only. Two uses:
 *
 * - `layer`: one layer into its own folder, to be stacked by overlayfs. `.wh.name` becomes a 0:0 character device and
 *   `.wh..wh..opq` an opaque folder (image-spec `layer.md#whiteouts`, kernel `overlayfs.rst`).
 * - `tree`: an archive into an existing tree (`docker cp`, `ADD`, `docker import`): whiteout names mean nothing.
 */
import { chmodSync, chownSync, closeSync, constants, fchmodSync, fchownSync, ftruncateSync, futimesSync, lchownSync, linkSync, lstatSync, mkdirSync, openSync, rmSync, statSync, symlinkSync, unlinkSync, writeSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { unreachable } from '#base/assert.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { RawFiles } from '#linux/contract/raw-files.ts'
import { archiveFault, defaultTarLimits } from './entry.ts'
import type { TarEntry, TarLimits } from './entry.ts'
import { readTar } from './reader.ts'
import type { TarItem } from './reader.ts'
import { checkSymlink, joinComponents, safeComponents } from './safe-path.ts'

export interface ApplyOptions {
  readonly kind: 'layer' | 'tree'
  /** Absolute folder that stands for the archive's root; `/` inside a confined job. It exists. */
  readonly base: string
  readonly files: RawFiles
  readonly limits?: TarLimits
  /** Gives every entry this owner (`ADD --chown`). */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** Refuse to replace a folder by something else, or the other way round (`docker cp`). */
  readonly keepKinds?: boolean
}

export interface Applied {
  readonly entries: number
  /** Sum of what lstat(2) calls the sizes of files and links, as Docker counts. */
  readonly sizeBytes: number
}

const whiteoutPrefix = Buffer.from('.wh.')
const opaqueMarker = '.wh..wh..opq'
const opaqueXattr = 'trusted.overlay.opaque'
const nsPerSecond = 1_000_000_000n
const exclusive = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

export async function applyTar(source: AsyncIterable<Uint8Array>, options: ApplyOptions): Promise<Applied> {
  const tree = new Tree(options)
  let entries = 0
  let sizeBytes = 0
  for await (const item of readTar(source, options.limits ?? defaultTarLimits)) {
    try {
      await tree.place(item)
    } catch (error) {
      throw asArchiveFault(error, item.entry.path)
    }
    entries += 1
    sizeBytes += item.entry.sizeBytes + (item.entry.type === 'symlink' ? item.entry.linkPath.length : 0)
  }
  tree.finish()
  return { entries, sizeBytes }
}

function asArchiveFault(error: unknown, path: Buffer): unknown {
  const code = systemErrorCode(error)
  if (error instanceof Fault || code === undefined) return error
  if (code === 'ENOSPC' || code === 'EDQUOT') return new Fault('resourceExhausted', 'no space left on device while unpacking: free some room below the state folder, or prune images', { cause: error })
  if (code === 'EIO' || code === 'EROFS' || code === 'EMFILE') return error
  const why = error instanceof Error ? error.message : String(error)
  const fault = archiveFault(`cannot be unpacked: ${why}`, path)
  return new Fault(fault.code, fault.message, { cause: error })
}

class Tree {
  readonly #options: ApplyOptions
  readonly #base: Buffer
  /** Folders known to exist, by latin1 text of their path. */
  readonly #known = new Set<string>()
  /** Folder times are set at the end, since every child changes them. */
  readonly #folderTimes = new Map<string, { readonly path: Buffer; readonly entry: TarEntry }>()
  /** Names whose lower version a whiteout of this layer hides. */
  readonly #hidden = new Set<string>()
  readonly #umask = process.umask()
  /** Below a set-gid folder new files do not get our own group. */
  #inheritsGroups: boolean

  constructor(options: ApplyOptions) {
    this.#options = options
    this.#base = Buffer.from(options.base.endsWith('/') ? options.base : `${options.base}/`)
    this.#inheritsGroups = options.kind === 'tree' || (statSync(options.base).mode & 0o2000) !== 0
  }

  async place(item: TarItem): Promise<void> {
    const { entry } = item
    const components = safeComponents(entry.path)
    const name = components.at(-1)
    if (name === undefined) {
      if (entry.type !== 'directory') throw archiveFault('the root of the archive can only be a folder', entry.path)
      return this.#folderMetadata(this.#base, entry)
    }
    this.#ensureParents(components, entry)
    if (this.#options.kind === 'layer' && name.subarray(0, 4).equals(whiteoutPrefix)) return this.#whiteout(components, name)
    await this.#create(item, components)
  }

  finish(): void {
    for (const { path, entry } of [...this.#folderTimes.values()].reverse()) {
      try {
        this.#options.files.setTimes(path, entry.accessedNs ?? entry.modifiedNs, entry.modifiedNs)
      } catch (error) {
        // A later entry replaced the folder.
        if (systemErrorCode(error) !== 'ENOENT') throw error
      }
    }
  }

  #pathOf(components: readonly Buffer[]): Buffer {
    return Buffer.concat([this.#base, joinComponents(components)])
  }

  #ensureParents(components: readonly Buffer[], entry: TarEntry): void {
    if (components.length < 2 || this.#known.has(joinComponents(components.slice(0, -1)).toString('latin1'))) return
    for (let depth = 1; depth < components.length; depth += 1) {
      const parent = components.slice(0, depth)
      const key = joinComponents(parent).toString('latin1')
      if (this.#known.has(key)) continue
      const path = this.#pathOf(parent)
      const found = lstat(path)
      if (found === undefined || isWhiteout(found)) {
        if (found !== undefined) unlinkSync(path)
        mkdirSync(path, 0o755)
        chmodSync(path, 0o755)
        if (found !== undefined) this.#makeOpaque(path)
      } else if (!found.isDirectory() && !isFolderBehindLink(path)) throw archiveFault(`'${key}' is in its way and no folder`, entry.path)
      this.#known.add(key)
    }
  }

  #whiteout(components: readonly Buffer[], name: Buffer): void {
    const parent = components.slice(0, -1)
    const text = name.toString('latin1')
    if (text === opaqueMarker) return this.#makeOpaque(parent.length === 0 ? this.#base : this.#pathOf(parent))
    // Other `.wh..wh.` names are bookkeeping of AUFS.
    if (text.startsWith('.wh..wh.')) return
    const hidden = name.subarray(whiteoutPrefix.length)
    if (hidden.length === 0 || hidden.equals(Buffer.from('.')) || hidden.equals(Buffer.from('..'))) throw archiveFault('a whiteout names no file', joinComponents(components))
    const target = [...parent, hidden]
    const path = this.#pathOf(target)
    this.#hidden.add(joinComponents(target).toString('latin1'))
    const found = lstat(path)
    if (found === undefined) this.#options.files.makeNode(path, { type: 'charDevice', mode: 0, major: 0, minor: 0 })
    // What this layer itself brings stays; a folder must not let the lower one shine through.
    else if (found.isDirectory()) this.#makeOpaque(path)
  }

  #makeOpaque(path: Buffer): void {
    this.#options.files.setXattr(path, opaqueXattr, Buffer.from('y'))
  }

  async #create(item: TarItem, components: readonly Buffer[]): Promise<void> {
    const { entry } = item
    const path = this.#pathOf(components)
    const key = joinComponents(components).toString('latin1')
    switch (entry.type) {
      case 'directory':
        return this.#folder(path, key, entry)
      case 'file':
        return await this.#file(item, path)
      case 'hardlink': {
        const target = safeComponents(entry.linkPath, 'link target')
        if (target.length === 0) throw archiveFault('a hard link to the root', entry.path)
        if (joinComponents(target).equals(joinComponents(components))) return
        this.#clear(path, entry)
        return linkSync(this.#pathOf(target), path)
      }
      case 'symlink':
        checkSymlink(components, entry.linkPath, entry.path)
        this.#clear(path, entry)
        symlinkSync(entry.linkPath, path)
        return this.#metadata(path, entry)
      case 'charDevice':
      case 'blockDevice':
      case 'fifo':
        if (this.#options.kind === 'layer' && entry.type === 'charDevice' && entry.device?.major === 0 && entry.device.minor === 0) {
          throw archiveFault('a 0:0 character device would hide files of the layers below: expected a .wh. entry for that', entry.path)
        }
        this.#clear(path, entry)
        this.#options.files.makeNode(path, { type: entry.type, mode: entry.mode & 0o7777, ...entry.device })
        return this.#metadata(path, entry)
      default:
        return unreachable(entry.type)
    }
  }

  #folder(path: Buffer, key: string, entry: TarEntry): void {
    try {
      mkdirSync(path, 0o755)
      if (this.#hidden.has(key)) this.#makeOpaque(path)
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
      const found = lstat(path)
      const keepsLink = this.#options.kind === 'tree' && found?.isSymbolicLink() === true && isFolderBehindLink(path)
      if (keepsLink) return
      if (found?.isDirectory() !== true) {
        const wasWhiteout = found !== undefined && isWhiteout(found)
        this.#clear(path, entry)
        mkdirSync(path, 0o755)
        if (wasWhiteout && this.#options.kind === 'layer') this.#makeOpaque(path)
      }
    }
    this.#known.add(key)
    this.#folderMetadata(path, entry)
  }

  #folderMetadata(path: Buffer, entry: TarEntry): void {
    const { uid, gid } = this.#options.owner ?? entry
    if ((entry.mode & 0o2000) !== 0) this.#inheritsGroups = true
    chownSync(path, uid, gid)
    chmodSync(path, entry.mode)
    this.#xattrs(path, entry)
    this.#folderTimes.set(path.toString('latin1'), { path, entry })
  }

  async #file(item: TarItem, path: Buffer): Promise<void> {
    const { entry } = item
    const descriptor = this.#openNew(path, entry)
    try {
      await writeContent(descriptor, item)
      const { uid, gid } = this.#options.owner ?? entry
      if (uid !== 0 || gid !== 0 || this.#inheritsGroups) fchownSync(descriptor, uid, gid)
      if (!this.#isExact(entry.mode)) fchmodSync(descriptor, entry.mode)
      if (entry.xattrs.size > 0) this.#xattrs(path, entry)
      this.#fileTimes(descriptor, path, entry)
    } finally {
      closeSync(descriptor)
    }
  }

  /** Through the open file where Node's numbers (seconds as a double) are exact: whole seconds since 1970, as most archives have. (Before 1970 Node sets the present.) */
  #fileTimes(descriptor: number, path: Buffer, { accessedNs, modifiedNs }: TarEntry): void {
    if (accessedNs !== undefined || modifiedNs < 0n || modifiedNs % nsPerSecond !== 0n) return this.#options.files.setTimes(path, accessedNs ?? modifiedNs, modifiedNs)
    const seconds = Number(modifiedNs / nsPerSecond)
    futimesSync(descriptor, seconds, seconds)
  }

  #openNew(path: Buffer, entry: TarEntry): number {
    const mode = this.#isExact(entry.mode) ? entry.mode : 0o600
    try {
      return openSync(path, exclusive, mode)
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
      this.#clear(path, entry)
      return openSync(path, exclusive, mode)
    }
  }

  /** The mode a new file gets when it is opened with it: no chmod is needed. Twenty thousand files make that worth while. */
  #isExact(mode: number): boolean {
    return mode <= 0o777 && (mode & this.#umask) === 0
  }

  /** Makes room for an entry that is no folder. */
  #clear(path: Buffer, entry: TarEntry): void {
    const found = lstat(path)
    if (found === undefined) return
    if (this.#options.keepKinds === true && found.isDirectory() !== (entry.type === 'directory')) {
      throw new Fault('invalidArgument', `cannot overwrite ${found.isDirectory() ? 'directory' : 'non-directory'} '${entry.path.toString('utf8')}' with ${entry.type === 'directory' ? 'directory' : 'non-directory'}`)
    }
    if (found.isDirectory()) {
      this.#known.clear()
      rmSync(path, { recursive: true })
    } else unlinkSync(path)
  }

  #metadata(path: Buffer, entry: TarEntry): void {
    const { uid, gid } = this.#options.owner ?? entry
    lchownSync(path, uid, gid)
    if (entry.type !== 'symlink') chmodSync(path, entry.mode)
    this.#xattrs(path, entry)
    this.#options.files.setTimes(path, entry.accessedNs ?? entry.modifiedNs, entry.modifiedNs)
  }

  #xattrs(path: Buffer, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      // Marks of overlayfs itself are ours to make, never the archive's.
      if (/^(trusted|user)\.overlay\./.test(name)) continue
      try {
        this.#options.files.setXattr(path, name, value)
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOTSUP' && systemErrorCode(error) !== 'EOPNOTSUPP') throw error
      }
    }
  }
}

async function writeContent(descriptor: number, item: TarItem): Promise<void> {
  if (item.segments !== undefined) return await writeSegments(descriptor, item)
  for (;;) {
    const step = item.read()
    const chunk = step instanceof Promise ? await step : step
    if (chunk === undefined) return
    writeAll(descriptor, chunk, null)
  }
}

async function writeSegments(descriptor: number, item: TarItem): Promise<void> {
  for (const segment of item.segments ?? []) {
    for (let done = 0; done < segment.length; ) {
      const chunk = await item.read(segment.length - done)
      if (chunk === undefined) throw archiveFault('its sparse content ends too early', item.entry.path)
      writeAll(descriptor, chunk, segment.offset + done)
      done += chunk.length
    }
  }
  ftruncateSync(descriptor, item.entry.sizeBytes)
}

function writeAll(descriptor: number, bytes: Buffer, position: number | null): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done, bytes.length - done, position === null ? null : position + done)
}

function lstat(path: Buffer): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false })
}

function isWhiteout(found: Stats): boolean {
  return found.isCharacterDevice() && found.rdev === 0
}

function isFolderBehindLink(path: Buffer): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
