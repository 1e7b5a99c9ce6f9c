/**
 * The files of one container's log: `container.log`, which conmon writes, and what was rotated away from it, `container.log.1`,
 * `.2` …, the higher the newer, perhaps with `.gz`. A number is never given twice, so that a reader knows which file comes
 * after the one that it reads whatever is rotated meanwhile.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { readdir, rename, rm, stat, unlink, utimes } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { systemErrorCode } from '#base/fault.ts'
import type { LogBounds } from './log-options.ts'

export interface RotatedLog {
  readonly number: number
  /** Without `.gz`. */
  readonly path: string
  readonly compressed: boolean
}

export function rotatedPath(path: string, number: number): string {
  return `${path}.${number}`
}

/** Oldest first. */
export async function rotatedLogs(path: string): Promise<readonly RotatedLog[]> {
  const prefix = `${basename(path)}.`
  const found = new Map<number, RotatedLog>()
  for (const name of await namesIn(dirname(path))) {
    const match = name.startsWith(prefix) ? /^(\d{1,15})(\.gz)?$/.exec(name.slice(prefix.length)) : null
    if (match === null) continue
    const number = Number(match[1])
    // Both stand there for an instant while one is compressed.
    if (found.get(number)?.compressed === false) continue
    found.set(number, { number, path: rotatedPath(path, number), compressed: match[2] !== undefined })
  }
  return [...found.values()].sort((a, b) => a.number - b.number)
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** undefined: there is no such file. */
export async function statIfThere(path: string): Promise<{ readonly size: number; readonly ino: number; readonly mtimeMs: number } | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Removes the oldest rotated files until number and size are in their bounds, and compresses the others where that is asked for. The
 * newest stays in any case. Only to be called while conmon no longer writes to a rotated file.
 */
export async function tidyRotated(path: string, { maxBytes, maxFiles, compress }: LogBounds): Promise<void> {
  const all = await rotatedLogs(path)
  let left = maxFiles - 1
  let bytes = maxBytes * left
  for (const [index, log] of all.toReversed().entries()) {
    const { size } = (await statIfThere(log.compressed ? `${log.path}.gz` : log.path)) ?? { size: 0 }
    left -= 1
    // What grew without us is larger than it should be, and takes the place of several.
    if (left < 0 || (index > 0 && size > bytes)) {
      left = -1
      await Promise.all([rm(log.path, { force: true }), rm(`${log.path}.gz`, { force: true })])
      continue
    }
    bytes -= size
    if (compress && !log.compressed) await compressLog(log.path)
  }
}

async function compressLog(path: string): Promise<void> {
  const beside = `${path}.gz.tmp`
  const before = await statIfThere(path)
  if (before === undefined) return
  await pipeline(createReadStream(path), createGzip(), createWriteStream(beside, { mode: 0o600 }))
  // When its last line was written: readers skip by it.
  await utimes(beside, before.mtimeMs / 1000, before.mtimeMs / 1000)
  await rename(beside, `${path}.gz`)
  await unlink(path)
}
