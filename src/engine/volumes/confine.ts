/**
 * Paths inside a root that we do not trust. Each component is looked at without following it; links are followed by us, with
 * `/` and `..` ending at the root. Meant for trees that nobody changes meanwhile (a container that has not started).
 */
import { lstat, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'

/** As many as the kernel follows (path_resolution(7)). */
const maxLinks = 40

/** The host path of `path` inside `root`, all links resolved; undefined when there is no such file. */
export async function resolveInside(root: string, path: string): Promise<string | undefined> {
  const pending = path.split('/').reverse()
  const resolved: string[] = []
  let links = 0
  while (pending.length > 0) {
    const part = pending.pop() ?? ''
    if (part === '' || part === '.') continue
    if (part === '..') {
      resolved.pop()
      continue
    }
    const here = join(root, ...resolved, part)
    const target = await linkTarget(here)
    if (target === undefined) return undefined
    if (target === false) {
      resolved.push(part)
      continue
    }
    links += 1
    if (links > maxLinks) throw new Fault('invalidArgument', `${path} goes through more than ${maxLinks} links`)
    if (target.startsWith('/')) resolved.length = 0
    pending.push(...target.split('/').reverse())
  }
  return join(root, ...resolved)
}

/** Where a link points; false for what is no link; undefined for what is not there. */
async function linkTarget(path: string): Promise<string | false | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : false
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}
