/**
 * Reads the CRI log format that conmon writes (Kubernetes CRI `container log format`):
 * `2026-11-23T05:13:56.416170315+00:00 stdout F text\n`, where `F` ends a line and `P` is a part of one. `docker logs` is made from it:
 * a full line gets its line feed back, a part does not.
 */
import type { FileHandle } from 'node:fs/promises'
import type { LogEntry } from '../contract/containers.ts'

export interface LogRecord extends LogEntry {
  /** It ends its line. */
  readonly full: boolean
}

/** One record without its line feed; undefined for what is none (a torn write after a power cut). */
export function parseCriRecord(record: Buffer): LogRecord | undefined {
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

export async function* entriesOf(blocks: AsyncIterable<Buffer>): AsyncGenerator<LogRecord> {
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

export async function readAt(file: FileHandle, position: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(blockBytes), 0, blockBytes, position)
  return buffer.subarray(0, bytesRead)
}

export async function* plainBlocks(file: FileHandle, start: number): AsyncGenerator<Buffer> {
  for (let position = start; ; ) {
    const block = await readAt(file, position)
    if (block.length === 0) return
    position += block.length
    yield block
  }
}

/** Where the last `lines` full lines begin, and how many there are if there are fewer. A last line without its end counts as one. */
export async function tailOffset(file: FileHandle, lines: number): Promise<{ readonly begin: number; readonly counted: number }> {
  const { size } = await file.stat()
  if (lines <= 0) return { begin: size, counted: 0 }
  let position = size
  let carried = Buffer.alloc(0)
  let counted = 0
  /** Start of the earliest record that belongs to the lines counted so far. */
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
        if (counted === lines) return { begin, counted }
        counted += 1
      }
      begin = position + before + 1
      window = window.subarray(0, before + 1)
      if (before < 0) break
    }
    carried = Buffer.from(window)
  }
  return { begin, counted }
}
