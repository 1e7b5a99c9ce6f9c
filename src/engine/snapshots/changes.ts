/** What an upper folder says against the stack below it: `docker diff` and sizes. */
import type { BigIntStats } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import { folderAttributes, type ListedEntry } from '#oci/layer/jobs.ts'
import type { SnapshotChange } from '../contract/snapshots.ts'

/** `lowerRoot` shows the parent's tree (nobody writes to it); undefined when there is no parent. Entries come in path order. */
export async function changesAgainst(entries: readonly ListedEntry[], lowerRoot: string | undefined): Promise<readonly SnapshotChange[]> {
  const changes: SnapshotChange[] = []
  /** Folders that are real folders below as well; a link there must not be followed. */
  const shared = new Set<string>([''])
  /** Folders that are as they are below: told only when something in them changed. */
  let same: string[] = []
  const push = (change: SnapshotChange): void => {
    for (const path of same.filter((folder) => change.path.startsWith(`${folder}/`))) changes.push({ path, kind: 'modified' })
    same = same.filter((folder) => !change.path.startsWith(`${folder}/`))
    changes.push(change)
  }
  for (const entry of entries) {
    const path = Buffer.from(entry.path).toString('utf8')
    const parent = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
    const below = lowerRoot !== undefined && shared.has(parent) ? await statOf(join(lowerRoot, path)) : undefined
    if (entry.kind === 'directory' && below?.isDirectory() === true && !entry.opaque) {
      shared.add(path)
      if (entry.attributes === folderAttributes(below)) {
        same.push(`/${path}`)
        continue
      }
    }
    if (entry.kind !== 'whiteout') push({ path: `/${path}`, kind: below === undefined ? 'added' : 'modified' })
    else if (below !== undefined) push({ path: `/${path}`, kind: 'deleted' })
  }
  return changes
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** Bytes of file content (a file with several names counts once) and number of entries. */
export function usageOf(entries: readonly ListedEntry[]): { readonly sizeBytes: number; readonly inodes: number } {
  const counted = new Set<string>()
  let sizeBytes = 0
  for (const entry of entries) {
    if (entry.inode !== undefined && counted.has(entry.inode)) continue
    if (entry.inode !== undefined) counted.add(entry.inode)
    sizeBytes += entry.sizeBytes
  }
  return { sizeBytes, inodes: entries.length }
}
