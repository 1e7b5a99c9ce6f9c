/**
 * When records reach the disk: soon after they changed, several changes at once; or now, where a client is told of what they say. A crash
 * in between is mended by what the runtime remembers.
 */
import type { Logger } from '#base/log.ts'
import type { Entry } from './entry.ts'
import type { RecordFiles } from './record.ts'

export interface RecordSaverOptions {
  readonly records: Pick<RecordFiles, 'write'>
  readonly log: Logger
  /** False: the container was removed meanwhile. */
  readonly isKept: (entry: Entry) => boolean
}

export class RecordSaver {
  readonly #options: RecordSaverOptions
  readonly #unsaved = new Map<string, Promise<void>>()

  constructor(options: RecordSaverOptions) {
    this.#options = options
  }

  soon(entry: Entry): void {
    const { id } = entry
    if (this.#unsaved.has(id) || entry.record.lifecycle.status === 'removing') return
    this.#unsaved.set(id, this.#save(entry))
  }

  async #save(entry: Entry): Promise<void> {
    const { records, log, isKept } = this.#options
    await Promise.resolve()
    const { record } = entry
    try {
      if (isKept(entry)) await records.write(record, { durable: false })
    } catch (error) {
      log.error({ container: entry.id, error: String(error) }, 'could not store the state of a container')
    }
    this.#unsaved.delete(entry.id)
    if (entry.record !== record && isKept(entry)) this.soon(entry)
  }

  /** Settles when the record on disk is the one in memory. */
  async saved(id: string): Promise<void> {
    for (let saving = this.#unsaved.get(id); saving !== undefined; saving = this.#unsaved.get(id)) await saving
  }

  async now(entry: Entry): Promise<void> {
    await this.saved(entry.id)
    await this.#options.records.write(entry.record, { durable: entry.record.spec.autoRemove !== true })
  }

  async drained(): Promise<void> {
    await Promise.all([...this.#unsaved.keys()].map((id) => this.saved(id)))
  }
}
