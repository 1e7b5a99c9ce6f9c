/**
 * What a container itself changed: the runtime makes empty files and folders to mount over (hosts, resolv.conf, /proc …), which are no
 * change of the container's (`docker diff` does not show them). Most have their place in the init layer already (`snapshots/init-layers.ts`).
 */
import type { SnapshotChange } from '../contract/snapshots.ts'

const mountPoints = new Set(['/.dockerenv', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/sbin/docker-init', '/proc', '/sys', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue', '/dev/console', '/sys/fs', '/sys/fs/cgroup'])
const theirFolders = new Set(['/etc', '/sbin', '/dev', '/sys', '/sys/fs'])

export function withoutMountPoints(changes: readonly SnapshotChange[]): SnapshotChange[] {
  const kept = changes.filter(({ path, kind }) => kind !== 'added' || !mountPoints.has(path))
  if (kept.length === changes.length) return kept
  // A folder that changed only because a mount point was made in it has not changed either.
  return kept.filter(({ path, kind }) => kind !== 'modified' || !theirFolders.has(path) || kept.some((other) => other.path.startsWith(`${path}/`)))
}
