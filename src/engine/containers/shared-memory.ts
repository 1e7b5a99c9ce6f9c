/**
 * /dev/shm of containers whose IPC namespace others may join: a tmpfs on the host, because a mount made inside one container cannot be
 * bound into another. It lives as long as its owner runs.
 */
import { mkdir, rmdir } from 'node:fs/promises'
import { systemErrorCode } from '#base/fault.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { Owner } from '../userns/remap.ts'

export class SharedMemory {
  readonly #mounts: Mounts
  readonly #root: string

  constructor({ mounts, root }: { readonly mounts: Mounts; readonly root: string }) {
    this.#mounts = mounts
    this.#root = root
  }

  path(id: string): string {
    return `${this.#root}/${id}`
  }

  /** Mounts it, empty. `owner` undefined: ours. */
  async open(id: string, sizeBytes: number, owner?: Owner): Promise<string> {
    const target = this.path(id)
    await this.close(id)
    await mkdir(target, { recursive: true, mode: 0o700 })
    await this.#mounts.mount({ source: 'shm', target, type: 'tmpfs', flags: ['nosuid', 'noexec', 'nodev'], data: `mode=1777,size=${sizeBytes}${owner === undefined ? '' : `,uid=${owner.uid},gid=${owner.gid}`}` })
    return target
  }

  /** Idempotent. */
  async close(id: string): Promise<void> {
    try {
      await rmdir(this.path(id))
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === 'ENOENT') return
      if (code !== 'EBUSY') throw error
      await this.#mounts.unmount(this.path(id), { lazy: true })
      await rmdir(this.path(id))
    }
  }
}
