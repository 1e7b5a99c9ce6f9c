/** The containers that there are: found by id, name or link, shown as the contract has them, and told of to whoever listens. */
import { Fault } from '#base/fault.ts'
import type * as contract from '../contract/containers.ts'
import { effectiveOfRecord, networkFilePaths, viewOf, type Entry, type EntryPaths } from './entry.ts'
import { eventAttributes } from './event-attributes.ts'
import { findEntry, findLink } from './find-entry.ts'
import type { ContainersOptions } from './options.ts'
import type { ContainerRecord } from './record.ts'
import { StreamHub } from './stream-hub.ts'

export type ChangeCause = 'created' | 'started' | 'exited' | 'removed' | 'changed'

export type CatalogOptions = Pick<ContainersOptions, 'clock' | 'runtime' | 'log' | 'host' | 'events'>

export class Catalog {
  readonly #options: CatalogOptions
  readonly #paths: EntryPaths
  readonly #entries = new Map<string, Entry>()
  readonly #names = new Map<string, string>()
  readonly #listeners = new Set<(container: contract.Container, cause: ChangeCause) => void>()

  constructor(options: CatalogOptions, paths: EntryPaths) {
    this.#options = options
    this.#paths = paths
  }

  // ---- who is there -----------------------------------------------------------------------------------------------------

  /** By its whole id. */
  get(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  all(): IterableIterator<Entry> {
    return this.#entries.values()
  }

  /** By id, the beginning of one, name or link; `notFound`, or `conflict` where several begin so. */
  find(ref: string): Entry {
    return findEntry(ref, { entries: this.#entries, names: this.#names })
  }

  findLink(ref: string): ReturnType<typeof findLink> {
    return findLink(ref, { entries: this.#entries, names: this.#names })
  }

  add(record: ContainerRecord): Entry {
    const { clock, runtime, log, host } = this.#options
    const stdin = record.spec.process?.stdin ?? 'none'
    const entry: Entry = {
      id: record.id,
      record,
      effective: effectiveOfRecord(record, host),
      hub: new StreamHub({ clock, runtime, id: record.id, hasStdin: stdin !== 'none', endStdinWithClient: stdin === 'once' && record.spec.process?.tty !== true, onStdinError: (error) => log.debug({ container: record.id, error: error.message }, 'the container closed its input') }),
      execIds: new Set(),
      networkFiles: networkFilePaths(this.#paths, record.id),
      endpoints: [],
      netnsPath: undefined,
      volumes: [],
      restartTimer: undefined,
      cleaning: Promise.resolve(),
      ended: Promise.withResolvers(),
    }
    this.#entries.set(record.id, entry)
    this.#names.set(record.name, record.id)
    return entry
  }

  /** The id is free at once, and so is the name, unless another has it by now. */
  delete({ id, record }: Entry): void {
    this.#entries.delete(id)
    this.releaseName(record.name, id)
  }

  // ---- names --------------------------------------------------------------------------------------------------------------

  hasName(name: string): boolean {
    return this.#names.has(name)
  }

  reserveName(name: string, id: string): void {
    const holder = this.#names.get(name)
    if (holder !== undefined) throw new Fault('conflict', `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`)
    this.#names.set(name, id)
  }

  releaseName(name: string, id: string): void {
    if (this.#names.get(name) === id) this.#names.delete(name)
  }

  // ---- what others see ------------------------------------------------------------------------------------------------------

  view(entry: Entry): contract.Container {
    return viewOf(entry, this.#paths)
  }

  list(namespace: contract.ContainerNamespace | 'all'): readonly contract.Container[] {
    return [...this.#entries.values()]
      .filter(({ record }) => namespace === 'all' || record.spec.namespace === namespace)
      .sort((a, b) => (a.record.createdAtNs < b.record.createdAtNs ? 1 : -1))
      .map((entry) => this.view(entry))
  }

  onChange(listener: (container: contract.Container, cause: ChangeCause) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  notify(entry: Entry, cause: ChangeCause): void {
    if (this.#listeners.size === 0) return
    const view = this.view(entry)
    for (const listener of this.#listeners) listener(view, cause)
  }

  publish(entry: Entry, action: string, attributes: Readonly<Record<string, string>> = {}): void {
    this.#options.events.publish({ type: 'container', action, actor: { id: entry.id, attributes: { ...eventAttributes(entry), ...attributes } }, namespace: entry.record.spec.namespace })
  }
}
