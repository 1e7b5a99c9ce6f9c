/** Unpacks into a folder of a file system; synchronous file calls, for confined jobs. */
import { chmodSync, chownSync, closeSync, constants, fchmodSync, fchownSync, ftruncateSync, futimesSync, lchownSync, linkSync, lstatSync, mkdirSync, openSync, rmSync, statSync, symlinkSync, unlinkSync, writeSync } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import type { RawFiles } from '#linux/contract/raw-files.ts'
import { archiveFault } from './entry.ts'
import type { TarEntry } from './entry.ts'
import type { TarItem } from './reader.ts'
import { isOverlayMark, opaqueXattr } from './target.ts'
import type { LayerTarget, Standing } from './target.ts'

const nsPerSecond = 1_000_000_000n
const exclusive = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

export interface FolderTargetOptions {
  /** Absolute folder that stands for the archive's root; `/` inside a confined job. It exists. */
  readonly base: string
  readonly files: RawFiles
  /** The folder may hold something already, set-gid folders among it. */
  readonly isUsed: boolean
  /** Whose folders are that nobody described. Default: root's. */
  readonly root?: { readonly uid: number; readonly gid: number }
}

export class FolderTarget implements LayerTarget {
  readonly #files: RawFiles
  readonly #isUsed: boolean
  readonly #root: FolderTargetOptions['root']
  readonly #base: Buffer
  /** Folder times are set at the end, since every child changes them. */
  readonly #folderTimes = new Map<string, { readonly path: Buffer; readonly entry: TarEntry }>()
  readonly #umask = process.umask()
  /** Below a set-gid folder new files do not get our own group. */
  #inheritsGroups: boolean

  constructor({ base, files, isUsed, root }: FolderTargetOptions) {
    this.#files = files
    this.#isUsed = isUsed
    this.#root = root
    this.#base = Buffer.from(base.endsWith('/') ? base : `${base}/`)
    this.#inheritsGroups = isUsed || (statSync(base).mode & 0o2000) !== 0
  }

  #at(path: Buffer): Buffer {
    return path.length === 0 ? this.#base : Buffer.concat([this.#base, path])
  }

  look(path: Buffer): Standing | undefined {
    const found = lstatSync(this.#at(path), { throwIfNoEntry: false })
    if (found === undefined) return undefined
    if (found.isDirectory()) return 'folder'
    if (found.isSymbolicLink()) return 'symlink'
    return found.isCharacterDevice() && found.rdev === 0 ? 'whiteout' : 'other'
  }

  isFolder(path: Buffer): boolean {
    return statSync(this.#at(path), { throwIfNoEntry: false })?.isDirectory() === true
  }

  makeFolder(path: Buffer): void {
    const at = this.#at(path)
    mkdirSync(at, 0o755)
    if (this.#root !== undefined) chownSync(at, this.#root.uid, this.#root.gid)
    // In a tree that was there before, a set-gid folder hands its group down as everywhere.
    if (this.#inheritsGroups && !this.#isUsed) chownSync(at, 0, 0)
    if ((0o755 & this.#umask) !== 0 || (this.#inheritsGroups && !this.#isUsed)) chmodSync(at, 0o755)
  }

  describeFolder(path: Buffer, entry: TarEntry): void {
    const at = this.#at(path)
    if ((entry.mode & 0o2000) !== 0) this.#inheritsGroups = true
    chownSync(at, entry.uid, entry.gid)
    chmodSync(at, entry.mode)
    this.#xattrs(at, entry)
    this.#folderTimes.set(at.toString('latin1'), { path: at, entry })
  }

  async file(path: Buffer, item: TarItem, entry: TarEntry): Promise<void> {
    const at = this.#at(path)
    const descriptor = openSync(at, exclusive, this.#isExact(entry.mode) ? entry.mode : 0o600)
    try {
      await writeContent(descriptor, item)
      if (entry.uid !== 0 || entry.gid !== 0 || this.#inheritsGroups) fchownSync(descriptor, entry.uid, entry.gid)
      if (!this.#isExact(entry.mode)) fchmodSync(descriptor, entry.mode)
      if (entry.xattrs.size > 0) this.#xattrs(at, entry)
      this.#fileTimes(descriptor, at, entry)
    } finally {
      closeSync(descriptor)
    }
  }

  /** Through the open file where Node's numbers (seconds as a double) are exact: whole seconds since 1970, as most archives have. (Before 1970 Node sets the present.) */
  #fileTimes(descriptor: number, at: Buffer, { accessedNs, modifiedNs }: TarEntry): void {
    if (accessedNs !== undefined || modifiedNs < 0n || modifiedNs % nsPerSecond !== 0n) return this.#files.setTimes(at, accessedNs ?? modifiedNs, modifiedNs)
    const seconds = Number(modifiedNs / nsPerSecond)
    futimesSync(descriptor, seconds, seconds)
  }

  /** The mode a new file gets when it is opened with it: no chmod is needed. Twenty thousand files make that worth while. */
  #isExact(mode: number): boolean {
    return mode <= 0o777 && (mode & this.#umask) === 0
  }

  hardlink(path: Buffer, target: Buffer): void {
    linkSync(this.#at(target), this.#at(path))
  }

  special(path: Buffer, entry: TarEntry): void {
    const at = this.#at(path)
    if (entry.type === 'symlink') symlinkSync(entry.linkPath, at)
    else if (entry.type === 'charDevice' || entry.type === 'blockDevice' || entry.type === 'fifo') this.#files.makeNode(at, { type: entry.type, mode: entry.mode & 0o7777, ...entry.device })
    lchownSync(at, entry.uid, entry.gid)
    if (entry.type !== 'symlink') chmodSync(at, entry.mode)
    this.#xattrs(at, entry)
    this.#files.setTimes(at, entry.accessedNs ?? entry.modifiedNs, entry.modifiedNs)
  }

  whiteout(path: Buffer): void {
    this.#files.makeNode(this.#at(path), { type: 'charDevice', mode: 0, major: 0, minor: 0 })
  }

  makeOpaque(path: Buffer): void {
    this.#files.setXattr(this.#at(path), opaqueXattr, Buffer.from('y'))
  }

  remove(path: Buffer): void {
    const at = this.#at(path)
    if (!lstatSync(at).isDirectory()) return unlinkSync(at)
    rmSync(at, { recursive: true })
    // What comes in its place has a time of its own.
    const [gone, below] = [at.toString('latin1'), `${at.toString('latin1')}/`]
    for (const key of this.#folderTimes.keys()) if (key === gone || key.startsWith(below)) this.#folderTimes.delete(key)
  }

  #xattrs(at: Buffer, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      if (isOverlayMark(name)) continue
      try {
        this.#files.setXattr(at, name, value)
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOTSUP' && systemErrorCode(error) !== 'EOPNOTSUPP') throw error
      }
    }
  }

  finish(): void {
    for (const { path, entry } of [...this.#folderTimes.values()].reverse()) {
      try {
        this.#files.setTimes(path, entry.accessedNs ?? entry.modifiedNs, entry.modifiedNs)
      } catch (error) {
        // Reached through a link that is gone.
        if (systemErrorCode(error) !== 'ENOENT') throw error
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
