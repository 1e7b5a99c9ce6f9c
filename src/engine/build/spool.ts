/** The file behind a build's trees: contents of the context, of other stages and of archives, one after another; large ones of archives stand in files beside it. */
import { createHash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import { constants, createReadStream } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { ConfinedJobs } from '#linux/contract/confined.ts'
import type { FileToLink } from '../contract/snapshots.ts'
import type { AloneFile, PlacedFiles, PlaceFilesArgs } from './place-files.job.ts'
import type { SpoolArchiveArgs, Spooled } from './spool-archive.job.ts'
import type { SpooledSelection, SpoolTreeArgs } from './spool-tree.job.ts'
import { keptMark } from '../contract/builds.ts'
import { wholeSelection, type SelectionFlags } from './selection.ts'
import { aloneName, FileTree, hashText, type KeptFiles, type Selected, type TreeEntry } from './tree.ts'

export function spoolIn(folder: string): string {
  return `${folder}/spool`
}

/** How files are placed, without where their bytes are. */
export type PlacedHow = Omit<PlaceFilesArgs, 'fd' | 'alone'>

export class Spool implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #path: string
  readonly #folder: string
  readonly #confined: ConfinedJobs
  #end = 0
  /** Of files that stand alone, those that a layer has got. */
  readonly #linked = new Set<number>()
  /** Writers go one after another, because each begins where the one before ended. */
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, path: string, folder: string, confined: ConfinedJobs) {
    this.#file = file
    this.#path = path
    this.#folder = folder
    this.#confined = confined
  }

  /** Goes on with the spool of an earlier build where one stands in the folder. */
  static async open(folder: string, confined: ConfinedJobs): Promise<Spool> {
    const path = spoolIn(folder)
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    const spool = new Spool(file, path, folder, confined)
    spool.#end = (await file.stat()).size
    return spool
  }

  /** Spools a tar that is not compressed, and that nobody else reads. */
  addArchive(input: Readable, signal: AbortSignal, kept?: KeptFiles): Promise<FileTree> {
    return this.#append(async () => {
      // What is kept for later builds is one file.
      const args: SpoolArchiveArgs = { fd: this.#file.fd, offset: this.#end, largeStandAlone: kept === undefined }
      const spooled = await this.#confined.run<SpoolArchiveArgs, Spooled>(this.#folder, new URL('./spool-archive.job.ts', import.meta.url), args, { input, inputIsOurs: true, signal })
      this.#end = spooled.end
      return new FileTree(kept === undefined ? spooled.entries : spooled.entries.map((entry) => withKept(entry, kept)))
    })
  }

  /** Spools files of a mounted root. One selection per source. */
  addFromRoot(root: string, sources: readonly string[], { signal, flags = wholeSelection }: { readonly signal: AbortSignal; readonly flags?: SelectionFlags }): Promise<readonly (readonly Selected[])[]> {
    return this.#append(async () => {
      const args: SpoolTreeArgs = { fd: this.#file.fd, offset: this.#end, sources, flags }
      const spooled = await this.#confined.run<SpoolTreeArgs, SpooledSelection>(root, new URL('./spool-tree.job.ts', import.meta.url), args, { signal })
      this.#end = spooled.end
      return spooled.selections
    })
  }

  addBytes(content: Buffer): Promise<number> {
    return this.#append(async () => {
      const offset = this.#end
      await this.#file.write(content, 0, content.length, offset)
      this.#end += content.length
      return offset
    })
  }

  /** What arrives, with its sha256: at most `maxBytes`, for which room is reserved, so that others need not wait. */
  async addStream(content: AsyncIterable<Buffer>, maxBytes: number): Promise<Pick<TreeEntry, 'offset' | 'sizeBytes' | 'hash'>> {
    const offset = await this.#append(async () => {
      const begin = this.#end
      this.#end += maxBytes
      return begin
    })
    const hash = createHash('sha256')
    let sizeBytes = 0
    for await (const chunk of content) {
      if (sizeBytes + chunk.length > maxBytes) throw new Fault('tooLarge', `more than the expected ${maxBytes} bytes arrive`)
      hash.update(chunk)
      for (let done = 0; done < chunk.length; ) done += (await this.#file.write(chunk, done, chunk.length - done, offset + sizeBytes + done)).bytesWritten
      sizeBytes += chunk.length
    }
    return { offset, sizeBytes, hash: hashText(hash.digest('hex'), 'sha256') }
  }

  async text(entry: TreeEntry, maxBytes: number): Promise<string> {
    if (entry.sizeBytes > maxBytes) throw new Fault('tooLarge', `${entry.path} has ${entry.sizeBytes} bytes; at most ${maxBytes} are read`)
    return (await this.firstBytes(entry, entry.sizeBytes)).toString('utf8')
  }

  async firstBytes(entry: TreeEntry, count: number): Promise<Buffer> {
    const buffer = Buffer.alloc(Math.min(count, entry.sizeBytes))
    if (entry.isAlone !== true) await this.#file.read(buffer, 0, buffer.length, entry.offset)
    else {
      await using file = await open(this.#alonePath(entry), 'r')
      await file.read(buffer, 0, buffer.length, 0)
    }
    return buffer
  }

  content(entry: TreeEntry): Readable {
    if (entry.sizeBytes === 0) return Readable.from([])
    const [path, start] = entry.isAlone === true ? [this.#alonePath(entry), 0] : [this.#path, entry.offset]
    return createReadStream(path, { start, end: start + entry.sizeBytes - 1, highWaterMark: 1 << 18 })
  }

  /**
   * Puts files into a root as COPY does. With `mayLink`, files that stand alone may be left empty there, for the caller to link in their place:
   * each once, because the link shares the file's owner, mode and time with us.
   */
  async place(root: string, args: PlacedHow, { signal, mayLink = false }: { readonly signal: AbortSignal; readonly mayLink?: boolean }): Promise<readonly FileToLink[]> {
    await using files = new AsyncDisposableStack()
    const alone: AloneFile[] = []
    for (const [offset, same] of Map.groupBy(args.selection.flatMap(({ entries }) => entries.filter(({ isAlone }) => isAlone === true)), (entry) => entry.offset)) {
      const [entry] = same
      if (entry === undefined) continue
      const { fd } = files.use(await open(this.#alonePath(entry), 'r'))
      const mayBeLinked = mayLink && same.length === 1 && isLinkable(entry) && !this.#linked.has(offset)
      if (mayBeLinked) this.#linked.add(offset)
      alone.push({ offset, fd, mayBeLinked })
    }
    const { toLink } = await this.#confined.run<PlaceFilesArgs, PlacedFiles>(root, placeFiles, { ...args, fd: this.#file.fd, alone }, { signal })
    return toLink.map(({ path, offset }) => ({ path, source: this.#alonePath({ offset }) }))
  }

  #alonePath({ offset }: Pick<TreeEntry, 'offset'>): string {
    return join(this.#folder, aloneName(offset))
  }

  #append<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(task, task)
    this.#tail = result.then(() => undefined, () => undefined)
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail
    await this.#file.close()
  }
}

/** Where a number of whole seconds is all of its time: that is what can be set through a descriptor. */
function isLinkable({ linkGroup, xattrs, modifiedNs }: TreeEntry): boolean {
  return linkGroup === 0 && xattrs.length === 0 && modifiedNs >= 0n && modifiedNs % 1_000_000_000n === 0n
}

const placeFiles = new URL('./place-files.job.ts', import.meta.url)

/** An entry that came without its bytes, because they are here. */
function withKept(entry: TreeEntry, kept: KeptFiles): TreeEntry {
  const mark = entry.xattrs.find(([name]) => name === keptMark)
  if (mark === undefined) return entry
  const file = kept.get(Buffer.from(mark[1]).toString('latin1'))
  if (file === undefined) throw new Fault('dataLoss', `${entry.path} was not sent, and is not here`)
  const { offset, sizeBytes, hash } = file
  return { ...entry, offset, sizeBytes, hash, xattrs: entry.xattrs.filter((each) => each !== mark) }
}
