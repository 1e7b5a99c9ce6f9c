/** The file behind a build's trees: contents of the context, of other stages and of archives, one after another. */
import { createHash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import { constants, createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { ConfinedJobs } from '#linux/contract/confined.ts'
import type { SpoolArchiveArgs, Spooled } from './spool-archive.job.ts'
import type { SpooledSelection, SpoolTreeArgs } from './spool-tree.job.ts'
import { keptMark } from '../contract/builds.ts'
import { wholeSelection, type SelectionFlags } from './selection.ts'
import { FileTree, hashText, type KeptFiles, type Selected, type TreeEntry } from './tree.ts'

export function spoolIn(folder: string): string {
  return `${folder}/spool`
}

export class Spool implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #path: string
  readonly #folder: string
  readonly #confined: ConfinedJobs
  #end = 0
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

  get fd(): number {
    return this.#file.fd
  }

  /** Spools a tar that is not compressed, and that nobody else reads. */
  addArchive(input: Readable, signal: AbortSignal, kept?: KeptFiles): Promise<FileTree> {
    return this.#append(async () => {
      const args: SpoolArchiveArgs = { fd: this.fd, offset: this.#end }
      const spooled = await this.#confined.run<SpoolArchiveArgs, Spooled>(this.#folder, new URL('./spool-archive.job.ts', import.meta.url), args, { input, inputIsOurs: true, signal })
      this.#end = spooled.end
      return new FileTree(kept === undefined ? spooled.entries : spooled.entries.map((entry) => withKept(entry, kept)))
    })
  }

  /** Spools files of a mounted root. One selection per source. */
  addFromRoot(root: string, sources: readonly string[], { signal, flags = wholeSelection }: { readonly signal: AbortSignal; readonly flags?: SelectionFlags }): Promise<readonly (readonly Selected[])[]> {
    return this.#append(async () => {
      const args: SpoolTreeArgs = { fd: this.fd, offset: this.#end, sources, flags }
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
    const buffer = Buffer.alloc(entry.sizeBytes)
    await this.#file.read(buffer, 0, buffer.length, entry.offset)
    return buffer.toString('utf8')
  }

  async firstBytes(entry: TreeEntry, count: number): Promise<Buffer> {
    const buffer = Buffer.alloc(Math.min(count, entry.sizeBytes))
    await this.#file.read(buffer, 0, buffer.length, entry.offset)
    return buffer
  }

  content(entry: TreeEntry): Readable {
    if (entry.sizeBytes === 0) return Readable.from([])
    return createReadStream(this.#path, { start: entry.offset, end: entry.offset + Math.max(0, entry.sizeBytes - 1), highWaterMark: 1 << 18 })
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

/** An entry that came without its bytes, because they are here. */
function withKept(entry: TreeEntry, kept: KeptFiles): TreeEntry {
  const mark = entry.xattrs.find(([name]) => name === keptMark)
  if (mark === undefined) return entry
  const file = kept.get(Buffer.from(mark[1]).toString('latin1'))
  if (file === undefined) throw new Fault('dataLoss', `${entry.path} was not sent, and is not here`)
  const { offset, sizeBytes, hash } = file
  return { ...entry, offset, sizeBytes, hash, xattrs: entry.xattrs.filter((each) => each !== mark) }
}
