/**
 * Reads the CRI log format that conmon writes (Kubernetes CRI `container log format`):
 * `2026-11-23T05:13:56.416170315+00:00 stdout F text\n`, where `F` ends a line and `P` is a part of one. `docker logs` is made from it:
 * a full line gets its line feed back, a part does not.
 */
import { watch } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { systemErrorCode } from '#base/fault.ts'
import type { LogEntry, LogQuery } from '../contract/containers.ts'

/** One record without its line feed; undefined for what is none (a torn write after a power cut). */
export function parseCriRecord(record: Buffer): (LogEntry & { readonly full: boolean }) | undefined {
  const timeEnd = record.indexOf(0x20)
  if (timeEnd < 0) return undefined
  const channelEnd = record.indexOf(0x20, timeEnd + 1)
  if (channelEnd < 0) return undefined
  const tag = record[channelEnd + 1]
  const channel = record.toString('latin1', timeEnd + 1, channelEnd)
  const timeNs = parseTimeNs(record.toString('latin1', 0, timeEnd))
  if (timeNs === undefined || (channel !== 'stdout' && channel !== 'stderr')) return undefined
  const full = tag === 0x46
  if (!full && tag !== 0x50) return undefined
  const text = record.subarray(channelEnd + 3)
  return { channel, timeNs, full, data: full ? Buffer.concat([text, lineFeed]) : Buffer.from(text) }
}

const lineFeed = Buffer.from('\n')

/** RFC 3339 with up to nine decimals and any offset, as nanoseconds since the epoch. */
export function parseTimeNs(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text)
  if (match === null) return undefined
  const seconds = Date.parse(`${match[1]}${match[3]}`)
  if (Number.isNaN(seconds)) return undefined
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'))
}

const blockBytes = 64 * 1024
/** A record longer than this is cut: conmon itself writes parts of 8 kB. */
const longestRecordBytes = 1 << 20

/** `ended` settles when nothing more will be written; only then does a follower stop. */
export async function* readCriLog(path: string, query: LogQuery, ended?: Promise<void>): AsyncGenerator<LogEntry> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return
    throw error
  }
  try {
    const start = query.tail === undefined ? 0 : await tailOffset(file, query.tail)
    const blocks = query.follow && ended !== undefined ? followBlocks(file, path, start, { ended, signal: query.signal }) : plainBlocks(file, start)
    for await (const entry of entriesOf(blocks)) {
      if (query.signal.aborted) return
      if (entry.channel === 'stdout' ? !query.stdout : !query.stderr) continue
      if (query.sinceNs !== undefined && entry.timeNs < query.sinceNs) continue
      if (query.untilNs !== undefined && entry.timeNs > query.untilNs) return
      yield entry
    }
  } finally {
    await file.close()
  }
}

async function* entriesOf(blocks: AsyncIterable<Buffer>): AsyncGenerator<LogEntry> {
  let rest = Buffer.alloc(0)
  for await (const block of blocks) {
    let bytes = rest.length === 0 ? block : Buffer.concat([rest, block])
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a)) {
      const entry = parseCriRecord(bytes.subarray(0, end))
      bytes = bytes.subarray(end + 1)
      if (entry !== undefined) yield entry
    }
    rest = bytes.length > longestRecordBytes ? Buffer.alloc(0) : Buffer.from(bytes)
  }
}

async function readAt(file: FileHandle, position: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(blockBytes), 0, blockBytes, position)
  return buffer.subarray(0, bytesRead)
}

async function* plainBlocks(file: FileHandle, start: number): AsyncGenerator<Buffer> {
  for (let position = start; ; ) {
    const block = await readAt(file, position)
    if (block.length === 0) return
    position += block.length
    yield block
  }
}

async function* followBlocks(file: FileHandle, path: string, start: number, until: { readonly ended: Promise<void>; readonly signal: AbortSignal }): AsyncGenerator<Buffer> {
  let wake: (() => void) | undefined
  let over = false
  let changed = false
  const notice = (): void => {
    changed = true
    wake?.()
  }
  const finish = (): void => {
    over = true
    wake?.()
  }
  using watcher = watchFile(path, notice)
  void watcher
  void until.ended.then(finish, finish)
  until.signal.addEventListener('abort', finish, { once: true })
  for (let position = start; ; ) {
    const wasOver = over
    changed = false
    const block = await readAt(file, position)
    if (block.length > 0) {
      position += block.length
      yield block
      continue
    }
    if (wasOver || until.signal.aborted) return
    if (!changed && !over) await new Promise<void>((resolve) => (wake = resolve))
    wake = undefined
  }
}

function watchFile(path: string, notice: () => void): Disposable {
  const watcher = watch(path, { persistent: false }, notice)
  // The file was removed with its container: the end of the container ends the reader.
  watcher.on('error', notice)
  return { [Symbol.dispose]: () => watcher.close() }
}

/** Where the last `lines` full lines begin. A last line without its end counts as one. */
async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat()
  if (lines <= 0) return size
  let position = size
  let carried = Buffer.alloc(0)
  /** Start of the earliest record that belongs to the lines counted so far. */
  let counted = 0
  let begin = size
  while (position > 0) {
    const length = Math.min(blockBytes, position)
    position -= length
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, position)
    let window = Buffer.concat([buffer.subarray(0, bytesRead), carried])
    for (;;) {
      const searchFrom = window.length - 2
      const before = searchFrom < 0 ? -1 : window.lastIndexOf(0x0a, searchFrom)
      if (before < 0 && position > 0) break
      const record = window.subarray(before + 1)
      if (record.length === 0) break
      const entry = parseCriRecord(record.at(-1) === 0x0a ? record.subarray(0, -1) : record)
      if (entry?.full === true || counted === 0) {
        if (counted === lines) return begin
        counted += 1
      }
      begin = position + before + 1
      window = window.subarray(0, before + 1)
      if (before < 0) break
    }
    carried = Buffer.from(window)
  }
  return begin
}
