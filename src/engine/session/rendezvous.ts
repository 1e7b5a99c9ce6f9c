/** Things that are shown under an id for a while, and asked for by it: the two sides come on two connections, in any order. */
import { sleep, type Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'

/** How long who asks waits for what is on its way; moby's own figure. */
const arrivalMs = 5000

export class Rendezvous<T> {
  readonly #clock: Clock
  readonly #absence: string
  readonly #there = new Map<string, T>()
  readonly #waiting = new Set<{ readonly id: string; readonly arrived: (thing: T) => void }>()

  /** `absence`: words before an id that nobody came with. */
  constructor(clock: Clock, absence: string) {
    this.#clock = clock
    this.#absence = absence
  }

  /** Until the answer is disposed of. `alreadyExists` where the id is taken. */
  show(id: string, thing: T): Disposable {
    if (this.#there.has(id)) throw new Fault('alreadyExists', `${id} already exists`)
    this.#there.set(id, thing)
    for (const waiter of this.#waiting) if (waiter.id === id) waiter.arrived(thing)
    return { [Symbol.dispose]: () => void this.#there.delete(id) }
  }

  async get(id: string): Promise<T> {
    const known = this.#there.get(id)
    if (known !== undefined) return known
    const { promise, resolve: arrived } = Promise.withResolvers<T>()
    const waiter = { id, arrived }
    this.#waiting.add(waiter)
    const enough = new AbortController()
    try {
      return await Promise.race([promise, this.#tooLate(id, enough.signal)])
    } finally {
      enough.abort()
      this.#waiting.delete(waiter)
    }
  }

  async #tooLate(id: string, signal: AbortSignal): Promise<never> {
    await sleep(this.#clock, arrivalMs, signal)
    throw new Fault('notFound', `${this.#absence} ${id}`)
  }
}
