/** What a container is doing and what it has written: statistics, processes, changed paths, sizes. */
import { Fault, isFault } from '#base/fault.ts'
import type { ImageResolver } from '../contract/images.ts'
import type { Runtime, RuntimeStats } from '../contract/runtime.ts'
import type { SnapshotChange, SnapshotReader } from '../contract/snapshots.ts'
import type { Entry } from './entry.ts'
import { isLive } from './lifecycle.ts'
import { withoutMountPoints } from './own-changes.ts'
import { psArguments, selectProcesses } from './process-table.ts'

export interface InsightOptions {
  readonly runtime: Pick<Runtime, 'stats' | 'processes'>
  readonly snapshots: Pick<SnapshotReader, 'changes' | 'usage'>
  readonly images: ImageResolver
  /** Runs the host's `ps` and answers what it prints. */
  readonly ps: (args: readonly string[]) => Promise<string>
}

export class Insight {
  readonly #options: InsightOptions

  constructor(options: InsightOptions) {
    this.#options = options
  }

  async stats({ id, record }: Entry): Promise<RuntimeStats | undefined> {
    if (!isLive(record.lifecycle.status)) return undefined
    try {
      return await this.#options.runtime.stats(id)
    } catch (error) {
      if (isFault(error, 'notFound')) return undefined
      throw error
    }
  }

  async top({ id, record }: Entry, psArgs: string): Promise<{ readonly titles: readonly string[]; readonly processes: readonly (readonly string[])[] }> {
    if (!isLive(record.lifecycle.status)) throw new Fault('conflict', `Container ${id} is not running`)
    const [output, pids] = await Promise.all([this.#options.ps(psArguments(psArgs)), this.#options.runtime.processes(id)])
    return selectProcesses(output, new Set(pids))
  }

  async changes({ id }: Entry): Promise<readonly SnapshotChange[]> {
    return withoutMountPoints(await this.#options.snapshots.changes(id))
  }

  async sizes({ id, record }: Entry): Promise<{ readonly writableBytes: number; readonly totalBytes: number }> {
    const { sizeBytes } = await this.#options.snapshots.usage(id)
    const image = await this.#options.images.resolve(record.imageId).catch((error: unknown) => {
      if (isFault(error, 'notFound')) return undefined
      throw error
    })
    return { writableBytes: sizeBytes, totalBytes: sizeBytes + (image?.sizeBytes ?? 0) }
  }
}
