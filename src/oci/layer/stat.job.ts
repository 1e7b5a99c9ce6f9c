/** Confined job: describes one path inside the root, and where it leads. */
import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { StatResult } from './jobs.ts'
import { typeOf } from './walk.ts'

export async function job(args: { readonly path: string }): Promise<StatResult> {
  const path = args.path === '' ? '/' : args.path
  try {
    // A trailing slash asks for the folder behind a link.
    const found = path.length > 1 && path.endsWith('/') ? statSync(path, { bigint: true }) : lstatSync(path, { bigint: true })
    return {
      name: basename(path) || '/',
      kind: typeOf(found) ?? 'socket',
      mode: Number(found.mode & 0o7777n),
      sizeBytes: Number(found.size),
      modifiedNs: found.mtimeNs,
      linkTarget: found.isSymbolicLink() ? readlinkSync(path) : '',
      resolved: resolve(path),
    }
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') throw new Fault('notFound', `no such file or directory: ${path}`, { cause: error })
    throw error
  }
}

function resolve(path: string): StatResult['resolved'] {
  try {
    const real = realpathSync(path)
    return { path: real, isFolder: statSync(real).isDirectory() }
  } catch (error) {
    // A link to nothing.
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ELOOP') return undefined
    throw error
  }
}
