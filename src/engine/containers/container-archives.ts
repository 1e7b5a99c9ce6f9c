/** `docker cp` and `docker export`: paths of one container as tar archives, mounts included where the process would see them. */
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { ArchiveWrite } from '../contract/containers.ts'
import type { PathStat, SnapshotArchives } from '../contract/snapshots.ts'
import type { VolumeMounts } from '../contract/volumes.ts'
import { archiveViewOf, missingPath, type ArchiveView } from './archive-view.ts'
import type { Remap } from '../userns/remap.ts'
import type { Entry } from './entry.ts'
import { lookUpIdentity } from './identity.ts'
import { isLive } from './lifecycle.ts'

export interface ContainerArchivesOptions {
  readonly snapshots: SnapshotArchives
  readonly volumes: VolumeMounts
  readonly random: Random
  readonly remap?: Remap | undefined
  readonly log: Logger
}

export class ContainerArchives {
  readonly #options: ContainerArchivesOptions

  constructor(options: ContainerArchivesOptions) {
    this.#options = options
  }

  #view(entry: Entry, path: string, writing: boolean): Promise<ArchiveView> {
    const { volumes, random, remap } = this.#options
    return archiveViewOf(entry, path, { writing, volumes, random, remap })
  }

  async statPath(entry: Entry, path: string, ref: string): Promise<PathStat> {
    try {
      await using view = await this.#view(entry, path, false)
      return await this.#options.snapshots.statPath(entry.id, view.path, view)
    } catch (error) {
      throw missingPath(error, ref, path)
    }
  }

  async read(entry: Entry, path: string, { ref, ...options }: { readonly ref: string; readonly signal?: AbortSignal }): ReturnType<SnapshotArchives['readArchive']> {
    try {
      await using held = new AsyncDisposableStack()
      const view = held.use(await this.#view(entry, path, false))
      const archive = await this.#options.snapshots.readArchive(entry.id, view.path, { ...options, ...view })
      const looking = held.move()
      archive.tar.once('close', () => {
        looking.disposeAsync().catch((error: unknown) => this.#options.log.warn({ container: entry.id, error: String(error) }, 'could not let go of a volume that was read'))
      })
      return archive
    } catch (error) {
      throw missingPath(error, ref, path)
    }
  }

  async write(entry: Entry, path: string, tar: Parameters<SnapshotArchives['writeArchive']>[2], { ref, copyUidGid, ...options }: ArchiveWrite & { readonly ref: string }): Promise<void> {
    const owner = copyUidGid === true && entry.effective.user !== '' ? { owner: await ownerOf(entry) } : {}
    try {
      await using view = await this.#view(entry, path, true)
      await this.#options.snapshots.writeArchive(entry.id, view.path, tar, { ...options, ...owner, ...view })
    } catch (error) {
      throw missingPath(error, ref, path)
    }
  }

  exportRoot({ id }: Entry, options?: { readonly signal?: AbortSignal }): ReturnType<SnapshotArchives['exportRoot']> {
    return this.#options.snapshots.exportRoot(id, options)
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
