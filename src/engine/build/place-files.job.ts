/**
 * Confined job: puts selected files into a root file system by the rules of COPY and ADD. The job's root is that file system,
 * so that links in the destination are followed as the container would follow them, and never out of it.
 * Reference: https://docs.docker.com/reference/dockerfile/#copy ("Destination").
 */
import { chmodSync, chownSync, closeSync, constants, fchmodSync, fchownSync, futimesSync, lchownSync, linkSync, lstatSync, mkdirSync, openSync, readFileSync, readSync, realpathSync, rmSync, statSync, symlinkSync, unlinkSync, writeSync } from 'node:fs'
import { unreachable } from '#base/assert.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { JobContext } from '#linux/contract/confined.ts'
import type { RawFiles } from '#linux/contract/raw-files.ts'
import { parseMode, type ModeChange } from './dockerfile/chmod.ts'
import { fromBytePath, parentOf, type Selected, type TreeEntry } from './tree.ts'

/** A file that holds one entry's content, by the entry's offset. */
export interface AloneFile {
  readonly offset: number
  /** Open for reading in this process. */
  readonly fd: number
  /** It may become the placed file itself: an empty one is put there, and this one gets its owner, mode and time. */
  readonly mayBeLinked: boolean
}

export interface PlacedFiles {
  /** Where empty files stand for what is to be linked: absolute byte paths without links, with the offsets of the content. */
  readonly toLink: readonly { readonly path: string; readonly offset: number }[]
}

export interface PlaceFilesArgs {
  /** The spool, open for reading in this process. */
  readonly fd: number
  readonly alone: readonly AloneFile[]
  readonly selection: readonly Selected[]
  /** Absolute path, text. */
  readonly destination: string
  /** The destination is a folder even where nothing stands yet: it ends with a slash, or there are several sources. */
  readonly isFolder: boolean
  /** `--chown`, as written: names or numbers. */
  readonly owner?: string
  /** Entries keep their owners (`COPY --from`, unpacked archives); else they belong to root. */
  readonly keepOwners: boolean
  /** `--chmod`, for files and folders alike: octal or symbolic, checked by the caller. */
  readonly mode?: string
  /** What is copied takes the place of what is of another kind; absent: that is refused. */
  readonly replaces?: boolean
  /** Folders made above the destination of a folder are root's; absent: they have the owner of what is copied. */
  readonly foldersAboveAreRoots?: boolean
}

const root = { uid: 0, gid: 0 } as const

interface Owner {
  readonly uid: number
  readonly gid: number
}

export async function job(args: PlaceFilesArgs, context: JobContext): Promise<PlacedFiles> {
  const placement = new Placement(args, context)
  placement.run()
  return { toLink: [...placement.toLink].map(([path, offset]) => ({ path, offset })) }
}

class Placement {
  readonly #args: PlaceFilesArgs
  readonly #signal: AbortSignal
  readonly #files: RawFiles
  /** Undefined: each entry's own. */
  readonly #owner: Owner | undefined
  readonly #changeMode: ModeChange
  /** Of folders made for what is copied. A mode in words says nothing of them, as in BuildKit. */
  readonly #folderMode: number
  readonly #links = new Map<number, string>()
  readonly #folderTimes: { readonly path: string; readonly modifiedNs: bigint }[] = []
  readonly #spool: SpoolReader
  readonly #alone: ReadonlyMap<number, AloneFile>
  readonly toLink = new Map<string, number>()
  /** Folders of our own making: nothing stands in them that we did not put there, and files in them belong to root at first. */
  readonly #fresh = new Set<string>()
  readonly #umask = process.umask()

  constructor(args: PlaceFilesArgs, context: JobContext) {
    this.#args = args
    this.#signal = context.signal
    this.#files = context.files
    this.#spool = new SpoolReader(args.fd)
    this.#alone = new Map(args.alone.map((file) => [file.offset, file]))
    this.#changeMode = (args.mode === undefined ? undefined : parseMode(args.mode)) ?? ((mode) => mode)
    this.#folderMode = args.mode !== undefined && /^[0-7]+$/.test(args.mode) ? Number.parseInt(args.mode, 8) & 0o777 : 0o755
    this.#owner = args.owner !== undefined ? lookUpOwner(args.owner) : args.keepOwners ? undefined : root
  }

  run(): void {
    const { selection, isFolder } = this.#args
    const destination = Buffer.from(this.#args.destination, 'utf8').toString('latin1')
    for (const { name, entries } of selection) {
      const first = entries[0]
      if (first === undefined) continue
      if (first.type === 'directory') this.#placeFolder(entries, destination)
      else {
        const inFolder = isFolder || statSync(bytes(destination), { throwIfNoEntry: false })?.isDirectory() === true
        const target = inFolder ? `${trimSlash(destination)}/${name}` : destination
        this.#makeFolders(parentPath(target))
        this.#placeEntry(first, target)
      }
    }
    for (const { path, modifiedNs } of this.#folderTimes.reverse()) this.#files.setTimes(bytes(path), modifiedNs, modifiedNs)
  }

  /** The contents of a folder go into the destination, which becomes a folder. */
  #placeFolder(entries: readonly TreeEntry[], destination: string): void {
    if (this.#args.foldersAboveAreRoots === true) this.#makeFolders(parentPath(destination), root)
    this.#makeFolders(destination)
    for (const entry of entries.slice(1)) {
      if (this.#signal.aborted) throw new Fault('canceled', 'the copy was canceled')
      this.#placeEntry(entry, `${trimSlash(destination)}/${entry.path}`)
    }
  }

  /** Missing folders are made with the owner of what is copied, unless another is given. */
  #makeFolders(path: string, owner = this.#owner ?? root): void {
    const stats = statSync(bytes(path), { throwIfNoEntry: false })
    if (stats?.isDirectory() === true) return
    if (stats !== undefined) throw new Fault('invalidArgument', `cannot copy to non-directory: ${fromBytePath(path)}`)
    this.#makeFolders(parentPath(path), owner)
    try {
      mkdirSync(bytes(path), this.#folderMode)
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') throw new Fault('invalidArgument', `cannot copy to ${fromBytePath(path)}: a link to nowhere stands there`)
      throw error
    }
    chmodSync(bytes(path), this.#folderMode)
    chownSync(bytes(path), owner.uid, owner.gid)
  }

  #placeEntry(entry: TreeEntry, path: string): void {
    const isNew = this.#fresh.has(path.slice(0, path.lastIndexOf('/')))
    const standing = isNew ? undefined : lstatSync(bytes(path), { throwIfNoEntry: false })
    if (entry.type === 'directory') {
      if (standing?.isDirectory() !== true) {
        if (standing !== undefined && this.#args.replaces !== true) throw new Fault('invalidArgument', `cannot copy to non-directory: ${fromBytePath(path)}`)
        if (standing !== undefined) unlinkSync(bytes(path))
        mkdirSync(bytes(path), 0o700)
        if ((entry.mode & 0o2000) === 0) this.#fresh.add(path)
      }
      this.#folderTimes.push({ path, modifiedNs: entry.modifiedNs })
      this.#attributes(entry, path)
      return
    }
    if (standing?.isDirectory() === true && this.#args.replaces !== true) throw new Fault('invalidArgument', `cannot replace to directory ${fromBytePath(path)} with file`)
    if (standing !== undefined) {
      if (this.toLink.size > 0) this.#forget(path)
      rmSync(bytes(path), { recursive: standing.isDirectory() })
    }
    this.#make(entry, path, isNew)
  }

  #make(entry: TreeEntry, path: string, isNew: boolean): void {
    switch (entry.type) {
      case 'file': {
        const linked = entry.linkGroup === 0 ? undefined : this.#links.get(entry.linkGroup)
        if (linked !== undefined) return linkSync(bytes(linked), bytes(path))
        if (entry.linkGroup !== 0) this.#links.set(entry.linkGroup, path)
        this.#writeFile(entry, path, isNew)
        break
      }
      case 'symlink':
        symlinkSync(Buffer.from(entry.target, 'latin1'), bytes(path))
        break
      case 'fifo':
      case 'charDevice':
      case 'blockDevice':
        this.#files.makeNode(bytes(path), { type: entry.type, mode: entry.mode, major: entry.major, minor: entry.minor })
        break
      case 'directory':
        throw new Fault('internal', `${fromBytePath(path)} is placed as a folder`)
      default:
        return unreachable(entry.type)
    }
    this.#attributes(entry, path)
    this.#files.setTimes(bytes(path), entry.modifiedNs, entry.modifiedNs)
  }

  /** What was to be linked at or below a path that gets something else. */
  #forget(path: string): void {
    const real = realPath(path)
    for (const each of [...this.toLink.keys()]) if (each === real || each.startsWith(`${real}/`)) this.toLink.delete(each)
  }

  #writeFile(entry: TreeEntry, path: string, isNew: boolean): void {
    const { uid, gid } = this.#owner ?? entry
    const mode = this.#changeMode(entry.mode, false)
    const alone = entry.isAlone === true ? this.#aloneFile(entry) : undefined
    if (alone?.mayBeLinked === true && this.#leaveEmpty(path)) {
      fchownSync(alone.fd, uid, gid)
      fchmodSync(alone.fd, mode)
      const seconds = Number(entry.modifiedNs / 1_000_000_000n)
      futimesSync(alone.fd, seconds, seconds)
      this.toLink.set(realPath(path), entry.offset)
      return
    }
    const [spool, begin] = alone === undefined ? [this.#spool, entry.offset] : [new SpoolReader(alone.fd), 0]
    // Most files are root's and have an ordinary mode: they are born right, which saves two calls for each.
    const bornRight = isNew && uid === 0 && gid === 0 && mode <= 0o777 && (mode & this.#umask) === 0
    const file = openSync(bytes(path), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, bornRight ? mode : 0o600)
    try {
      for (let done = 0; done < entry.sizeBytes; ) {
        const part = spool.read(begin + done, entry.sizeBytes - done)
        if (part.length === 0) throw new Fault('dataLoss', `the spool ends before ${fromBytePath(path)} does`)
        for (let written = 0; written < part.length; ) written += writeSync(file, part, written, part.length - written)
        done += part.length
      }
      if (bornRight) return
      // Owner first: changing it clears set-user-id bits.
      fchownSync(file, uid, gid)
      fchmodSync(file, mode)
    } finally {
      closeSync(file)
    }
  }

  #aloneFile({ offset, path }: TreeEntry): AloneFile {
    const file = this.#alone.get(offset)
    if (file === undefined) throw new Fault('internal', `the content of ${fromBytePath(path)} was not lent`)
    return file
  }

  /** False, with nothing left there, where a new file gets more than the content has: lists of access rights that its folder hands down. */
  #leaveEmpty(path: string): boolean {
    closeSync(openSync(bytes(path), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600))
    if (this.#files.xattrs(bytes(path)).size === 0) return true
    unlinkSync(bytes(path))
    return false
  }

  #attributes(entry: TreeEntry, path: string): void {
    if (entry.type !== 'file') {
      const { uid, gid } = this.#owner ?? entry
      lchownSync(bytes(path), uid, gid)
      if (entry.type !== 'symlink') chmodSync(bytes(path), this.#changeMode(entry.mode, entry.type === 'directory'))
    }
    for (const [name, value] of entry.xattrs) this.#setXattr(path, name, value)
  }

  /** A file system that knows no such attribute is no reason to fail a build. */
  #setXattr(path: string, name: string, value: Uint8Array): void {
    try {
      this.#files.setXattr(bytes(path), name, value)
    } catch (error) {
      const code = systemErrorCode(error)
      if (code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'EPERM') throw error
    }
  }
}

/** Reads a stretch of the spool at a time: small files stand there one after another. */
class SpoolReader {
  readonly #fd: number
  readonly #stretch = Buffer.allocUnsafeSlow(1 << 20)
  #begin = 0
  #end = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  /** At most `length` bytes from `offset` on; none where the spool ends. Good until the next call. */
  read(offset: number, length: number): Buffer {
    if (offset < this.#begin || offset >= this.#end) {
      this.#begin = offset
      this.#end = offset + readSync(this.#fd, this.#stretch, 0, this.#stretch.length, offset)
    }
    return this.#stretch.subarray(offset - this.#begin, Math.min(this.#end - this.#begin, offset - this.#begin + length))
  }
}

function bytes(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}

/** Where a path's last part really stands: links above it are followed. */
function realPath(path: string): string {
  const folder = realpathSync(bytes(parentPath(path)), { encoding: 'buffer' }).toString('latin1')
  return `${trimSlash(folder)}${path.slice(path.lastIndexOf('/'))}`
}

function trimSlash(path: string): string {
  return path.replace(/\/+$/, '')
}

function parentPath(path: string): string {
  return `/${parentOf(trimSlash(path).replace(/^\/+/, ''))}`
}

/** `user`, `user:group`, numbers or names of this root's own /etc/passwd and /etc/group (passwd(5), group(5)). */
function lookUpOwner(text: string): Owner {
  const [user = '', group] = text.split(':')
  const passwd = findLine('/etc/passwd', user)
  const uid = numeric(user) ?? (passwd === undefined ? undefined : numeric(passwd[2] ?? ''))
  if (uid === undefined) throw new Fault('invalidArgument', `unable to convert uid/gid chown string to host mapping: can't find uid for user ${user}: no such user: ${user}`)
  if (group === undefined || group === '') {
    // A number alone names the group as well; a name brings the group of its line.
    return { uid, gid: numeric(user) === undefined ? (numeric(passwd?.[3] ?? '') ?? 0) : uid }
  }
  const gid = numeric(group) ?? numeric(findLine('/etc/group', group)?.[2] ?? '')
  if (gid === undefined) throw new Fault('invalidArgument', `unable to convert uid/gid chown string to host mapping: can't find gid for group ${group}: no such group: ${group}`)
  return { uid, gid }
}

function numeric(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= 0xfffffffe ? Number(text) : undefined
}

function findLine(path: string, name: string): string[] | undefined {
  try {
    return readFileSync(path, 'utf8').split('\n').map((line) => line.split(':')).find(([first]) => first === name)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

