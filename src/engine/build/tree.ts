/**
 * A tree of files that COPY and ADD take from: the build context, another stage, an image, an archive. Its contents are
 * *spooled*: one file holds the bytes of all files one after another, but for some large ones that stand alone, and the entries say where. So a context is written once
 * and hashed while it arrives, and nothing of it is ever unpacked where a link could lead out of the context.
 *
 * Paths are byte strings (each character one byte, `latin1`), relative, without `.` and `..`; the root is the empty string.
 */
import { createHash, hash as hashAtOnce, type Hash } from 'node:crypto'
import { posix } from 'node:path'
import { Fault } from '#base/fault.ts'
import { Glob } from '#base/glob.ts'
import { restricted, splitAtPivot, wholeSelection, type SelectionFlags } from './selection.ts'

export interface TreeEntry {
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'fifo' | 'charDevice' | 'blockDevice'
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly modifiedNs: bigint
  /** Files: where their bytes stand in the spool, and a hash of them, `algorithm:hex`: {@link sha256Of} of downloads and of files in roots, {@link hashOfContent} of others. */
  readonly offset: number
  readonly sizeBytes: number
  readonly hash: string
  /** Its bytes stand in a file of their own; the spool has a hole for them. */
  readonly isAlone?: true
  /** Files with several names share a number; 0 for others. */
  readonly linkGroup: number
  /** Of a symlink. */
  readonly target: string
  readonly major: number
  readonly minor: number
  readonly xattrs: readonly (readonly [name: string, value: Uint8Array])[]
}

/** Of files' contents. Twice as fast as sha256 where the processor has no instructions for that; nobody else sees it. */
const contentAlgorithm = 'blake2b512'

export function contentHash(): Hash {
  return createHash(contentAlgorithm)
}

/** In the form in which entries have it. */
export function hashText(hex: string, algorithm: 'sha256' | 'blake2b512' = contentAlgorithm): string {
  return `${algorithm}:${hex}`
}

/** In hex; only of files that were hashed so. */
export function sha256Of({ path, hash }: TreeEntry): string {
  if (!hash.startsWith('sha256:')) throw new Fault('internal', `${fromBytePath(path)} was hashed by ${hash.split(':')[0]}, not by sha256`)
  return hash.slice('sha256:'.length)
}

export function hashOfContent(content: Uint8Array): string {
  return hashText(hashAtOnce(contentAlgorithm, content), contentAlgorithm)
}

/** Files of a folder whose contents stand in the spool already, by their paths. */
export type KeptFiles = ReadonlyMap<string, Pick<TreeEntry, 'offset' | 'sizeBytes' | 'hash' | 'modifiedNs'>>

/** One thing that COPY or ADD takes. `entries[0]` is the thing itself, with the path `''`; what is below it is relative to it. */
export interface Selected {
  /** The name it gets in a destination folder when it is no folder itself. */
  readonly name: string
  readonly entries: readonly TreeEntry[]
}

export const emptyFolder: TreeEntry = {
  path: '', type: 'directory', mode: 0o755, uid: 0, gid: 0, modifiedNs: 0n, offset: 0, sizeBytes: 0, hash: '', linkGroup: 0, target: '', major: 0, minor: 0, xattrs: [],
}

export function contentOf({ offset, sizeBytes, hash, modifiedNs }: TreeEntry): Pick<TreeEntry, 'offset' | 'sizeBytes' | 'hash' | 'modifiedNs'> {
  return { offset, sizeBytes, hash, modifiedNs }
}

/** The file beside the spool that holds the content which stands alone at this offset. */
export function aloneName(offset: number): string {
  return `spool-${offset}`
}

export function toBytePath(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

export function fromBytePath(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8')
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

const maxLinks = 40

export class FileTree {
  readonly #entries: ReadonlyMap<string, TreeEntry>
  readonly #children = new Map<string, string[]>()

  /** Folders that no entry names are added with mode 755. A later entry of the same path replaces an earlier one. */
  constructor(entries: Iterable<TreeEntry>) {
    const all = new Map<string, TreeEntry>([['', emptyFolder]])
    for (const entry of entries) {
      for (let parent = parentOf(entry.path); !all.has(parent); parent = parentOf(parent)) all.set(parent, { ...emptyFolder, path: parent })
      all.set(entry.path, entry)
    }
    this.#entries = all
    for (const path of all.keys()) {
      if (path === '') continue
      const siblings = this.#children.get(parentOf(path))
      if (siblings === undefined) this.#children.set(parentOf(path), [path])
      else siblings.push(path)
    }
    for (const children of this.#children.values()) children.sort()
  }

  get(path: string): TreeEntry | undefined {
    return this.#entries.get(path)
  }

  /** Paths directly below a folder, sorted by bytes. */
  childrenOf(path: string): readonly string[] {
    return this.#children.get(path) ?? []
  }

  /** An entry and everything below it, parents first, sorted. */
  *walk(path: string): Generator<TreeEntry> {
    const entry = this.#entries.get(path)
    if (entry === undefined) return
    yield entry
    for (const child of this.childrenOf(path)) yield* this.walk(child)
  }

  /** Follows links, with `/` and `..` ending at the root. Undefined: no such file, or links without end. */
  resolve(path: string): TreeEntry | undefined {
    const pending = path.split('/').reverse()
    let here = ''
    let links = 0
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      if (part === '' || part === '.') continue
      if (part === '..') {
        here = parentOf(here)
        continue
      }
      const next = this.#entries.get(here === '' ? part : `${here}/${part}`)
      if (next === undefined) return undefined
      if (next.type !== 'symlink') {
        here = next.path
        continue
      }
      links += 1
      if (links > maxLinks) return undefined
      if (next.target.startsWith('/')) here = ''
      pending.push(...next.target.split('/').reverse())
    }
    return this.#entries.get(here)
  }

  /** The tree without entries that `keep` refuses; a folder stays while something below it does. */
  filter(keep: (entry: TreeEntry) => boolean): FileTree {
    const kept = new Set<string>()
    for (const entry of this.#entries.values()) {
      if (entry.path === '' || !keep(entry)) continue
      for (let path = entry.path; path !== '' && !kept.has(path); path = parentOf(path)) kept.add(path)
    }
    return new FileTree([...this.#entries.values()].filter(({ path }) => kept.has(path)))
  }

  /** Resolves one source argument: a path, or a pattern as Go's `filepath.Match` has it, one path element at a time. */
  select(source: string, flags: SelectionFlags = wholeSelection): readonly Selected[] {
    if (!flags.parents) return restricted(this.#matching(source), flags)
    const { pivot, pattern } = splitAtPivot(toBytePath(source))
    return restricted(this.#matching(fromBytePath(pivot)), flags, pattern)
  }

  #matching(source: string): readonly Selected[] {
    const lister: PatternLister = {
      isThere: (path) => this.resolve(path) !== undefined,
      names: (path) => {
        const folder = this.resolve(path)
        return folder === undefined ? [] : this.childrenOf(folder.path).map(nameOf)
      },
    }
    return matchingPaths(source, lister).flatMap((path) => {
      const root = this.resolve(path)
      if (root === undefined) return []
      const skip = root.path === '' ? 0 : root.path.length + 1
      return [{ name: nameOf(path), entries: [...this.walk(root.path)].map((entry) => ({ ...entry, path: entry.path.slice(skip) })) }]
    })
  }
}

/** How `matchingPaths` looks at a tree, so that it serves trees in memory and on disk. Paths follow links. */
export interface PatternLister {
  isThere(path: string): boolean
  /** Names in a folder, sorted; empty for what is none. */
  names(path: string): readonly string[]
}

/** The paths that a source argument means; relative byte paths, sorted. */
export function matchingPaths(source: string, tree: PatternLister): string[] {
  const cleaned = posix.normalize(`/${toBytePath(source)}`).replace(/^\/+|\/+$/g, '')
  if (!/[*?[\\]/.test(cleaned)) return tree.isThere(cleaned) ? [cleaned] : []
  let found: string[] = ['']
  for (const part of cleaned.split('/')) {
    const glob = new Glob(part, { classes: true })
    found = found.flatMap((folder) => tree.names(folder).filter((name) => glob.matches(name)).map((name) => (folder === '' ? name : `${folder}/${name}`)))
  }
  return found.filter((path) => tree.isThere(path))
}

const digestedLength = 64 * 1024

/**
 * A digest of what would be copied: names, kinds, modes, contents, link targets, attributes; owners where they are kept;
 * never modification times, so that a fresh checkout hits the cache.
 */
export function contentDigest(selection: readonly Selected[], options: { readonly withOwners: boolean }): string {
  const hash = createHash('sha256')
  // A call for each of 20,000 entries would cost more than the hash.
  let text = ''
  const add = (part: string): void => {
    text += part
    if (text.length < digestedLength) return
    hash.update(text)
    text = ''
  }
  for (const { name, entries } of selection) {
    add(`selected\0${entries[0]?.type === 'directory' ? '' : name}\0`)
    for (const entry of entries) {
      const owner = options.withOwners ? `${entry.uid}:${entry.gid}` : ''
      const mode = entry.type === 'symlink' ? '' : entry.mode.toString(8)
      add(`${entry.path}\0${entry.type}\0${mode}\0${owner}\0${entry.hash}\0${entry.target}\0${entry.major}:${entry.minor}\0`)
      for (const [attribute, value] of entry.xattrs) add(`${attribute}=${Buffer.from(value).toString('hex')}\0`)
    }
  }
  hash.update(text)
  return hash.digest('hex')
}
