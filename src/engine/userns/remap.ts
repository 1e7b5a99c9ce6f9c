/**
 * The remapping of user namespaces (docs/decisions/0012): ids inside containers stand for others of the machine, and what lies on the disk does
 * not know of it. Layers, upper folders and volumes keep the ids that the container sees; mounts shift them on the way.
 */
import { mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import { hostIdOf, isIdentity, overflowId, parseIdMap, type IdMapping, type IdRange } from '#linux/contract/id-mapping.ts'
import type { Namespaces } from '#linux/contract/namespaces.ts'
import type { ContainerSpec } from '../contract/containers.ts'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface Remap {
  readonly mapping: IdMapping
  /** Who the containers' root is on this machine. */
  readonly root: Owner
  /** The user namespace by which mounts are shifted; pinned. */
  readonly mountNamespace: string
}

/**
 * On the disk nobody has this id. In mounts it stands for our own root, without which overlayfs could make no work folder and we
 * no file: the kernel refuses to write where the writer's id has no counterpart.
 */
const ownRootOnDisk = 4_294_967_294

export interface OpenRemapOptions {
  readonly mapping: IdMapping
  readonly namespaces: Namespaces
  /** Of its own, lost with the machine's uptime. */
  readonly folder: string
  /** Below these the containers' roots lie. */
  readonly roots: readonly string[]
}

/** Fault: `invalidArgument` where the containers' root could not come to its files. */
export async function openRemap({ mapping, namespaces, folder, roots }: OpenRemapOptions): Promise<Remap & AsyncDisposable> {
  for (const root of roots) await requireWayTo(root)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const mountNamespace = join(folder, `user-${mappingName(mapping)}`)
  if (!(await namespaces.pinned(mountNamespace))) await namespaces.create({ pinAt: {}, owner: { mapping: { uids: withOwnRoot(mapping.uids), gids: withOwnRoot(mapping.gids) }, pinAt: mountNamespace } })
  return { mapping, root: ownerOf(mapping, { uid: 0, gid: 0 }), mountNamespace, [Symbol.asyncDispose]: () => namespaces.remove(mountNamespace) }
}

/** The runtime goes there as the containers' root, which is a stranger on this machine. Fault: `invalidArgument`. */
export async function requireWayTo(root: string): Promise<void> {
  for (let folder = root; folder !== '/'; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) throw new Fault('invalidArgument', `userns-remap: ${folder} lets nobody but its owner through to ${root}, where the root of remapped containers has to come: allow it with chmod o+x ${folder}`)
  }
}

function withOwnRoot(ranges: readonly IdRange[]): readonly IdRange[] {
  return [...ranges, { containerId: ownRootOnDisk, hostId: 0, size: 1 }]
}

/** A name for a folder: `0-100000-65536` for each range of users, the same for groups behind an underscore. */
export function mappingName({ uids, gids }: IdMapping): string {
  return [uids, gids].map((ranges) => ranges.map(({ containerId, hostId, size }) => `${containerId}-${hostId}-${size}`).join('+')).join('_')
}

/** From the name that `mappingName` gave. */
export function mappingOfName(name: string): IdMapping {
  const [uids = [], gids = []] = name.split('_').map((ranges) => parseIdMap(ranges.replaceAll('+', '\n').replaceAll('-', ' ')))
  return { uids, gids }
}

/** Pods never are: their user namespaces are Kubernetes' matter. */
export function remapOf(remap: Remap | undefined, { namespace, usernsMode }: Pick<ContainerSpec, 'namespace' | 'usernsMode'>): Remap | undefined {
  return namespace === 'docker' && usernsMode !== 'host' ? remap : undefined
}

/** Who stands on this machine for somebody inside. */
export function ownerOf({ uids, gids }: IdMapping, { uid, gid }: Owner): Owner {
  return { uid: hostIdOf(uids, uid) ?? overflowId, gid: hostIdOf(gids, gid) ?? overflowId }
}

/** How the ids of a running process are mapped; undefined: not at all. */
export async function mappingOfProcess(pid: number): Promise<IdMapping | undefined> {
  const [uids, gids] = await Promise.all(['uid_map', 'gid_map'].map(async (file) => parseIdMap((await readTextIfThere(`/proc/${pid}/${file}`)) ?? '')))
  const mapping = { uids: uids ?? [], gids: gids ?? [] }
  return isIdentity(mapping) ? undefined : mapping
}
