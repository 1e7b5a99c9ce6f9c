/** `NodeFiles` on the machine: node:fs below the agent's own folder, mounts through the kernel room. */
import { constants } from 'node:fs'
import type { Stats } from 'node:fs'
import { chmod, chown, lstat, mkdir, mkdtemp, open, readdir, readlink, realpath, rename, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { FileKind, NodeFiles, TreeFile } from '../ports.ts'

export function realNodeFiles(mounts: Pick<Mounts, 'mount' | 'unmount' | 'table'>): NodeFiles {
  return {
    async makeDirectory(path, { mode = 0o755, gid } = {}) {
      await mkdir(path, { recursive: true })
      await setOwnerAndMode(path, mode, gid)
    },
    async mountMemory(path, { sizeBytes, gid, mode = 0o777 }) {
      await mkdir(path, { recursive: true })
      const mounted = await mounts.table(path)
      if (!mounted.some(({ target }) => target === path)) {
        await mounts.mount({ source: 'tmpfs', target: path, type: 'tmpfs', flags: ['nosuid', 'nodev'], data: `mode=0777${sizeBytes === undefined ? '' : `,size=${sizeBytes}`}` })
      }
      await setOwnerAndMode(path, mode, gid)
    },
    writeTree,
    async writeFile(path, content, mode = 0o644) {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, content, { mode })
      await chmod(path, mode)
    },
    readEnd,
    async kindOf(path) {
      const found = await present(stat(path))
      return found === undefined ? undefined : kindOf(found)
    },
    async sizeOf(path) {
      return (await present(stat(path)))?.size
    },
    rotate,
    subPath,
    async removeTree(path) {
      await unmountBelow(mounts, path)
      await rm(path, { recursive: true, force: true })
    },
    unmountBelow: (path) => unmountBelow(mounts, path),
    async names(path) {
      return (await present(readdir(path))) ?? []
    },
  }
}

/** The value, or undefined when the file is not there. */
async function present<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    const code = systemErrorCode(error)
    // ELOOP: a link where a plain file is expected is not followed.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw error
  }
}

function kindOf(found: Stats): FileKind {
  if (found.isFile()) return 'file'
  if (found.isDirectory()) return 'directory'
  if (found.isSocket()) return 'socket'
  if (found.isCharacterDevice()) return 'charDevice'
  return found.isBlockDevice() ? 'blockDevice' : 'other'
}

async function setOwnerAndMode(path: string, mode: number, gid: number | undefined): Promise<void> {
  if (gid !== undefined) await chown(path, 0, gid)
  await chmod(path, gid === undefined ? mode : mode | 0o2070)
}

async function unmountBelow(mounts: Pick<Mounts, 'unmount' | 'table'>, path: string): Promise<void> {
  const table = await mounts.table(path)
  for (const { target } of table.toReversed()) await mounts.unmount(target, { lazy: true })
}

async function readEnd(path: string, maxBytes: number): Promise<Buffer | undefined> {
  const file = await present(open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW))
  if (file === undefined) return undefined
  await using owned = file
  const found = await owned.stat()
  if (!found.isFile()) return undefined
  const length = Math.min(found.size, maxBytes)
  const { buffer, bytesRead } = await owned.read(Buffer.alloc(length), 0, length, found.size - length)
  return buffer.subarray(0, bytesRead)
}

/**
 * The layout that applications know from upstream (Kubernetes, "Mounted ConfigMaps are updated automatically"):
 * `..2026_01_02_03_04_05.123/`, `..data` → that folder, and one link per top-level name → `..data/name`.
 */
async function writeTree(path: string, files: ReadonlyMap<string, TreeFile>, { gid }: { readonly gid?: number } = {}): Promise<boolean> {
  await mkdir(path, { recursive: true })
  for (const name of files.keys()) checkInside(name)
  const dataLink = join(path, '..data')
  const oldData = await present(readlink(dataLink))
  if (oldData !== undefined && (await sameTree(join(path, oldData), files))) return false
  const fresh = await mkdtemp(join(path, '..v'))
  await chmod(fresh, 0o755)
  for (const [name, { content, mode }] of files) await writeTreeFile(join(fresh, name), content, { mode, gid })
  if (gid !== undefined) await chown(path, 0, gid)
  const newLink = join(path, '..data_tmp')
  await rm(newLink, { force: true })
  await symlink(relative(path, fresh), newLink)
  await rename(newLink, dataLink)
  const tops = new Set([...files.keys()].map((name) => name.split('/')[0] ?? name))
  for (const top of tops) {
    const link = join(path, top)
    if ((await present(readlink(link))) === undefined) await symlink(join('..data', top), link)
  }
  for (const name of await readdir(path)) if (!name.startsWith('..') && !tops.has(name)) await unlink(join(path, name))
  if (oldData !== undefined) await rm(join(path, oldData), { recursive: true, force: true })
  return true
}

function checkInside(name: string): void {
  if (name === '' || name.startsWith('/') || name.split('/').some((part) => part === '..' || part === '')) {
    throw new Fault('invalidArgument', `the volume's file name '${name}' must be a relative path without '..'`)
  }
}

async function writeTreeFile(path: string, content: Buffer, { mode, gid }: { readonly mode: number; readonly gid: number | undefined }): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content, { mode })
  if (gid !== undefined) await chown(path, 0, gid)
  await chmod(path, gid === undefined ? mode : mode | 0o040)
}

async function sameTree(folder: string, files: ReadonlyMap<string, TreeFile>): Promise<boolean> {
  const names = (await present(readdir(folder, { recursive: true, withFileTypes: true }))) ?? []
  const found = names.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)))
  if (found.length !== files.size) return false
  for (const [name, { content, mode }] of files) {
    const path = join(folder, name)
    const file = await present(lstat(path))
    if (file === undefined || file.size !== content.length || (file.mode & 0o737) !== (mode & 0o737)) return false
    if (!(await readEnd(path, content.length))?.equals(content)) return false
  }
  return true
}

async function rotate(path: string, keep: number): Promise<void> {
  for (let at = keep; at >= 1; at -= 1) {
    const from = at === 1 ? path : `${path}.${at - 1}`
    if ((await present(stat(from))) !== undefined) await rename(from, `${path}.${at}`)
  }
}

async function subPath(root: string, sub: string): Promise<string> {
  const realRoot = await realpath(root)
  let at = realRoot
  for (const part of sub.split('/').filter((each) => each !== '' && each !== '.')) {
    if (part === '..') throw new Fault('invalidArgument', `subPath '${sub}' must not contain '..'`)
    const next = join(at, part)
    if ((await present(lstat(next))) === undefined) await mkdir(next, { mode: 0o755 })
    at = await realpath(next)
    if (at !== realRoot && !at.startsWith(realRoot + sep)) throw new Fault('invalidArgument', `subPath '${sub}' leaves its volume through a link`)
  }
  return resolve(at)
}
