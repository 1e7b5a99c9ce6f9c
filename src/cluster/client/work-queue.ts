/**
 * The queue between "something changed" and "make it so": keys, each at most once, each by one worker at a time.
 *
 * A key added while it waits is not added twice; a key added while it is worked on is worked on once more afterwards. A
 * failure puts the key back after 5 ms, 10 ms, 20 ms … up to `maxBackoffMs`; a success forgets the failures. Nothing polls:
 * an idle queue holds no timer. The bound is the number of distinct keys, i.e. of objects.
 */
import type { Clock, Timer } from '#base/clock.ts'

/** What a reconciler may ask for; nothing means done until something changes. */
export interface Outcome {
  /** Look again after so long, although nothing changed (a deadline). */
  readonly requeueAfterMs?: number
}

export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome | void>

export interface WorkQueueOptions {
  readonly clock: Clock
  readonly reconcile: Reconcile
  /** Keys worked on at the same time. */
  readonly concurrency?: number
  readonly baseBackoffMs?: number
  readonly maxBackoffMs?: number
  /** Hears of every failed attempt; the key is retried all the same. */
  readonly onError?: (key: string, error: unknown, attempt: number) => void
}

interface Delayed {
  readonly dueMs: number
  readonly timer: Timer
}

export class WorkQueue implements AsyncDisposable {
  readonly #options: WorkQueueOptions
  /** Waiting keys, in order of arrival. */
  readonly #waiting = new Set<string>()
  readonly #working = new Map<string, Promise<void>>()
  /** Added while being worked on. */
  readonly #again = new Set<string>()
  readonly #delayed = new Map<string, Delayed>()
  readonly #failures = new Map<string, number>()
  readonly #controller = new AbortController()
  #started = false

  constructor(options: WorkQueueOptions) {
    this.#options = options
  }

  /** Work begins; keys added before have waited. */
  start(): void {
    this.#started = true
    this.#pump()
  }

  add(key: string): void {
    if (this.#controller.signal.aborted) return
    if (this.#working.has(key)) this.#again.add(key)
    else this.#waiting.add(key)
    this.#pump()
  }

  /** Adds the key after `delayMs`; of several delays of one key the earliest holds. */
  addAfter(key: string, delayMs: number): void {
    if (this.#controller.signal.aborted) return
    const { clock } = this.#options
    const dueMs = clock.monotonicMs() + delayMs
    const pending = this.#delayed.get(key)
    if (pending !== undefined) {
      if (pending.dueMs <= dueMs) return
      pending.timer.cancel()
    }
    const timer = clock.after(
      delayMs,
      () => {
        this.#delayed.delete(key)
        this.add(key)
      },
      { background: true },
    )
    this.#delayed.set(key, { dueMs, timer })
  }

  /** Keys waiting or worked on; delayed ones do not count. */
  get depth(): number {
    return this.#waiting.size + this.#working.size
  }

  get idle(): boolean {
    return this.depth === 0
  }

  #pump(): void {
    const limit = this.#options.concurrency ?? 1
    while (this.#started && this.#working.size < limit) {
      const [key] = this.#waiting
      if (key === undefined || this.#controller.signal.aborted) return
      this.#waiting.delete(key)
      this.#working.set(key, this.#work(key))
    }
  }

  async #work(key: string): Promise<void> {
    // The caller of add() returns first: a handler never runs a reconciler inside itself.
    await Promise.resolve()
    try {
      const outcome = await this.#options.reconcile(key, this.#controller.signal)
      this.#failures.delete(key)
      if (outcome?.requeueAfterMs !== undefined) this.addAfter(key, outcome.requeueAfterMs)
    } catch (error) {
      if (!this.#controller.signal.aborted) this.#retry(key, error)
    }
    this.#working.delete(key)
    if (this.#again.delete(key)) this.add(key)
    else this.#pump()
  }

  #retry(key: string, error: unknown): void {
    const { baseBackoffMs = 5, maxBackoffMs = 300_000, onError } = this.#options
    const attempt = (this.#failures.get(key) ?? 0) + 1
    this.#failures.set(key, attempt)
    onError?.(key, error, attempt)
    this.addAfter(key, Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(attempt - 1, 40)))
  }

  /** Aborts what runs, drops what waits, and resolves when the last worker has returned. */
  async close(): Promise<void> {
    this.#controller.abort()
    this.#waiting.clear()
    this.#again.clear()
    for (const { timer } of this.#delayed.values()) timer.cancel()
    this.#delayed.clear()
    while (this.#working.size > 0) await Promise.all(this.#working.values())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
