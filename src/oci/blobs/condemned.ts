/**
 * Removing a file only while it is still old, though others may renew it at the same instant: it is put aside under the name
 * `<path>~`, looked at there, and unlinked or put back. Whoever misses it meanwhile puts it back himself (`spare`), and then the
 * remover finds nothing to unlink: no renewal is ever lost, in whichever process it happens. What a crash leaves aside is
 * spared by the next reader.
 */
import { rename, stat, unlink, utimes } from 'node:fs/promises'
import type { BigIntStats } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'

/** Ends the names of files that are put aside. */
export const condemnedSuffix = '~'

/** Unlinks the file if `isStill` says so of it at the moment nobody can renew it; false when it stays or is not there. */
export async function unlinkIf(path: string, isStill: (found: BigIntStats) => boolean): Promise<boolean> {
  const aside = path + condemnedSuffix
  if (!(await happened(rename(path, aside)))) return false
  try {
    if (isStill(await stat(aside, { bigint: true }))) return await happened(unlink(aside))
  } catch (error) {
    if (!isAbsence(error)) throw error
    return false
  }
  await spare(path)
  return false
}

/** Puts a file back that somebody is about to remove, for who missed it and will look again. */
async function spare(path: string): Promise<void> {
  await happened(rename(path + condemnedSuffix, path))
}

/** What `look` finds of a file, also when it is just being put aside or back. */
export async function unlessAside<T>(path: string, look: () => Promise<T | undefined>): Promise<T | undefined> {
  const found = await look()
  if (found !== undefined) return found
  await spare(path)
  return await look()
}

/** Makes a file young; false when it is not there. */
export async function renew(path: string, nowMs: number): Promise<boolean> {
  const now = nowMs / 1000
  return (await unlessAside(path, async () => ((await happened(utimes(path, now, now))) ? true : undefined))) ?? false
}

/** When a file was written or renewed, milliseconds since the epoch. */
export function writtenAtMs(found: BigIntStats): number {
  return Number(found.mtimeNs / 1000n) / 1000
}

/** The errors of a path that leads to nothing. */
export function isAbsence(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG'
}

async function happened(doing: Promise<void>): Promise<boolean> {
  try {
    await doing
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}
