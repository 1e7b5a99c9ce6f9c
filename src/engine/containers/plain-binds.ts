/**
 * What is bound on the host first, so that the container gets that. They live as long as the container runs.
 * - Binds without the mounts below their source (`NonRecursive`): crun 1.8 takes everything along whatever it is told.
 * - Volumes of a container in a user namespace, with owners shifted: on the disk they are as any container has them.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { errnoOf } from '#linux/contract/errno.ts'
import type { Mounts } from '#linux/contract/mounts.ts'

export class PlainBinds {
  readonly #mounts: Mounts
  readonly #root: string

  constructor({ mounts, root }: { readonly mounts: Mounts; readonly root: string }) {
    this.#mounts = mounts
    this.#root = root
  }

  /** The path to bind instead of `source`. */
  async open(id: string, source: string): Promise<string> {
    const target = await this.#target(id, source)
    await this.#mounts.bindInside({ root: '/', path: source, target, recursive: false })
    return target
  }

  /**
   * The same with owners shifted. A file system that cannot do it (NFS) is given as it is: then its owners are those of the machine, as in
   * any plain bind.
   */
  async openShifted(id: string, source: string, userNamespace: string): Promise<string> {
    const target = await this.#target(id, source)
    if ((await stat(source)).isDirectory()) await mkdir(target, { recursive: true })
    else await writeFile(target, '')
    try {
      await this.#mounts.bindShifted({ source, target, userNamespace })
      return target
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL') throw error
      return source
    }
  }

  async #target(id: string, source: string): Promise<string> {
    const folder = `${this.#root}/${id}`
    await mkdir(folder, { recursive: true, mode: 0o700 })
    return `${folder}/${createHash('sha256').update(source).digest('hex').slice(0, 16)}`
  }

  /** Idempotent. */
  async close(id: string): Promise<void> {
    const folder = `${this.#root}/${id}`
    if (!existsSync(folder)) return
    for (const { target } of await this.#mounts.table(folder)) await this.#mounts.unmount(target, { lazy: true })
    await rm(folder, { recursive: true, force: true })
  }
}
