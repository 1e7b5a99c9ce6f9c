/**
 * What is left of containers whose creation or removal was cut short (the engine was killed): they have no record, so nobody
 * knows them, and what was made of them goes when the engine opens.
 */
import type { Logger } from '#base/log.ts'
import type { SnapshotMounter } from '../contract/snapshots.ts'
import type { VolumeCatalog, VolumeMounts } from '../contract/volumes.ts'
import { containerOfSnapshot } from './image-mounts.ts'
import type { Launcher } from './launch.ts'
import type { Leftover, RecordFiles } from './record.ts'
import { releaseVolumes } from './resolve-mounts.ts'

export interface SweepOptions {
  readonly launcher: Pick<Launcher, 'sweep'>
  readonly snapshots: Pick<SnapshotMounter, 'keys' | 'remove'>
  readonly volumes: VolumeCatalog & VolumeMounts
  readonly records: RecordFiles
  readonly log: Logger
}

/** `leftovers` are the folders without a record; snapshots that look like a container's and belong to none of `known` count as well. */
export async function sweepLeftovers(leftovers: readonly Leftover[], known: ReadonlySet<string>, options: SweepOptions): Promise<void> {
  const orphans = new Map<string, readonly string[]>()
  for (const key of await options.snapshots.keys()) {
    const id = containerOfSnapshot(key)
    if (id !== undefined && !known.has(id)) orphans.set(id, [])
  }
  for (const { id, anonymousVolumes } of leftovers) orphans.set(id, anonymousVolumes)
  const guarded = async (id: string, anonymousVolumes: readonly string[]): Promise<void> => {
    try {
      await sweep(id, anonymousVolumes, options)
    } catch (error) {
      // One that cannot be swept must not keep all others from their engine.
      options.log.error({ container: id, error: String(error) }, 'could not sweep what is left of a container')
    }
  }
  await Promise.all([...orphans].map(([id, anonymousVolumes]) => guarded(id, anonymousVolumes)))
}

/** Its folder goes last, for it says what else is to go. */
async function sweep(id: string, anonymousVolumes: readonly string[], { launcher, volumes, records, log }: SweepOptions): Promise<void> {
  await launcher.sweep(id)
  await releaseVolumes({ id, mounts: anonymousVolumes.map((name) => ({ type: 'volume', name })), anonymousVolumes }, volumes, true, log)
  await records.remove(id)
}
