/** Which containers' logs are kept in bounds and sent on, and when: while they run, and once more when they have ended. */
import type { Logger } from '#base/log.ts'
import type { HostFacts } from './host.ts'
import { isForwarded, LogForwarder, type LogForwarderOptions } from './log-forwarder.ts'
import { logPathOf, policyOf, type Entry, type EntryPaths } from './entry.ts'
import { LogKeeper, type LogKeeperOptions } from './log-keeper.ts'
import { logBoundsOf, type LogBounds, type LogSource } from './log-options.ts'

export class ContainerLogs {
  readonly #keeper: LogKeeper
  readonly #forwarder: LogForwarder
  readonly #host: HostFacts
  readonly #paths: EntryPaths
  readonly #log: Logger

  constructor(options: LogKeeperOptions & LogForwarderOptions & { readonly paths: EntryPaths; readonly host: HostFacts }) {
    this.#keeper = new LogKeeper(options)
    this.#forwarder = new LogForwarder(options)
    this.#host = options.host
    this.#paths = options.paths
    this.#log = options.log
  }

  /** It is about to run. Fault: `internal`, when nobody takes what it will write. */
  async check(entry: Entry): Promise<void> {
    const { log } = entry.record.spec
    if (log !== undefined && isForwarded(log)) await this.#forwarder.check({ spec: log, source: this.#sourceOf(entry) })
  }

  #sourceOf({ id, record, effective }: Entry): LogSource {
    return { id, name: record.name, imageId: record.imageId, imageName: record.spec.image, effective, hostname: this.#host.hostname }
  }

  /** It runs. */
  keep(entry: Entry, options?: { readonly adopted?: boolean }): void {
    const rotated = this.#rotated(entry)
    if (rotated !== undefined) this.#keeper.start(entry.id, rotated.path, rotated.bounds, options)
    const path = logPathOf(this.#paths, entry.record)
    const { log } = entry.record.spec
    if (path !== undefined && log !== undefined && isForwarded(log)) this.#forwarder.start({ id: entry.id, spec: log, source: this.#sourceOf(entry), path, ended: entry.ended.promise })
  }

  /** It has ended. Never rejects. */
  async leave(entry: Entry): Promise<void> {
    try {
      await this.#forwarder.finish(entry.id)
      await this.#keeper.stop(entry.id)
      const rotated = policyOf(entry).autoRemove ? undefined : this.#rotated(entry)
      if (rotated !== undefined) await this.#keeper.settle(rotated.path, rotated.bounds)
    } catch (error) {
      this.#log.warn({ container: entry.id, error: String(error) }, 'could not rotate a log')
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#keeper.close(), this.#forwarder.close()])
  }

  /** A log of one file is conmon's own business, a pod's that of its node agent. */
  #rotated({ record }: Entry): { readonly path: string; readonly bounds: LogBounds } | undefined {
    const path = logPathOf(this.#paths, record)
    const bounds = logBoundsOf(record.spec.log)
    return path === undefined || record.spec.logPath !== undefined || bounds === undefined || bounds.maxFiles === 1 ? undefined : { path, bounds }
  }
}
