/** Making and entering namespaces, run in a kernel worker: unshare(2), setns(2), pins by bind mount. Sync fs only. */
import { closeSync, existsSync, openSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import { errnoFault } from '../../contract/errno.ts'
import { idMapText } from '../../contract/id-mapping.ts'
import type { NamespaceKind, NamespacesRequest } from '../../contract/namespaces.ts'
import { check, libc, namespaceFlags } from '../libc.ts'
import { loopbackUp } from './links.ts'
import { unmount } from './mounts.ts'

const MS_BIND = 4096
/** statfs(2) f_type of the namespace file system. */
const NSFS_MAGIC = 0x6e736673

/** Runs `work` with this thread inside the network namespace at `path` (none: stays where it is). */
export function inNetworkNamespace<T>(path: string | undefined, work: () => T): T {
  if (path === undefined) return work()
  const own = openSync('/proc/thread-self/ns/net', 'r')
  try {
    const target = openNamespace(path)
    try {
      check(libc.setns(target, namespaceFlags.net), `enter the network namespace ${path}`)
    } finally {
      closeSync(target)
    }
    try {
      return work()
    } finally {
      leave(own, 'net')
    }
  } finally {
    closeSync(own)
  }
}

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `open the network namespace ${path}`)
  }
}

/** A thread that cannot go home would run every later call in the wrong namespace: nothing sensible is left to do. */
function leave(own: number, kind: NamespaceKind): void {
  if (libc.setns(own, namespaceFlags[kind]) < 0) {
    process.stderr.write(`berth: a kernel worker cannot return to its own ${kind} namespace\n`)
    process.abort()
  }
}

/** Writes a sysctl as this thread sees it. `name` with dots or slashes. */
export function writeSysctl(name: string, value: string): void {
  const path = `/proc/sys/${name.includes('/') ? name : name.replaceAll('.', '/')}`
  if (path.includes('/../')) throw errnoFault('EINVAL', `set sysctl ${name}`)
  try {
    writeFileSync(path, value, { flag: 'r+' })
  } catch (error) {
    const errno = systemErrorCode(error) ?? 'EIO'
    throw errnoFault(errno === 'ENOENT' ? 'EINVAL' : errno, `set sysctl ${name}=${value}`)
  }
}

const kinds: readonly NamespaceKind[] = ['net', 'ipc', 'uts']

export function createNamespaces(request: NamespacesRequest): void {
  const wanted = kinds.filter((kind) => request.pinAt[kind] !== undefined)
  const own = wanted.map((kind) => ({ kind, fd: openSync(`/proc/thread-self/ns/${kind}`, 'r') }))
  const pinned: string[] = []
  try {
    for (const { kind } of own) {
      checkFree(request.pinAt[kind] ?? '')
      pinned.push(request.pinAt[kind] ?? '')
    }
    check(libc.unshare(wanted.reduce((flags, kind) => flags | namespaceFlags[kind], 0)), `create namespaces ${wanted.join(', ')}`)
    try {
      fillNamespaces(request)
      for (const { kind } of own) {
        const path = request.pinAt[kind] ?? ''
        check(libc.mount(`/proc/thread-self/ns/${kind}`, path, null, MS_BIND, null), `pin the ${kind} namespace at ${path}`)
      }
    } finally {
      for (const { kind, fd } of own) leave(fd, kind)
    }
  } catch (error) {
    for (const path of pinned) removeNamespace({ path })
    throw error
  } finally {
    for (const { fd } of own) closeSync(fd)
  }
}

/** Pins what a process that waits in new namespaces stands in, and fills it. All or nothing. */
export function pinNamespacesOf({ pid, pinAt, owner, sysctls }: Pick<NamespacesRequest, 'pinAt' | 'owner' | 'sysctls'> & { readonly pid: number }): void {
  const pinned: string[] = []
  try {
    if (owner !== undefined && 'mapping' in owner) {
      for (const [file, ranges] of [['uid_map', owner.mapping.uids], ['gid_map', owner.mapping.gids]] as const) writeIdMap(`/proc/${pid}/${file}`, idMapText(ranges))
    }
    const wanted = { user: owner !== undefined && 'mapping' in owner ? owner.pinAt : undefined, net: pinAt.net }
    for (const kind of ['user', 'net'] as const) {
      const path = wanted[kind]
      if (path === undefined) continue
      checkFree(path)
      pinned.push(path)
      check(libc.mount(`/proc/${pid}/ns/${kind}`, path, null, MS_BIND, null), `pin the ${kind} namespace at ${path}`)
    }
    if (pinAt.net !== undefined) inNetworkNamespace(pinAt.net, () => fillNamespaces({ pinAt, ...(sysctls === undefined ? {} : { sysctls }) }))
  } catch (error) {
    for (const path of pinned) removeNamespace({ path })
    throw error
  }
}

function writeIdMap(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'r+' })
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `map ids by ${path} as ${JSON.stringify(text)}`)
  }
}

/** An empty file left by an earlier boot is taken over; a live pin is not. */
function checkFree(path: string): void {
  if (isPinned({ path })) throw errnoFault('EEXIST', `pin a namespace at ${path}`)
  try {
    writeFileSync(path, '', { flag: 'a', mode: 0o600 })
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `pin a namespace at ${path}`)
  }
}

function fillNamespaces(request: NamespacesRequest): void {
  if (request.pinAt.net !== undefined) loopbackUp()
  if (request.pinAt.uts !== undefined && request.hostname !== undefined) {
    check(libc.sethostname(request.hostname, Buffer.byteLength(request.hostname)), `set the host name ${request.hostname}`)
  }
  for (const [name, value] of Object.entries(request.sysctls ?? {})) writeSysctl(name, value)
}

export function removeNamespace(request: { readonly path: string }): void {
  unmount({ target: request.path, lazy: true })
  rmSync(request.path, { force: true })
}

export function isPinned(request: { readonly path: string }): boolean {
  return existsSync(request.path) && statfsSync(request.path).type === NSFS_MAGIC
}
