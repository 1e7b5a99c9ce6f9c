/**
 * Confined job: selects files of another stage or image, whose root is the job's root, and spools their contents. Links are
 * followed by the kernel, which cannot leave the root.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync, realpathSync, statSync, writeSync, type BigIntStats } from 'node:fs'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { JobContext } from '#linux/contract/confined.ts'
import { keeperOf, restricted, splitAtPivot, type SelectionFlags } from './selection.ts'
import { fromBytePath, hashText, matchingPaths, nameOf, toBytePath, type PatternLister, type Selected, type TreeEntry } from './tree.ts'

export interface SpoolTreeArgs {
  readonly fd: number
  readonly offset: number
  readonly sources: readonly string[]
  readonly flags: SelectionFlags
}

export interface SpooledSelection {
  /** By source argument, in their order; empty for one that matches nothing. */
  readonly selections: readonly (readonly Selected[])[]
  readonly end: number
}

function bytes(path: string): Buffer {
  return Buffer.from(`/${path}`, 'latin1')
}

const onDisk: PatternLister = {
  isThere: (path) => statSync(bytes(path), { throwIfNoEntry: false }) !== undefined,
  names(path) {
    try {
      return readdirSync(bytes(path), { encoding: 'latin1' }).sort()
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOTDIR' || code === 'ENOENT' || code === 'ELOOP') return []
      throw error
    }
  },
}

export async function job(args: SpoolTreeArgs, context: JobContext): Promise<SpooledSelection> {
  const spooler = new Spooler(args, context)
  const { flags } = args
  const selections = args.sources.map((source) => {
    const { pivot, pattern } = flags.parents ? splitAtPivot(toBytePath(source)) : { pivot: toBytePath(source), pattern: undefined }
    const keeps = keeperOf(flags, pattern)
    const found = matchingPaths(fromBytePath(pivot), onDisk).map((path): Selected => {
      const real = realpathSync(bytes(path), { encoding: 'latin1' }).replace(/^\//, '')
      return { name: nameOf(path), entries: spooler.walk(real, keeps) }
    })
    return restricted(found, flags, pattern)
  })
  return { selections, end: spooler.end }
}

class Spooler {
  end: number
  readonly #fd: number
  readonly #context: JobContext
  readonly #groups = new Map<string, { readonly entry: TreeEntry; readonly group: number }>()
  readonly #buffer = Buffer.allocUnsafe(1 << 20)

  constructor(args: SpoolTreeArgs, context: JobContext) {
    this.#fd = args.fd
    this.end = args.offset
    this.#context = context
  }

  /** Of files that are not taken only the entry is read. */
  walk(root: string, keeps: (path: string) => boolean): TreeEntry[] {
    const entries: TreeEntry[] = []
    const visit = (relative: string): void => {
      if (this.#context.signal.aborted) throw new Fault('canceled', 'the copy was canceled')
      const full = [root, relative].filter((part) => part !== '').join('/')
      const entry = this.#entry(full, relative, relative === '' || keeps(relative))
      if (entry === undefined) return
      entries.push(entry)
      if (entry.type === 'directory') for (const name of onDisk.names(full)) visit(relative === '' ? name : `${relative}/${name}`)
    }
    visit('')
    return entries
  }

  /** Undefined for a socket, which no layer can hold. */
  #entry(full: string, path: string, isTaken: boolean): TreeEntry | undefined {
    const stats = lstatSync(bytes(full), { bigint: true })
    const type = typeOf(stats)
    if (type === undefined) return undefined
    const base: TreeEntry = {
      path,
      type,
      mode: Number(stats.mode & 0o7777n),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      modifiedNs: stats.mtimeNs,
      offset: this.end,
      sizeBytes: 0,
      hash: '',
      linkGroup: 0,
      target: type === 'symlink' ? readlinkSync(bytes(full), { encoding: 'latin1' }) : '',
      major: type.endsWith('Device') ? majorOf(stats.rdev) : 0,
      minor: type.endsWith('Device') ? minorOf(stats.rdev) : 0,
      xattrs: [...this.#context.files.xattrs(bytes(full))].filter(([name]) => !name.startsWith('trusted.overlay.')),
    }
    return type === 'file' && isTaken ? this.#file(base, full, stats) : base
  }

  #file(base: TreeEntry, full: string, stats: BigIntStats): TreeEntry {
    const inode = `${stats.dev}:${stats.ino}`
    const known = stats.nlink > 1n ? this.#groups.get(inode) : undefined
    if (known !== undefined) return { ...known.entry, path: base.path, linkGroup: known.group }
    const linkGroup = stats.nlink > 1n ? this.#groups.size + 1 : 0
    const entry = { ...base, linkGroup, ...this.#content(full) }
    if (linkGroup > 0) this.#groups.set(inode, { entry, group: linkGroup })
    return entry
  }

  #content(full: string): { readonly sizeBytes: number; readonly hash: string } {
    const hash = createHash('sha256')
    const file = openSync(bytes(full), constants.O_RDONLY | constants.O_NOFOLLOW)
    const begin = this.end
    try {
      for (;;) {
        const count = readSync(file, this.#buffer, 0, this.#buffer.length, null)
        if (count === 0) break
        const chunk = this.#buffer.subarray(0, count)
        hash.update(chunk)
        for (let done = 0; done < count; ) done += writeSync(this.#fd, chunk, done, count - done, this.end + done)
        this.end += count
      }
    } finally {
      closeSync(file)
    }
    return { sizeBytes: this.end - begin, hash: hashText(hash.digest('hex'), 'sha256') }
  }
}

function typeOf(stats: BigIntStats): TreeEntry['type'] | undefined {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isFIFO()) return 'fifo'
  if (stats.isCharacterDevice()) return 'charDevice'
  return stats.isBlockDevice() ? 'blockDevice' : undefined
}

/** makedev(3) of glibc. */
function majorOf(device: bigint): number {
  return Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n))
}

function minorOf(device: bigint): number {
  return Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n))
}
