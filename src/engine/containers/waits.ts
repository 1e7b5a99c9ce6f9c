/** Those who wait for a container: registered before anything happens, answered once, whatever becomes of the container. */
import { Fault } from '#base/fault.ts'
import type { WaitCondition, WaitResult } from '../contract/containers.ts'

interface Waiter {
  readonly condition: WaitCondition
  readonly resolve: (result: WaitResult) => void
}

export class Waits {
  readonly #waiters = new Map<string, Set<Waiter>>()

  register(id: string, condition: WaitCondition, signal?: AbortSignal): Promise<WaitResult> {
    const { promise, resolve, reject } = Promise.withResolvers<WaitResult>()
    const waiter: Waiter = { condition, resolve }
    const set = this.#waiters.get(id) ?? new Set()
    this.#waiters.set(id, set)
    set.add(waiter)
    const giveUp = (): void => {
      set.delete(waiter)
      reject(new Fault('canceled', 'the wait was given up', { cause: signal?.reason }))
    }
    if (signal?.aborted === true) giveUp()
    else signal?.addEventListener('abort', giveUp, { once: true })
    // Whoever gave up does not look any more.
    promise.catch((error: unknown) => void error)
    return promise
  }

  settle(id: string, result: WaitResult, conditions: readonly WaitCondition[]): void {
    const set = this.#waiters.get(id)
    if (set === undefined) return
    for (const waiter of [...set]) {
      if (!conditions.includes(waiter.condition)) continue
      set.delete(waiter)
      waiter.resolve(result)
    }
    if (set.size === 0) this.#waiters.delete(id)
  }
}
