/** The live half of a store's watches: hands each committed revision to the watchers it concerns, and bounds what a slow one may hold. */
import { Fault } from '#base/fault.ts'
import type { StoreEvent, StoreWatchOptions } from '../contract/store.ts'

const defaultBufferedEvents = 16_384

export class Feed {
  readonly #subscriptions = new Set<Subscription>()

  /** `events` are those of one or more whole commits, in order. */
  publish(events: readonly StoreEvent[]): void {
    for (const subscription of this.#subscriptions) subscription.offer(events)
  }

  subscribe(prefix: string, options: StoreWatchOptions): Subscription {
    const subscription: Subscription = new Subscription(prefix, options, () => this.#subscriptions.delete(subscription))
    this.#subscriptions.add(subscription)
    return subscription
  }

  /** Ends every watch with `fault`. */
  close(fault: Fault): void {
    for (const subscription of this.#subscriptions) subscription.end(fault)
  }
}

/** One watcher's place in the feed. */
class Subscription implements Disposable {
  readonly #prefix: string
  readonly #limit: number
  readonly #signal: AbortSignal
  readonly #leave: () => void
  readonly #onAbort = (): void => this.end(undefined)
  #waiting: StoreEvent[] = []
  #wake: (() => void) | undefined
  #ended = false
  #fault: Fault | undefined

  constructor(prefix: string, options: StoreWatchOptions, leave: () => void) {
    this.#prefix = prefix
    this.#limit = options.bufferedEvents ?? defaultBufferedEvents
    this.#signal = options.signal
    this.#leave = leave
    if (options.signal.aborted) this.#ended = true
    else options.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  offer(events: readonly StoreEvent[]): void {
    if (this.#ended) return
    for (const event of events) if (event.key.startsWith(this.#prefix)) this.#waiting.push(event)
    if (this.#waiting.length > this.#limit) {
      this.end(new Fault('resourceExhausted', `the watch of ${this.#prefix} was ended: it left more than ${this.#limit} events unread`))
    }
    if (this.#waiting.length > 0) this.#wake?.()
  }

  end(fault: Fault | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#fault = fault
    this.#waiting = []
    this.#wake?.()
    this[Symbol.dispose]()
  }

  /** The next batch; undefined when the watch has ended quietly. */
  async next(): Promise<readonly StoreEvent[] | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#fault !== undefined) throw this.#fault
      if (this.#ended) return undefined
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
    const batch = this.#waiting
    this.#waiting = []
    return batch
  }

  [Symbol.dispose](): void {
    this.#ended = true
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#leave()
  }
}
