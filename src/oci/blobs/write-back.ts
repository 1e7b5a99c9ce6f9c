/**
 * Brings what was written of large files to the disk while more comes, so that the sync at the end finds little left to do. One at a
 * time, since each holds a thread of libuv's pool until the disk is done: others go without.
 */
import type { FileHandle } from 'node:fs/promises'

export class WriteBack {
  #isBusy = false

  /** undefined when another file is being brought to the disk. */
  begin(handle: FileHandle): Promise<void> | undefined {
    if (this.#isBusy) return undefined
    this.#isBusy = true
    return handle.datasync().finally(() => (this.#isBusy = false))
  }
}
