/**
 * The file systems of one container on the host, while it runs: its root, its volumes, binds and image mounts, a /dev/shm that others may
 * share. Where its users are remapped (docs/decisions/0012), what lies on the disk is mounted so that it sees its own.
 */
import { mkdir, rmdir, stat } from 'node:fs/promises'
import { unreachable } from '#base/assert.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { ContainerMount, ResolvedMount } from '../contract/containers.ts'
import type { ImageResolver } from '../contract/images.ts'
import type { SnapshotMounter } from '../contract/snapshots.ts'
import type { VolumeMounts } from '../contract/volumes.ts'
import { remapOf, type Owner, type Remap } from '../userns/remap.ts'
import { rootfsPath, type Entry, type EntryPaths } from './entry.ts'
import { ImageMounts } from './image-mounts.ts'
import { makeFolders } from './own-folders.ts'
import { PlainBinds } from './plain-binds.ts'
import { checkPropagation } from './propagation.ts'
import { SharedMemory } from './shared-memory.ts'
import { defaultShmBytes, type LaunchMount } from './spec.ts'

export interface ContainerMountsOptions {
  readonly snapshots: SnapshotMounter
  readonly images: ImageResolver
  readonly volumes: VolumeMounts
  readonly mounts: Mounts
  readonly paths: EntryPaths
  /** Absent: containers have the machine's ids. */
  readonly remap?: Remap | undefined
  /** Another container, for `container:` modes. */
  readonly find: (ref: string) => Entry
}

export class ContainerMounts {
  readonly #options: ContainerMountsOptions
  readonly #sharedMemory: SharedMemory
  readonly #plainBinds: PlainBinds
  readonly images: ImageMounts

  constructor(options: ContainerMountsOptions) {
    this.#options = options
    this.#sharedMemory = new SharedMemory({ mounts: options.mounts, root: `${options.paths.runDir}/shm` })
    this.images = new ImageMounts({ ...options, root: `${options.paths.runDir}/images` })
    this.#plainBinds = new PlainBinds({ mounts: options.mounts, root: `${options.paths.runDir}/binds` })
  }

  #remapOf({ record }: Entry): Remap | undefined {
    return remapOf(this.#options.remap, record.spec)
  }

  /** Mounts its root, at `rootfs`, and what is mounted inside, as far as possible at the same time. */
  open(entry: Entry, rootfs: string): { readonly rooted: Promise<void>; readonly mounted: Promise<readonly LaunchMount[]> } {
    if (this.#remapOf(entry) === undefined) return { rooted: this.#mountPlain(entry, rootfs), mounted: this.#mountVolumes(entry) }
    // A volume that was filled is another folder afterwards than the one that would have been shifted.
    const rooted = this.#mountShifted(entry, rootfs)
    return { rooted, mounted: rooted.then(() => this.#mountVolumes(entry)) }
  }

  /** What the image holds where a new volume is mounted becomes the volume's first content: at the first start, once root and volumes are mounted. */
  async fill(entry: Entry, rootfs: string): Promise<void> {
    if (entry.record.lifecycle.startedAtNs === 0n && this.#remapOf(entry) === undefined) await this.#copyUp(entry, rootfs)
  }

  async #mountPlain({ id, record }: Entry, rootfs: string): Promise<void> {
    await mkdir(rootfs, { recursive: true })
    await this.#options.snapshots.mount(id, rootfs, { volatile: record.spec.autoRemove === true })
  }

  /** What goes to the disk unshifted is copied before the root is mounted shifted. */
  async #mountShifted(entry: Entry, rootfs: string): Promise<void> {
    const { snapshots, volumes } = this.#options
    const { id, record } = entry
    await mkdir(rootfs, { recursive: true })
    const fresh = record.lifecycle.startedAtNs === 0n ? record.mounts.filter(({ type }) => type === 'volume') : []
    if (fresh.length > 0) {
      for (const { name = '' } of fresh) await volumes.mount(name, id)
      await snapshots.mount(id, rootfs)
      try {
        await this.#copyUp(entry, rootfs)
      } finally {
        await snapshots.unmount(rootfs)
      }
    }
    await snapshots.mount(id, rootfs, { volatile: record.spec.autoRemove === true, shifted: true })
  }

  /** The /dev/shm of the donor, or one of its own that others may join; undefined: the runtime mounts one. */
  async openSharedMemory(entry: Entry): Promise<string | undefined> {
    const { id, record: { spec } } = entry
    const mode = spec.ipcMode ?? 'private'
    if (mode === 'shareable') return this.#sharedMemory.open(id, spec.shmSizeBytes ?? defaultShmBytes, this.#remapOf(entry)?.root)
    if (typeof mode === 'string' || !('container' in mode)) return undefined
    const donor = this.#options.find(mode.container)
    if (donor.record.spec.ipcMode === 'host') return '/dev/shm'
    if (donor.record.lifecycle.pid === 0) throw new Fault('conflict', `failed to join IPC namespace: container ${mode.container} is not running`)
    if (donor.record.spec.ipcMode !== 'shareable') throw new Fault('invalidArgument', `failed to join IPC namespace: container ${mode.container}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`)
    return this.#sharedMemory.path(donor.id)
  }

  async #mountVolumes(entry: Entry): Promise<readonly LaunchMount[]> {
    const { mounts } = this.#options
    const { id, record } = entry
    const asked = record.spec.mounts ?? []
    const remap = this.#remapOf(entry)
    return Promise.all(
      record.mounts.map(async (mount) => {
        const request = asked.find(({ target }) => target === mount.target)
        switch (mount.type) {
          case 'volume':
            return { ...mount, source: await this.#mountVolume(id, mount, request, remap), ...(request?.type === 'volume' && request.readonlyDepth !== undefined ? { readonlyDepth: request.readonlyDepth } : {}) }
          case 'bind':
            await checkSource(mount.source, request?.type === 'bind' && request.createSource === true, remap?.root)
            await checkPropagation(mount, mounts)
            if (request?.type !== 'bind') return mount
            return { ...mount, ...(request.nonRecursive === true ? { source: await this.#plainBinds.open(id, mount.source), nonRecursive: true } : {}), readonlyDepth: request.readonlyDepth ?? 'top' }
          case 'image':
            return { ...mount, source: await this.images.open(id, mount, { subpath: request?.type === 'image' ? request.subpath : undefined, shifted: remap !== undefined }) }
          case 'tmpfs':
            return { ...mount, options: request?.type === 'tmpfs' ? (request.options ?? []) : [] }
          default:
            return unreachable(mount.type)
        }
      }),
    )
  }

  async #mountVolume(id: string, { name = '' }: ResolvedMount, request: ContainerMount | undefined, remap: Remap | undefined): Promise<string> {
    const { volumes } = this.#options
    const path = await (request?.type === 'volume' && request.subpath ? volumes.mountSubpath(name, id, request.subpath) : volumes.mount(name, id))
    return remap === undefined ? path : this.#plainBinds.openShifted(id, path, remap.mountNamespace)
  }

  async #copyUp({ record }: Entry, rootfs: string): Promise<void> {
    for (const mount of record.mounts) {
      if (mount.type !== 'volume' || mount.name === undefined) continue
      const request = (record.spec.mounts ?? []).find(({ target }) => target === mount.target)
      if (request?.type === 'volume' && (request.noCopy === true || request.subpath)) continue
      await this.#options.volumes.copyUp(mount.name, rootfs, mount.target)
    }
  }

  /** The mount point goes last: where there is none, nothing of a run is left. */
  async close(id: string, unmountVolumes = async (): Promise<void> => undefined): Promise<void> {
    const { snapshots, paths } = this.#options
    await this.#sharedMemory.close(id)
    await this.#plainBinds.close(id)
    await this.images.close(id)
    await unmountVolumes()
    const rootfs = rootfsPath(paths, id)
    await snapshots.unmount(rootfs)
    try {
      await rmdir(rootfs)
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }
}

async function checkSource(source: string, create: boolean, owner: Owner | undefined): Promise<void> {
  try {
    await stat(source)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    if (!create) throw new Fault('invalidArgument', `invalid mount config for type "bind": bind source path does not exist: ${source}`)
    await makeFolders(source, owner)
  }
}
