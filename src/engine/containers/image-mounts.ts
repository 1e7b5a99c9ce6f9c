/**
 * Mounts of type `image`: another image's files, read-only. Each has a snapshot of its own on the image's layers, from the container's
 * creation to its removal, so that these layers stay whatever becomes of the image's names; it is mounted on the host, beside the container's
 * root, while the container runs.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { Fault, isFault } from '#base/fault.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { ContainerMount, ResolvedMount } from '../contract/containers.ts'
import type { ImageResolver } from '../contract/images.ts'
import type { SnapshotMounter } from '../contract/snapshots.ts'

export interface ImageMountsOptions {
  readonly images: ImageResolver
  readonly snapshots: Pick<SnapshotMounter, 'prepare' | 'mount' | 'unmount' | 'remove' | 'keys'>
  readonly mounts: Mounts
  /** Lost with the machine's uptime. */
  readonly root: string
}

type ImageRequest = Extract<ContainerMount, { type: 'image' }>

/** Of a container, or of one of its image mounts. */
export function containerOfSnapshot(key: string): string | undefined {
  return /^([0-9a-f]{64})(-image-[0-9a-f]{12})?$/.exec(key)?.[1]
}

export class ImageMounts {
  readonly #options: ImageMountsOptions

  constructor(options: ImageMountsOptions) {
    this.#options = options
  }

  /** At the container's creation. Fault: `notFound` (image). */
  async make(id: string, { source, target }: ImageRequest): Promise<ResolvedMount> {
    const image = await this.#options.images.resolve(source)
    await this.#options.snapshots.prepare(keyOf(id, target), image.topLayer)
    return { type: 'image', name: source, imageId: image.id, source: this.#pathOf(id, target), target, readonly: true, propagation: 'rprivate' }
  }

  /** The path on the host to bind into the container. Fault: `notFound` (subpath). */
  async open(id: string, { source, target }: ResolvedMount, { subpath = '', shifted = false }: { readonly subpath?: string | undefined; readonly shifted?: boolean } = {}): Promise<string> {
    const { snapshots, mounts } = this.#options
    await mkdir(source, { recursive: true, mode: 0o700 })
    await snapshots.mount(keyOf(id, target), source, { readonly: true, shifted })
    if (subpath === '') return source
    const part = `${source}-${hash(subpath)}`
    try {
      await mounts.bindInside({ root: source, path: subpath, target: part })
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      throw new Fault('notFound', `cannot access path ${source}/${subpath}: lstat ${source}/${subpath}: no such file or directory`, { cause: error })
    }
    return part
  }

  /** After the container ended. Idempotent. */
  async close(id: string): Promise<void> {
    const { snapshots, mounts, root } = this.#options
    const folder = `${root}/${id}`
    if (!existsSync(folder)) return
    for (const { target } of (await mounts.table(folder)).toReversed()) await snapshots.unmount(target)
    await rm(folder, { recursive: true, force: true })
  }

  /** With the container. Idempotent. */
  async remove(id: string): Promise<void> {
    const { snapshots } = this.#options
    await this.close(id)
    for (const key of await snapshots.keys()) if (key.startsWith(`${id}-`)) await snapshots.remove(key)
  }

  #pathOf(id: string, target: string): string {
    return `${this.#options.root}/${id}/${hash(target)}`
  }
}

function keyOf(id: string, target: string): string {
  return `${id}-image-${hash(target)}`
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
