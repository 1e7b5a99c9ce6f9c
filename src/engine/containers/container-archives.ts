/** `docker cp` and `docker export`: paths of one container as tar archives, mounts included where the process would see them. */
import { Fault } from '#base/fault.ts'
import type { ArchiveWrite } from '../contract/containers.ts'
import type { PathStat, SnapshotArchives } from '../contract/snapshots.ts'
import { archiveViewOf, missingPath } from './archive-view.ts'
import type { Entry } from './entry.ts'
import { lookUpIdentity } from './identity.ts'
import { isLive } from './lifecycle.ts'

export class ContainerArchives {
  readonly #snapshots: SnapshotArchives

  constructor(snapshots: SnapshotArchives) {
    this.#snapshots = snapshots
  }

  async statPath(entry: Entry, path: string, ref: string): Promise<PathStat> {
    try {
      const view = await archiveViewOf(entry, path, { writing: false })
      return await this.#snapshots.statPath(entry.id, view.path, view)
    } catch (error) {
      throw missingPath(error, ref, path)
    }
  }

  async read(entry: Entry, path: string, { ref, ...options }: { readonly ref: string; readonly signal?: AbortSignal }): ReturnType<SnapshotArchives['readArchive']> {
    try {
      const view = await archiveViewOf(entry, path, { writing: false })
      return await this.#snapshots.readArchive(entry.id, view.path, { ...options, ...view })
    } catch (error) {
      throw missingPath(error, ref, path)
    }
  }

  async write(entry: Entry, path: string, tar: Parameters<SnapshotArchives['writeArchive']>[2], { ref, copyUidGid, ...options }: ArchiveWrite & { readonly ref: string }): Promise<void> {
    const owner = copyUidGid === true && entry.effective.user !== '' ? { owner: await ownerOf(entry) } : {}
    try {
      const view = await archiveViewOf(entry, path, { writing: true })
      await this.#snapshots.writeArchive(entry.id, view.path, tar, { ...options, ...owner, ...view })
    } catch (error) {
      throw missingPath(error, ref, path)
    }
  }

  exportRoot({ id }: Entry, options?: { readonly signal?: AbortSignal }): ReturnType<SnapshotArchives['exportRoot']> {
    return this.#snapshots.exportRoot(id, options)
  }
}

/** The container's own user. A name is looked up where the process would: only a running container has that place. */
async function ownerOf({ record, effective }: Entry): Promise<{ readonly uid: number; readonly gid: number }> {
  const { lifecycle } = record
  const numeric = /^(\d+)(?::(\d+))?$/.exec(effective.user)
  if (isLive(lifecycle.status) && lifecycle.pid > 0) return await lookUpIdentity(`/proc/${lifecycle.pid}/root`, effective.user, [])
  if (numeric === null) throw new Fault('conflict', `copyUIDGID: the user ${effective.user} can be looked up in a running container only`)
  return { uid: Number(numeric[1]), gid: Number(numeric[2] ?? numeric[1]) }
}
