/**
 * `GET /containerLogs/…`: reads a container's log file, whole or its end, and follows it while the container runs. Files
 * stand under upstream's layout; rotated ones (`0.log.1` …) are read first when everything is asked for.
 */
import { watch } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { rfc3339Seconds } from '#base/clock.ts'
import type { LogFilter } from './log-lines.ts'
import { renderLine, tailStart } from './log-lines.ts'

export interface LogQuery extends LogFilter {
  readonly follow: boolean
  readonly previous: boolean
  readonly tailLines?: number
  readonly limitBytes?: number
}

const chunkBytes = 64 * 1024
const longestTailWindow = 16 * 1024 * 1024
const mostRotated = 10

export function parseLogQuery(query: URLSearchParams, nowMs: number): LogQuery {
  const flag = (name: string): boolean => ['true', '1'].includes(query.get(name) ?? '')
  const sinceSeconds = wholeNumber(query, 'sinceSeconds')
  const sinceTime = query.get('sinceTime')
  const tailLines = wholeNumber(query, 'tailLines')
  const limitBytes = wholeNumber(query, 'limitBytes')
  const stream = query.get('stream')
  if (sinceTime !== null && Number.isNaN(Date.parse(sinceTime))) throw new Fault('invalidArgument', `sinceTime '${sinceTime}' is no RFC 3339 time such as ${rfc3339Seconds(nowMs)}`)
  const sinceMs = sinceTime !== null ? Date.parse(sinceTime) : sinceSeconds === undefined ? undefined : nowMs - sinceSeconds * 1000
  return {
    follow: flag('follow'),
    previous: flag('previous'),
    timestamps: flag('timestamps'),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(stream === 'Stdout' ? { stream: 'stdout' as const } : stream === 'Stderr' ? { stream: 'stderr' as const } : {}),
  }
}

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw new Fault('invalidArgument', `${name} must be a whole number of at least 0, not '${text}'`)
  return value
}

export interface LogSource {
  readonly path: string
  /** Resolves when the container has ended; follow ends then. */
  readonly ended: Promise<void>
}

/** Rendered output in chunks. Ends at the end of the log, or, with `follow`, when the container has ended. */
export async function* readLog(source: LogSource, query: LogQuery, signal: AbortSignal): AsyncGenerator<Buffer> {
  let left = query.limitBytes ?? Number.POSITIVE_INFINITY
  const renderer = lineRenderer(query)
  for await (const raw of rawChunks(source, query, signal)) {
    const text = renderer(raw)
    if (text.length === 0) continue
    yield text.length > left ? text.subarray(0, left) : text
    left -= text.length
    if (left <= 0) return
  }
}

/** Cuts chunks into lines and renders the whole ones. */
function lineRenderer(query: LogQuery): (chunk: Buffer) => Buffer {
  let rest = Buffer.alloc(0)
  let insideLine = false
  return (chunk) => {
    const data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const out: Buffer[] = []
    let at = 0
    for (let end = data.indexOf(0x0a, at); end >= 0; end = data.indexOf(0x0a, at)) {
      const rendered = renderLine(data.subarray(at, end), query, insideLine)
      at = end + 1
      if (rendered === undefined) continue
      insideLine = rendered.partial
      out.push(rendered.text)
    }
    rest = Buffer.from(data.subarray(at))
    return Buffer.concat(out)
  }
}

async function* rawChunks(source: LogSource, query: LogQuery, signal: AbortSignal): AsyncGenerator<Buffer> {
  if (query.tailLines === undefined) for (const path of await rotatedFiles(source.path)) yield* wholeFile(path)
  let file = await openWhenThere(source, query.follow, signal)
  if (file === undefined) return
  using changes = changesOf(source.path)
  let ended = false
  void source.ended.then(() => {
    ended = true
    changes.wake()
  })
  try {
    let position = query.tailLines === undefined ? 0 : await tailPosition(file, query.tailLines)
    for (;;) {
      const endedBefore = ended
      changes.clear()
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position)
      if (bytesRead > 0) {
        position += bytesRead
        yield buffer.subarray(0, bytesRead)
        continue
      }
      if (!query.follow || signal.aborted) return
      const rotated = await successor(file, source.path)
      if (rotated !== undefined) {
        await file.close()
        file = rotated
        position = 0
        continue
      }
      if (endedBefore) return
      await changes.next(signal)
    }
  } finally {
    await file.close()
  }
}

async function rotatedFiles(path: string): Promise<string[]> {
  const found: string[] = []
  for (let at = 1; at <= mostRotated; at += 1) {
    if ((await inodeOf(`${path}.${at}`)) === undefined) break
    found.unshift(`${path}.${at}`)
  }
  return found
}

async function* wholeFile(path: string): AsyncGenerator<Buffer> {
  await using file = await open(path, 'r')
  for await (const chunk of file.createReadStream({ highWaterMark: chunkBytes, autoClose: false })) if (Buffer.isBuffer(chunk)) yield chunk
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The file that has taken this one's place. */
async function successor(file: FileHandle, path: string): Promise<FileHandle | undefined> {
  const there = await inodeOf(path)
  return there === undefined || there === (await file.stat()).ino ? undefined : open(path, 'r')
}

async function openWhenThere({ path, ended }: LogSource, follow: boolean, signal: AbortSignal): Promise<FileHandle | undefined> {
  let over = !follow
  void ended.then(() => (over = true))
  for (;;) {
    const last = over || signal.aborted
    try {
      return await open(path, 'r')
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
      if (last) return undefined
    }
    using changes = changesOf(path)
    if ((await inodeOf(path)) === undefined) await Promise.race([changes.next(signal), ended])
  }
}

async function tailPosition(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat()
  for (let window = Math.min(size, chunkBytes); ; window = Math.min(size, window * 4)) {
    const { buffer } = await file.read(Buffer.alloc(window), 0, window, size - window)
    const start = tailStart(buffer, lines)
    if (start > 0 || window === size || window >= longestTailWindow) return size - window + start
  }
}

interface Changes extends Disposable {
  /** Forgets what happened so far. */
  clear(): void
  wake(): void
  /** Resolves at the next change since `clear`, or when the signal aborts. */
  next(signal: AbortSignal): Promise<void>
}

/** Watches the log's folder (inotify), because the file may be renamed and made anew. */
function changesOf(path: string): Changes {
  let pending = false
  let waiting: (() => void) | undefined
  const wake = (): void => {
    pending = true
    waiting?.()
  }
  const name = basename(path)
  const watcher = watch(dirname(path), (_kind, changed) => {
    if (changed === null || changed.startsWith(name)) wake()
  })
  watcher.on('error', wake)
  return {
    clear: () => void (pending = false),
    wake,
    next: (signal) =>
      new Promise((resolve) => {
        if (pending || signal.aborted) return resolve()
        waiting = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      }),
    [Symbol.dispose]: () => watcher.close(),
  }
}
