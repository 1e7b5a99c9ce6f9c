/** Files that become part of a tree without being copied: hard links take the place of empty files. */
import { chmod, chown, copyFile, link, lstat, realpath, stat, unlink, utimes } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { FolderTimes } from '#oci/layer/jobs.ts'
import type { FileToLink } from '../contract/snapshots.ts'

/** `root` is a tree that nobody else changes meanwhile. Answers the times that folders of it had: they have others now. */
export async function linkFiles(root: string, files: readonly FileToLink[]): Promise<readonly FolderTimes[]> {
  const folders = new Map<string, FolderTimes>()
  const base = await realpath(root, { encoding: 'buffer' })
  for (const { path, source } of files) {
    const target = Buffer.concat([base, Buffer.from(path, 'latin1')])
    await mustBeEmptyFile(target)
    const folder = dirname(path)
    if (!folders.has(folder)) folders.set(folder, await timesOf(base, folder))
    await unlink(target)
    try {
      await link(source, target)
    } catch (error) {
      if (systemErrorCode(error) !== 'EXDEV') throw error
      await copyWhole(source, target)
    }
  }
  return [...folders.values()]
}

async function timesOf(base: Buffer, folder: string): Promise<FolderTimes> {
  const path = Buffer.from(folder, 'latin1')
  const { atimeNs, mtimeNs } = await lstat(Buffer.concat([base, path]), { bigint: true })
  return { path, accessedNs: atimeNs, modifiedNs: mtimeNs }
}

/** No link above it leads elsewhere, either. */
async function mustBeEmptyFile(target: Buffer): Promise<void> {
  const folder = dirname(target.toString('latin1'))
  const real = await realpath(Buffer.from(folder, 'latin1'), { encoding: 'buffer' })
  const found = await lstat(target)
  if (real.toString('latin1') !== folder || !found.isFile() || found.size > 0 || found.nlink > 1) throw new Fault('internal', `${target.toString()} is no empty file`)
}

async function copyWhole(source: string, target: Buffer): Promise<void> {
  const { uid, gid, mode, atimeMs, mtimeMs } = await stat(source)
  await copyFile(source, target)
  await chown(target, uid, gid)
  // After the owner, whose change clears set-user-id bits.
  await chmod(target, mode)
  await utimes(target, atimeMs / 1000, mtimeMs / 1000)
}
