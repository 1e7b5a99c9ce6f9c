/** What the files of a folder take, as `docker system df` counts it (moby `daemon/internal/directory`): content only, folders take nothing. */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from './fault.ts'

/** Files that are looked at together. */
const batchSize = 64

/** Bytes of the files below a folder; a file with several names counts once, and what vanishes meanwhile nothing. */
export async function treeSize(folder: string): Promise<number> {
  let total = 0
  const counted = new Set<string>()
  const pending = [folder]
  for (let current = pending.pop(); current !== undefined; current = pending.pop()) {
    const entries = (await ifThere(readdir(current, { withFileTypes: true }))) ?? []
    const paths = entries.map((entry) => ({ path: join(entry.parentPath, entry.name), isFolder: entry.isDirectory() }))
    for (const { path, isFolder } of paths) if (isFolder) pending.push(path)
    const files = paths.filter(({ isFolder }) => !isFolder)
    for (let at = 0; at < files.length; at += batchSize) {
      for (const stats of await Promise.all(files.slice(at, at + batchSize).map(({ path }) => ifThere(lstat(path))))) {
        if (stats === undefined) continue
        const inode = `${stats.dev}:${stats.ino}`
        if (stats.nlink > 1 && counted.has(inode)) continue
        if (stats.nlink > 1) counted.add(inode)
        total += stats.size
      }
    }
  }
  return total
}

async function ifThere<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
