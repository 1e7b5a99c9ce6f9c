/** Folders that are made for a container belong to its root, whoever that is on this machine. */
import { chown, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Owner } from '../userns/remap.ts'

/** With its parents (0755 less the umask, or `mode`). Answers whether anything was missing. `owner` undefined: ours. */
export async function makeFolders(path: string, owner: Owner | undefined, mode?: number): Promise<boolean> {
  const first = await mkdir(path, { recursive: true, ...(mode === undefined ? {} : { mode }) })
  if (first === undefined) return false
  if (owner !== undefined) for (let folder = path; folder.length >= first.length; folder = dirname(folder)) await chown(folder, owner.uid, owner.gid)
  return true
}
