/**
 * Snapshots for containers in user namespaces: the store's own folder once more, through a mount that shifts owners. An overlay whose
 * layers are named there shows them shifted, and what is written comes to the disk as if nobody had shifted anything.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { errnoOf } from '#linux/contract/errno.ts'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { SnapshotKey } from '../contract/snapshots.ts'
import { mappingName, mappingOfName, type Remap } from '../userns/remap.ts'
import type { Active } from './active-store.ts'

export interface ShiftOptions {
  /** Holds the mounts; lost with the machine's uptime. Also those of an earlier remapping, by which containers still run. */
  readonly folder: string
  readonly remap?: Remap
}

export interface MountedSnapshot {
  readonly key: SnapshotKey
  /** Undefined: owners are shown as they are. */
  readonly ids?: IdMapping
}

interface StoreOptions {
  readonly root: string
  readonly mounts: Mounts
  readonly shift?: ShiftOptions
}

/** What an earlier process mounted, by target: overlays tell the path of their upper folder, and that tells how it was shifted. */
export async function mountedSnapshots({ root, mounts, shift }: StoreOptions, actives: readonly Active[]): Promise<Map<string, MountedSnapshot>> {
  const byUpper = new Map(actives.map((active) => [active.upper, active.key]))
  const mounted = new Map<string, MountedSnapshot>()
  for (const { type, target, superOptions } of await mounts.table()) {
    if (type !== 'overlay') continue
    const upper = superOptions.find((option) => option.startsWith('upperdir='))?.slice('upperdir='.length) ?? ''
    const [name = '', ...rest] = shift !== undefined && upper.startsWith(shift.folder + sep) ? upper.slice(shift.folder.length + 1).split(sep) : []
    const key = byUpper.get(name === '' ? upper : join(root, ...rest))
    if (key !== undefined) mounted.set(target, { key, ...(name === '' ? {} : { ids: mappingOfName(name) }) })
  }
  return mounted
}

/** One mount shows all of the store, so that a container costs none; layers that are images have mounts of their own, once each. */
export class ShiftedStore {
  readonly mapping: IdMapping
  readonly #root: string
  readonly #path: string
  readonly #mounts: Mounts
  readonly #userNamespace: string
  /** Images by the folder at which they are mounted. */
  readonly #images = new Map<string, Promise<void>>()

  constructor({ root, path, mounts, remap }: { readonly root: string; readonly path: string; readonly mounts: Mounts; readonly remap: Remap }) {
    this.#root = root
    this.#path = path
    this.#mounts = mounts
    this.mapping = remap.mapping
    this.#userNamespace = remap.mountNamespace
  }

  async open(): Promise<void> {
    await this.#mounts.bindShifted({ source: this.#root, target: this.#path, userNamespace: this.#userNamespace })
  }

  /** Where a path of the store is found shifted. */
  at(path: string): string {
    return join(this.#path, relative(this.#root, path))
  }

  /** Images that are mounted at these folders. */
  async show(folders: readonly string[]): Promise<void> {
    await Promise.all(folders.map((folder) => this.#images.get(folder) ?? this.#showImage(folder)))
  }

  async #showImage(folder: string): Promise<void> {
    const shown = this.#mounts.bindShifted({ source: folder, target: this.at(folder), userNamespace: this.#userNamespace })
    this.#images.set(folder, shown)
    try {
      await shown
    } catch (error) {
      this.#images.delete(folder)
      throw error
    }
  }

  /** Whoever uses it in an overlay keeps it. Idempotent. */
  async hide(folder: string): Promise<void> {
    if (!this.#images.has(folder)) return
    await this.#images.get(folder)
    this.#images.delete(folder)
    await this.#mounts.unmount(this.at(folder), { lazy: true })
  }

  /** With all that is mounted below it. */
  async close(): Promise<void> {
    this.#images.clear()
    await this.#mounts.unmount(this.#path, { lazy: true })
  }
}

/** What an earlier process left there goes; who uses it keeps it. Fault `unavailable` where the kernel cannot: overlayfs takes shifted layers since Linux 5.19. */
export async function openShift({ root, mounts, shift }: StoreOptions): Promise<ShiftedStore | undefined> {
  if (shift === undefined) return undefined
  const { folder, remap } = shift
  if (existsSync(folder)) for (const name of await readdir(folder)) await mounts.unmount(join(folder, name), { lazy: true })
  if (remap === undefined) return undefined
  const path = join(folder, mappingName(remap.mapping))
  await mkdir(path, { recursive: true, mode: 0o700 })
  const shifted = new ShiftedStore({ root, path, mounts, remap })
  await shifted.open()
  await tryOut(root, shifted, mounts)
  return shifted
}

/** An overlay whose writer has no id on the disk is mounted read-only by some kernels and refused by others: only a write tells. */
async function tryOut(root: string, shifted: ShiftedStore, mounts: Mounts): Promise<void> {
  const scratch = join('t', randomUUID())
  const target = join(root, 'm', 'shift')
  for (const name of ['lower', 'upper', 'work']) await mkdir(join(root, scratch, name), { recursive: true })
  await mkdir(target, { recursive: true })
  const [lower = '', upper = '', work = ''] = ['lower', 'upper', 'work'].map((name) => shifted.at(join(root, scratch, name)))
  try {
    await mounts.overlay({ target, lower: [lower], upper, work })
    await mkdir(join(target, 'probe'))
    await rmdir(join(target, 'probe'))
  } catch (error) {
    const errno = errnoOf(error) ?? systemErrorCode(error)
    if (errno === undefined || errno === 'ENOSPC') throw error
    throw new Fault('unavailable', `userns-remap: this kernel or the file system of ${root} cannot show a container's layers with other owners (${errno}): it takes Linux 5.19 and ext4, xfs or btrfs`, { cause: error })
  } finally {
    await mounts.unmount(target)
    await rmdir(target)
    await rm(join(root, scratch), { recursive: true })
  }
}
