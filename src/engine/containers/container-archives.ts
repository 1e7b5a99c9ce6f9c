/** `docker cp` and `docker export`: paths of one container as tar archives, mounts included where the process would see them. */
import type { PathStat, SnapshotArchives } from '../contract/snapshots.ts'
import { archiveViewOf, missingPath } from './archive-view.ts'
import type { Entry } from './entry.ts'

export class ContainerArchives {
  readonly #snapshots: SnapshotArchives

  constructor(snapshots: SnapshotArchives) {
    this.#snapshots = snapshots
  }

  async statPath(entry: Entry, path: string): Promise<PathStat> {
    try {
      const view = await archiveViewOf(entry, path, { writing: false })
      return await this.#snapshots.statPath(entry.id, view.path, view)
    } catch (error) {
      throw missingPath(error, entry.id, path)
    }
  }

  async read(entry: Entry, path: string, options?: { readonly signal?: AbortSignal }): ReturnType<SnapshotArchives['readArchive']> {
    try {
      const view = await archiveViewOf(entry, path, { writing: false })
      return await this.#snapshots.readArchive(entry.id, view.path, { ...options, ...view })
    } catch (error) {
      throw missingPath(error, entry.id, path)
    }
  }

  async write(entry: Entry, path: string, tar: Parameters<SnapshotArchives['writeArchive']>[2], options?: { readonly noOverwriteDirNonDir?: boolean; readonly signal?: AbortSignal }): Promise<void> {
    const view = await archiveViewOf(entry, path, { writing: true })
    await this.#snapshots.writeArchive(entry.id, view.path, tar, { ...options, ...view })
  }

  exportRoot({ id }: Entry, options?: { readonly signal?: AbortSignal }): ReturnType<SnapshotArchives['exportRoot']> {
    return this.#snapshots.exportRoot(id, options)
  }
}
