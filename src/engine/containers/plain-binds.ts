/**
 * Binds without the mounts below their source (`NonRecursive`). crun 1.8 takes everything along whatever it is told, so the place is bound
 * plainly on the host first and the container gets that. They live as long as the container runs.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
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
    const folder = `${this.#root}/${id}`
    const target = `${folder}/${createHash('sha256').update(source).digest('hex').slice(0, 16)}`
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await this.#mounts.bindInside({ root: '/', path: source, target, recursive: false })
    return target
  }

  /** Idempotent. */
  async close(id: string): Promise<void> {
    const folder = `${this.#root}/${id}`
    if (!existsSync(folder)) return
    for (const { target } of await this.#mounts.table(folder)) await this.#mounts.unmount(target, { lazy: true })
    await rm(folder, { recursive: true, force: true })
  }
}
