/**
 * A controller: informers whose changes name keys, a queue, and a reconciler that never learns what happened, only
 * where to look (controller-runtime's `reconcile.Reconciler` is the anchor). Work begins when every cache is filled.
 */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { TaskGroup } from '#base/task.ts'
import type { StoredObject } from '#schema/kind.ts'
import { isFault } from '#base/fault.ts'
import type { Change, Informer } from './informer.ts'
import type { Reconcile } from './work-queue.ts'
import { WorkQueue } from './work-queue.ts'

export interface ControllerOptions {
  readonly name: string
  readonly clock: Clock
  readonly log: Logger
  readonly reconcile: Reconcile
  readonly concurrency?: number
  readonly maxBackoffMs?: number
}

export class Controller implements AsyncDisposable {
  readonly name: string
  readonly queue: WorkQueue
  readonly #informers = new Set<{ whenSynced(signal?: AbortSignal): Promise<void> }>()
  readonly #tasks: TaskGroup

  constructor(options: ControllerOptions) {
    this.name = options.name
    this.#tasks = new TaskGroup((error) => options.log.error({ controller: options.name, err: error }, 'controller task failed'))
    this.queue = new WorkQueue({
      clock: options.clock,
      reconcile: options.reconcile,
      concurrency: options.concurrency ?? 4,
      ...(options.maxBackoffMs === undefined ? {} : { maxBackoffMs: options.maxBackoffMs }),
      onError: (key, error, attempt) => {
        const fields = { controller: options.name, key, attempt, err: error }
        // A conflict says that the cache lagged: the ordinary course of things.
        if (isFault(error, 'conflict') || isFault(error, 'alreadyExists')) options.log.debug(fields, 'reconcile will be retried')
        else options.log.warn(fields, 'reconcile failed and will be retried')
      },
    })
  }

  /** Every change of `informer` puts the keys that `keys` answers into the queue. */
  watch<T extends StoredObject>(informer: Informer<T>, keys: (change: Change<T>) => Iterable<string>): this {
    this.reads(informer)
    informer.onChange((change) => {
      for (const key of keys(change)) this.queue.add(key)
    })
    return this
  }

  /** The reconciler reads this cache too, so work must wait for it. */
  reads<T extends StoredObject>(informer: Informer<T>): this {
    this.#informers.add(informer)
    return this
  }

  /** Returns at once; the informers are run by whoever owns them. */
  start(): void {
    this.#tasks.spawn(async (signal) => {
      for (const informer of this.#informers) await informer.whenSynced(signal)
      if (!signal.aborted) this.queue.start()
    })
  }

  async close(): Promise<void> {
    await Promise.all([this.#tasks.close(), this.queue.close()])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
