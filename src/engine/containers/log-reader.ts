/**
 * `docker logs`: the rotated files of a log, oldest first, then the one that is written to. A follower goes on in the next file when
 * the one it reads has been moved aside, by us, by the node agent (pods) or by conmon, and misses nothing of what is still there.
 */
import { createReadStream, watch } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createGunzip } from 'node:zlib'
import { systemErrorCode } from '#base/fault.ts'
import type { LogEntry, LogQuery } from '../contract/containers.ts'
import { entriesOf, plainBlocks, readAt, tailOffset, type LogRecord } from './cri-log.ts'
import { rotatedLogs, statIfThere, type RotatedLog } from './log-files.ts'

/** `ended` settles when nothing more will be written; only then does a follower stop. */
export async function* readLog(path: string, query: LogQuery, ended?: Promise<void>): AsyncGenerator<LogEntry> {
  for await (const entry of entries(path, query, ended)) {
    if (query.signal.aborted) return
    if (entry.channel === 'stdout' ? !query.stdout : !query.stderr) continue
    if (query.sinceNs !== undefined && entry.timeNs < query.sinceNs) continue
    if (query.untilNs !== undefined && entry.timeNs > query.untilNs) return
    yield entry
  }
}

async function* entries(path: string, query: LogQuery, ended: Promise<void> | undefined): AsyncGenerator<LogRecord> {
  using changes = query.follow && ended !== undefined ? new Changes(path, { ended, signal: query.signal }) : undefined
  let current = await openCurrent(path)
  try {
    const rotated = (await rotatedLogs(path)).filter(({ number }) => number < current.number)
    const { from, begin, skip } = query.tail === undefined ? { from: 0, begin: 0, skip: 0 } : await tailOf(current, rotated, query.tail)
    for (const log of rotated) if (log.number >= from) yield* rotatedEntries(log, { sinceNs: query.sinceNs, skip: log.number === from ? skip : 0 })
    if (changes === undefined) {
      if (current.file !== undefined) yield* entriesOf(plainBlocks(current.file, begin))
      return
    }
    for (let position = begin; ; position = 0) {
      yield* entriesOf(changes.blocks(current.file, position))
      if (changes.aborted) return
      const read = current
      const ino = await inodeOf(read)
      current = await openCurrent(path)
      await read.file?.close()
      // What was written and moved aside since; the file that we have read may have been given its number, or be gone.
      for (const log of await rotatedLogs(path)) if (log.number > read.number && log.number < current.number) yield* rotatedEntries(log, { sinceNs: query.sinceNs, skip: 0 })
      if (current.file === undefined ? changes.over : (await inodeOf(current)) === ino) return
    }
  } finally {
    await current.file?.close()
  }
}

interface Current {
  /** Undefined: it was moved aside, and conmon has made no new one yet (or nothing was ever written). */
  readonly file: FileHandle | undefined
  /** The number that it will have when it is rotated. */
  readonly number: number
}

async function openCurrent(path: string): Promise<Current> {
  const nextNumber = async (): Promise<number> => ((await rotatedLogs(path)).at(-1)?.number ?? 0) + 1
  for (;;) {
    const number = await nextNumber()
    const file = await openIfThere(path)
    if ((await nextNumber()) === number) return { file, number }
    await file?.close()
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function inodeOf({ file }: Current): Promise<number | undefined> {
  return (await file?.stat())?.ino
}

/** Whether another file stands where the one that was read stood. */
async function replaced(path: string, file: FileHandle | undefined): Promise<boolean> {
  const [now, read] = await Promise.all([statIfThere(path), file?.stat()])
  return now !== undefined && now.ino !== read?.ino
}

/** In which file the last `lines` lines begin: where in the current one, or how many full lines of a rotated one come before them. */
async function tailOf({ file, number }: Current, rotated: readonly RotatedLog[], lines: number): Promise<{ readonly from: number; readonly begin: number; readonly skip: number }> {
  const { begin, counted } = file === undefined ? { begin: 0, counted: 0 } : await tailOffset(file, lines)
  let missing = lines - counted
  if (missing <= 0) return { from: number, begin, skip: 0 }
  for (const log of rotated.toReversed()) {
    const full = await countLines(log)
    if (full >= missing) return { from: log.number, begin: 0, skip: full - missing }
    missing -= full
  }
  return { from: 0, begin: 0, skip: 0 }
}

async function countLines(log: RotatedLog): Promise<number> {
  let lines = 0
  for await (const { full } of entriesOf(blocksOf(log))) if (full) lines += 1
  return lines
}

async function* rotatedEntries(log: RotatedLog, { sinceNs, skip }: { readonly sinceNs: bigint | undefined; readonly skip: number }): AsyncGenerator<LogRecord> {
  if (sinceNs !== undefined && (await lastWriteNs(log)) < sinceNs) return
  let left = skip
  for await (const entry of entriesOf(blocksOf(log))) {
    if (left === 0) yield entry
    else if (entry.full) left -= 1
  }
}

/** A second later, for clocks of file systems are coarse. */
async function lastWriteNs({ path }: RotatedLog): Promise<bigint> {
  const found = (await statIfThere(path)) ?? (await statIfThere(`${path}.gz`))
  return BigInt(Math.ceil((found?.mtimeMs ?? 0) + 1000)) * 1_000_000n
}

/** It may be compressed, or removed, at any instant: the one is tried after the other, and what is gone is gone. */
async function* blocksOf({ path }: RotatedLog): AsyncGenerator<Buffer> {
  const plain = await openIfThere(path)
  if (plain !== undefined) {
    try {
      yield* plainBlocks(plain, 0)
    } finally {
      await plain.close()
    }
    return
  }
  const packed = await openIfThere(`${path}.gz`)
  if (packed === undefined) return
  // The stream closes the file.
  const source = createReadStream('', { fd: packed })
  const unpacked = createGunzip()
  source.on('error', (error) => unpacked.destroy(error))
  try {
    for await (const block of source.pipe(unpacked)) yield Buffer.from(block)
  } finally {
    source.destroy()
    unpacked.destroy()
  }
}

/** What happens to a log while it is followed, told by inotify on its folder: also that another file takes its place. */
class Changes implements Disposable {
  readonly #path: string
  readonly #signal: AbortSignal
  #watcher: Disposable
  #changed = false
  #wake: (() => void) | undefined
  over = false

  constructor(path: string, until: { readonly ended: Promise<void>; readonly signal: AbortSignal }) {
    this.#path = path
    this.#signal = until.signal
    const finish = (): void => {
      this.over = true
      this.#wake?.()
    }
    this.#watcher = watchFolder(dirname(path), () => {
      this.#changed = true
      this.#wake?.()
    })
    void until.ended.then(finish, finish)
    until.signal.addEventListener('abort', finish, { once: true })
  }

  get aborted(): boolean {
    return this.#signal.aborted
  }

  /** What is in the file and what comes, until it ended, was given up, or another file stands in its place: nothing is written to it then. */
  async *blocks(file: FileHandle | undefined, begin: number): AsyncGenerator<Buffer> {
    for (let position = begin; ; ) {
      const wasOver = this.over
      this.#changed = false
      // Asked before the read: what was written before it was replaced is read then.
      const last = wasOver || (await replaced(this.#path, file))
      for (let block = await read(file, position); block.length > 0; block = await read(file, position)) {
        position += block.length
        yield block
      }
      if (last || this.aborted) return
      if (!this.#changed && !this.over) await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
  }

  [Symbol.dispose](): void {
    this.#watcher[Symbol.dispose]()
  }
}

function read(file: FileHandle | undefined, position: number): Promise<Buffer> {
  return file === undefined ? Promise.resolve(Buffer.alloc(0)) : readAt(file, position)
}

function watchFolder(folder: string, notice: () => void): Disposable {
  const watcher = watch(folder, { persistent: false }, notice)
  // The folder was removed with its container: the end of the container ends the reader.
  watcher.on('error', notice)
  return { [Symbol.dispose]: () => watcher.close() }
}
