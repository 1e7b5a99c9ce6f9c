/** Concurrency that is owned: one serial executor per key, groups that join their children, gates that bound. */
import { Fault } from './fault.ts'

/** Runs tasks one after another per key, in order of arrival. Keys are forgotten when idle. */
export class KeyedSerial<K> {
  readonly #tails = new Map<K, Promise<unknown>>()

  /** Runs `task` after all earlier tasks of `key` have settled; their failures do not concern it. */
  run<T>(key: K, task: () => Promise<T>): Promise<T> {
    const previous = this.#tails.get(key) ?? Promise.resolve()
    const result = previous.then(task, task)
    const tail: Promise<void> = result.then(
      () => this.#release(key, tail),
      () => this.#release(key, tail),
    )
    this.#tails.set(key, tail)
    return result
  }

  #release(key: K, tail: Promise<unknown>): void {
    if (this.#tails.get(key) === tail) this.#tails.delete(key)
  }
}

/** Owns a set of running tasks: `close` aborts their signal and waits for all of them. */
export class TaskGroup implements AsyncDisposable {
  readonly #controller = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #onError: (error: unknown) => void

  /** `onError` hears of every task that fails for a reason other than the group's own cancellation. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  spawn(task: (signal: AbortSignal) => Promise<void>): void {
    if (this.signal.aborted) throw new Fault('canceled', 'the task group is closed')
    const running: Promise<void> = task(this.signal)
      .catch((error: unknown) => {
        if (!this.signal.aborted) this.#onError(error)
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  async close(): Promise<void> {
    this.#controller.abort(new Fault('canceled', 'the task group is closing'))
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Lets at most `limit` tasks run at a time; at most `queueLimit` wait, then callers get `resourceExhausted`. */
export class Gate {
  readonly #limit: number
  readonly #queueLimit: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(limit: number, queueLimit = Number.POSITIVE_INFINITY) {
    this.#limit = limit
    this.#queueLimit = queueLimit
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) {
      if (this.#waiting.length >= this.#queueLimit) throw new Fault('resourceExhausted', 'too many requests are waiting', { retryAfterSeconds: 1 })
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else this.#running += 1
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}
