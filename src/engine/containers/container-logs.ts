/** Which containers' logs are kept in bounds, and when: while they run, and once more when they have ended. */
import type { Logger } from '#base/log.ts'
import { logPathOf, policyOf, type Entry, type EntryPaths } from './entry.ts'
import { LogKeeper, type LogKeeperOptions } from './log-keeper.ts'
import { logBoundsOf, type LogBounds } from './log-options.ts'

export class ContainerLogs {
  readonly #keeper: LogKeeper
  readonly #paths: EntryPaths
  readonly #log: Logger

  constructor(options: LogKeeperOptions & { readonly paths: EntryPaths }) {
    this.#keeper = new LogKeeper(options)
    this.#paths = options.paths
    this.#log = options.log
  }

  /** It runs. */
  keep(entry: Entry, options?: { readonly adopted?: boolean }): void {
    const rotated = this.#rotated(entry)
    if (rotated !== undefined) this.#keeper.start(entry.id, rotated.path, rotated.bounds, options)
  }

  /** It has ended. Never rejects. */
  async leave(entry: Entry): Promise<void> {
    try {
      await this.#keeper.stop(entry.id)
      const rotated = policyOf(entry).autoRemove ? undefined : this.#rotated(entry)
      if (rotated !== undefined) await this.#keeper.settle(rotated.path, rotated.bounds)
    } catch (error) {
      this.#log.warn({ container: entry.id, error: String(error) }, 'could not rotate a log')
    }
  }

  close(): Promise<void> {
    return this.#keeper.close()
  }

  /** A log of one file is conmon's own business, a pod's that of its node agent. */
  #rotated({ record }: Entry): { readonly path: string; readonly bounds: LogBounds } | undefined {
    const path = logPathOf(this.#paths, record)
    const bounds = logBoundsOf(record.spec.log)
    return path === undefined || record.spec.logPath !== undefined || bounds === undefined || bounds.maxFiles === 1 ? undefined : { path, bounds }
  }
}
