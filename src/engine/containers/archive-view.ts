/**
 * Where `docker cp` looks: in a running container at what its process sees, with volumes, binds and tmpfs; in a stopped one at its
 * snapshot, or at the volume, bind or network file that stands at the path. A volume is mounted for as long as one looks.
 */
import { open, stat } from 'node:fs/promises'
import { basename, dirname, posix } from 'node:path'
import { Fault, isFault } from '#base/fault.ts'
import { randomHex, type Random } from '#base/random.ts'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { ResolvedMount } from '../contract/containers.ts'
import type { ArchiveTree } from '../contract/snapshots.ts'
import type { VolumeMounts } from '../contract/volumes.ts'
import { mappingOfProcess, remapOf, type Remap } from '../userns/remap.ts'
import type { Entry } from './entry.ts'
import { isLive } from './lifecycle.ts'
import type { ContainerRecord } from './record.ts'

export interface ArchiveView extends AsyncDisposable {
  readonly path: string
  readonly tree?: ArchiveTree
}

interface ViewOptions {
  /** A mount that the container may only read is refused. */
  readonly writing: boolean
  readonly volumes: VolumeMounts
  readonly random: Random
  readonly remap?: Remap | undefined
}

const nothingHeld = async (): Promise<void> => undefined

export async function archiveViewOf({ record, networkFiles }: Entry, path: string, options: ViewOptions): Promise<ArchiveView> {
  const { lifecycle, mounts, spec } = record
  const wanted = posix.join('/', path)
  const mount = mounts
    .filter(({ type, target }) => type !== 'tmpfs' && (wanted === target || wanted.startsWith(`${target}/`)))
    .sort((a, b) => b.target.length - a.target.length)[0]
  if (options.writing && mount?.readonly === true) throw new Fault('permissionDenied', 'mounted volume is marked read-only')
  if (options.writing && mount === undefined && spec.security?.readonlyRootfs === true) throw new Fault('permissionDenied', 'container rootfs is marked read-only')
  if (isLive(lifecycle.status) && lifecycle.pid > 0) return { path, tree: { root: `/proc/${lifecycle.pid}/root`, ...idsOf(await mappingOfProcess(lifecycle.pid)) }, [Symbol.asyncDispose]: nothingHeld }
  // What is not shifted on its way into the container has owners of the machine.
  const ownIds = idsOf(remapOf(options.remap, spec)?.mapping)
  // Theirs are mounted over a volume at /etc as well.
  const file = mount?.target === wanted ? undefined : new Map(Object.entries({ '/etc/hosts': networkFiles.hosts, '/etc/hostname': networkFiles.hostname, '/etc/resolv.conf': networkFiles.resolvConf })).get(wanted)
  if (file !== undefined) {
    // Before its first start the container has them empty, as in Docker.
    await (await open(file, 'a')).close()
    return { path: `/${basename(file)}`, tree: { root: dirname(file), ...ownIds }, [Symbol.asyncDispose]: nothingHeld }
  }
  // What an image holds is there only while the container runs.
  if (mount === undefined || mount.type === 'image') return { path, [Symbol.asyncDispose]: nothingHeld }
  const rest = path.replace(/^\/*/, '/').slice(mount.target.length)
  await using looking = new AsyncDisposableStack()
  const source = mount.type === 'volume' ? looking.use(await mountedVolume(mount, record, options)).source : mount.source
  const isFolder = (await stat(source)).isDirectory()
  const held = looking.move()
  const ids = mount.type === 'bind' ? ownIds : {}
  return { ...(isFolder ? { path: rest === '' ? '/' : rest, tree: { root: source, ...ids, name: basename(mount.target) } } : { path: `/${basename(source)}`, tree: { root: dirname(source), ...ids } }), [Symbol.asyncDispose]: () => held.disposeAsync() }
}

function idsOf(ids: IdMapping | undefined): Pick<ArchiveTree, 'ids'> {
  return ids === undefined ? {} : { ids }
}

/** What a container that does not run would find there: the volume's file system, or a part of it. */
async function mountedVolume({ name = '', target }: ResolvedMount, { spec }: ContainerRecord, { volumes, random }: ViewOptions): Promise<AsyncDisposable & { readonly source: string }> {
  const holder = `cp-${randomHex(random, 16)}`
  const asked = spec.mounts?.find((mount) => mount.target === target)
  const source = asked?.type === 'volume' && asked.subpath ? await volumes.mountSubpath(name, holder, asked.subpath) : await volumes.mount(name, holder)
  return { source, [Symbol.asyncDispose]: () => volumes.unmount(name, holder) }
}

/** Docker's words for a path that is not there. */
export function missingPath(error: unknown, ref: string, path: string): unknown {
  return isFault(error, 'notFound') && !/No such container/.test(error.message) ? new Fault('notFound', `Could not find the file ${path} in container ${ref}`, { cause: error }) : error
}
