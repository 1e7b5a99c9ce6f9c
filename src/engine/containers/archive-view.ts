/**
 * Where `docker cp` looks: in a running container at what its process sees, with volumes, binds and tmpfs; in a stopped one at its
 * snapshot, or at the volume, bind or network file that stands at the path.
 */
import { open, stat } from 'node:fs/promises'
import { basename, dirname, posix } from 'node:path'
import { Fault, isFault } from '#base/fault.ts'
import type { ArchiveTree } from '../contract/snapshots.ts'
import type { Entry } from './entry.ts'
import { isLive } from './lifecycle.ts'

export interface ArchiveView {
  readonly path: string
  readonly tree?: ArchiveTree
}

/** `writing`: a mount that the container may only read is refused. */
export async function archiveViewOf({ record, networkFiles }: Entry, path: string, options: { readonly writing: boolean }): Promise<ArchiveView> {
  const { lifecycle, mounts, spec } = record
  const wanted = posix.join('/', path)
  const mount = mounts
    .filter(({ type, target }) => type !== 'tmpfs' && (wanted === target || wanted.startsWith(`${target}/`)))
    .sort((a, b) => b.target.length - a.target.length)[0]
  if (options.writing && mount?.readonly === true) throw new Fault('permissionDenied', 'mounted volume is marked read-only')
  if (options.writing && mount === undefined && spec.security?.readonlyRootfs === true) throw new Fault('permissionDenied', 'container rootfs is marked read-only')
  if (isLive(lifecycle.status) && lifecycle.pid > 0) return { path, tree: { root: `/proc/${lifecycle.pid}/root` } }
  // Theirs are mounted over a volume at /etc as well.
  const file = mount?.target === wanted ? undefined : new Map(Object.entries({ '/etc/hosts': networkFiles.hosts, '/etc/hostname': networkFiles.hostname, '/etc/resolv.conf': networkFiles.resolvConf })).get(wanted)
  if (file !== undefined) {
    // Before its first start the container has them empty, as in Docker.
    await (await open(file, 'a')).close()
    return { path: `/${basename(file)}`, tree: { root: dirname(file) } }
  }
  if (mount === undefined) return { path }
  const rest = path.replace(/^\/*/, '/').slice(mount.target.length)
  const isFolder = (await stat(mount.source)).isDirectory()
  if (isFolder) return { path: rest === '' ? '/' : rest, tree: { root: mount.source, name: basename(mount.target) } }
  return { path: `/${basename(mount.source)}`, tree: { root: dirname(mount.source) } }
}

/** Docker's words for a path that is not there. */
export function missingPath(error: unknown, ref: string, path: string): unknown {
  return isFault(error, 'notFound') && !/No such container/.test(error.message) ? new Fault('notFound', `Could not find the file ${path} in container ${ref}`, { cause: error }) : error
}
