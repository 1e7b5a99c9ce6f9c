/** One informer per kind, shared by all controllers of a process, so that each object is watched and held once. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Stored } from '#schema/kind.ts'
import { TaskGroup } from '#base/task.ts'
import type { ClientKind, ReadClient } from '../contract/client.ts'
import type { Informer } from './informer.ts'
import { createInformer } from './informer.ts'

export interface InformersOptions {
  readonly client: ReadClient
  readonly clock: Clock
  readonly log: Logger
}

export class Informers implements AsyncDisposable {
  readonly #options: InformersOptions
  readonly #tasks: TaskGroup
  /** Keyed by the kind's definition, so the entry under K is the informer of K. */
  readonly #informers = new Map<ClientKind, unknown>()

  constructor(options: InformersOptions) {
    this.#options = options
    this.#tasks = new TaskGroup((error) => options.log.error({ err: error }, 'an informer failed'))
  }

  /** The informer of `kind` over all namespaces; it begins to follow the server with the first call. */
  of<K extends ClientKind>(kind: K): Informer<Stored<K>> {
    const known = this.#informers.get(kind)
    if (known !== undefined) return known as Informer<Stored<K>>
    const { client, clock, log } = this.#options
    const informer = createInformer(kind, { client, clock, onError: (error) => log.debug({ kind: kind.kind, err: error }, 'list or watch failed and will be retried') })
    this.#informers.set(kind, informer)
    this.#tasks.spawn((signal) => informer.run(signal))
    return informer
  }

  close(): Promise<void> {
    return this.#tasks.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
