/** A store whose disk is slow at times: commits and watched events arrive late, in order. What it stores is the inner store's. */
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Store } from '#cluster/contract/store.ts'

export interface Slowness {
  /** Milliseconds that the next commit takes. */
  commitMs(): number
  /** Milliseconds that the next watched batch takes. */
  feedMs(): number
}

export function slowStore(inner: Store, clock: Clock, slowness: Slowness): Store {
  return {
    revision: () => inner.revision(),
    compactedRevision: () => inner.compactedRevision(),
    get: (key) => inner.get(key),
    list: (prefix, options) => inner.list(prefix, options),
    compact: (revision) => inner.compact(revision),
    close: () => inner.close(),
    async commit(writes) {
      const ms = slowness.commitMs()
      if (ms > 0) await sleep(clock, ms)
      return inner.commit(writes)
    },
    async *watch(prefix, options) {
      for await (const events of inner.watch(prefix, options)) {
        const ms = slowness.feedMs()
        if (ms > 0 && !(await pause(clock, ms, options.signal))) return
        yield events
      }
    },
  }
}

/** False when the signal aborted first. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(clock, ms, signal)
    return true
  } catch (error) {
    if (isFault(error, 'canceled')) return false
    throw error
  }
}
