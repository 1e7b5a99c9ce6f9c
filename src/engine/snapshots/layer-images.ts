/**
 * Layers that are EROFS images: each is mounted once, where its folder would stand, when a stack that holds it is first looked at; all
 * overlays above share the mount and its page cache (decision 0011). The kernel takes an image from a plain file since Linux 6.12.
 */
import { closeSync, openSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { KeyedSerial } from '#base/task.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import { ErofsWriter } from '#oci/erofs/image-writer.ts'
import { emptyFolder } from '#oci/layer/erofs-target.ts'

export class LayerImages {
  readonly #mounts: Mounts
  readonly #logger: Logger
  /** Folders at which an image is mounted. */
  readonly #shown: Set<string>
  readonly #serial = new KeyedSerial<string>()
  #ability: Promise<boolean> | undefined
  /** Told where an image will be unmounted. */
  beforeHiding: (folder: string) => Promise<void> = async () => undefined

  private constructor(mounts: Mounts, logger: Logger, shown: Set<string>) {
    this.#mounts = mounts
    this.#logger = logger
    this.#shown = shown
  }

  /** Takes up what an earlier process has mounted below the folder `layers`; what it was trying in `scratch` when it was killed is unmounted. */
  static async open(options: { readonly mounts: Mounts; readonly logger: Logger; readonly layers: string; readonly scratch: string }): Promise<LayerImages> {
    const { mounts, logger, layers, scratch } = options
    for (const { target } of await mounts.table(scratch)) await mounts.unmount(target, { lazy: true })
    const table = await mounts.table(layers)
    return new LayerImages(mounts, logger, new Set(table.filter((entry) => entry.type === 'erofs').map((entry) => entry.target)))
  }

  /** Whether the kernel mounts such images, found out once with an empty one in `scratch`, a folder that does not exist yet. */
  async canShow(scratch: string): Promise<boolean> {
    return await (this.#ability ??= this.#try(scratch))
  }

  async #try(scratch: string): Promise<boolean> {
    const [image, beside, target] = [join(scratch, 'image'), join(scratch, 'beside'), join(scratch, 'target')]
    await mkdir(target, { recursive: true })
    try {
      const descriptors = [openSync(image, 'wx+'), openSync(beside, 'wx+')] as const
      new ErofsWriter(...descriptors).finish(emptyFolder())
      for (const descriptor of descriptors) closeSync(descriptor)
      await this.#mounts.mount({ source: image, target, type: 'erofs', flags: ['ro'] })
      await this.#mounts.unmount(target)
      return true
    } catch (error) {
      if (!isFault(error)) throw error
      this.#logger.info({ reason: error.message }, 'the kernel mounts no EROFS images from files: layers are unpacked into folders')
      return false
    } finally {
      await rm(scratch, { recursive: true })
    }
  }

  /** Mounts an image at a folder that exists, unless it is mounted there. */
  async show(image: string, folder: string): Promise<void> {
    if (this.#shown.has(folder)) return
    await this.#serial.run(folder, async () => {
      if (this.#shown.has(folder)) return
      await this.#mounts.mount({ source: image, target: folder, type: 'erofs', flags: ['ro'] })
      this.#shown.add(folder)
    })
  }

  /** Whoever uses it in an overlay keeps it. Idempotent. */
  async hide(folder: string): Promise<void> {
    await this.#serial.run(folder, async () => {
      if (!this.#shown.has(folder)) return
      await this.beforeHiding(folder)
      await this.#mounts.unmount(folder, { lazy: true })
      this.#shown.delete(folder)
    })
  }
}
