/** Confined job: lists an overlay's upper folder in path order, for `docker diff` and `docker ps -s`. */
import { lstatSync, readdirSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import type { JobContext } from '#linux/contract/confined.ts'
import { folderAttributes, type ListedEntry } from './jobs.ts'
import { isWhiteoutNode, typeOf } from './walk.ts'

export async function job(_args: undefined, context: JobContext): Promise<ListedEntry[]> {
  const found: ListedEntry[] = []
  const visit = (folder: Buffer): void => {
    for (const name of readdirSync(Buffer.concat([slash, folder]), { encoding: 'buffer' }).sort((a, b) => a.compare(b))) {
      const path = folder.length === 0 ? name : Buffer.concat([folder, slash, name])
      const absolute = Buffer.concat([slash, path])
      const stats = lstatSync(absolute, { bigint: true, throwIfNoEntry: false })
      if (stats === undefined) continue
      found.push(describe(path, stats, stats.isDirectory() && context.files.xattrs(absolute).get('trusted.overlay.opaque')?.toString() === 'y'))
      if (stats.isDirectory()) visit(path)
    }
  }
  visit(Buffer.alloc(0))
  return found
}

const slash = Buffer.from('/')

function describe(path: Buffer, stats: BigIntStats, opaque: boolean): ListedEntry {
  const kind = isWhiteoutNode(stats) ? 'whiteout' : (typeOf(stats) ?? 'socket')
  return { path, kind, opaque, sizeBytes: stats.isFile() || stats.isSymbolicLink() ? Number(stats.size) : 0, ...(stats.nlink > 1n && stats.isFile() ? { inode: `${stats.dev}:${stats.ino}` } : {}), ...(stats.isDirectory() ? { attributes: folderAttributes(stats) } : {}) }
}
