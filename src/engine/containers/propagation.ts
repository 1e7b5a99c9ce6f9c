/** Mount propagation between the host and a container (mount_namespaces(7)) needs a host mount that takes part in it. */
import { realpath } from 'node:fs/promises'
import { Fault } from '#base/fault.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { ResolvedMount } from '../contract/containers.ts'

/** Refuses, in Docker's words, a propagation that the source's mount cannot give. */
export async function checkPropagation({ source, propagation }: ResolvedMount, mounts: Mounts): Promise<void> {
  const shared = /^r?shared$/.test(propagation)
  const slave = /^r?slave$/.test(propagation)
  if (!shared && !slave) return
  const path = await realpath(source)
  const below = (target: string): boolean => target === '/' || path === target || path.startsWith(`${target}/`)
  const holder = (await mounts.table()).filter(({ target }) => below(target)).reduce<{ readonly target: string; readonly propagation: string } | undefined>((best, mount) => (best === undefined || mount.target.length >= best.target.length ? mount : best), undefined)
  const kind = holder?.propagation ?? 'private'
  if (kind === 'shared' || (slave && kind === 'slave')) return
  throw new Fault('invalidArgument', `path ${source} is mounted on ${holder?.target ?? '/'} but it is not a ${shared ? 'shared' : 'shared or slave'} mount`)
}
