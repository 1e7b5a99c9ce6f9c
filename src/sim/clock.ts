/**
 * Virtual time. Timers fire in the order of their due time, those due together in the order in which they were set; time
 * moves only when the simulator says so, and only when nothing else can run. Promises are let run dry between timers:
 * `settle` waits until the event loop has been idle for a whole turn, which in a process that does no real I/O means that
 * every continuation has run. The order is therefore a function of the program and the seed alone.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'

interface Entry {
  readonly dueMs: number
  readonly sequence: number
  readonly fn: () => void
  readonly background: boolean
}

export interface VirtualClock extends Clock {
  /** Lets time pass: fires what falls due on the way, one timer at a time, each followed by `settle`. */
  advance(ms: number): Promise<void>
  /** Lets every continuation run that needs no time. */
  settle(): Promise<void>
  /**
   * Fires timer after timer until no foreground timer is left, or throws `timeout` when `limitMs` of virtual time pass.
   * Answers how much time passed.
   */
  runUntilIdle(limitMs: number): Promise<number>
  /** Advances, timer by timer, until `condition` holds; false when `limitMs` pass first. */
  runUntil(condition: () => boolean, limitMs: number): Promise<boolean>
  /** How many timers are pending. */
  readonly pending: number
}

/** 2026-01-01T00:00:00Z: every simulated world begins here. */
export const simulatedEpochMs = 1_767_225_600_000

export function virtualClock(startMs = simulatedEpochMs): VirtualClock {
  const heap: Entry[] = []
  const canceled = new Set<Entry>()
  let nowMs = startMs
  let sequence = 0

  const settle = async (): Promise<void> => {
    // Each turn of setImmediate runs all microtasks (and nextTicks) before it, however deeply they nest. The second turn
    // covers what a library defers by one setImmediate of its own.
    for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve))
  }

  const peek = (): Entry | undefined => {
    for (let top = heap[0]; top !== undefined; top = heap[0]) {
      if (!canceled.delete(top)) return top
      popHeap(heap)
    }
    return undefined
  }

  /** Fires the next timer when it is due by `limitMs`; false when there is none. Several drivers take turns. */
  let turn: Promise<unknown> = Promise.resolve()
  const fireNext = (limitMs: number): Promise<boolean> => {
    const mine = turn.then(() => fireOne(limitMs))
    turn = mine
    return mine
  }
  const fireOne = async (limitMs: number): Promise<boolean> => {
    const next = peek()
    if (next === undefined || next.dueMs > limitMs) return false
    popHeap(heap)
    nowMs = Math.max(nowMs, next.dueMs)
    next.fn()
    await settle()
    return true
  }

  const clock: VirtualClock = {
    nowMs: () => nowMs,
    nowNs: () => BigInt(Math.round(nowMs * 1000)) * 1000n,
    monotonicMs: () => nowMs - startMs,
    after(delayMs, fn, options = {}): Timer {
      const entry: Entry = { dueMs: nowMs + Math.max(0, delayMs), sequence: sequence++, fn, background: options.background === true }
      let done = false
      const fired: Entry = {
        ...entry,
        fn: () => {
          done = true
          fn()
        },
      }
      pushHeap(heap, fired)
      const cancel = (): void => {
        if (!done) canceled.add(fired)
        done = true
      }
      return { cancel, [Symbol.dispose]: cancel }
    },
    settle,
    async advance(ms) {
      const limitMs = nowMs + ms
      await settle()
      while (await fireNext(limitMs));
      nowMs = Math.max(nowMs, limitMs)
    },
    async runUntilIdle(limitMs) {
      const startedMs = nowMs
      await settle()
      for (;;) {
        if (!heap.some((entry) => !entry.background && !canceled.has(entry))) return nowMs - startedMs
        if (!(await fireNext(startedMs + limitMs))) throw new Fault('timeout', `the world is not idle after ${limitMs} ms of virtual time: ${heap.length - canceled.size} timers are pending`)
      }
    },
    async runUntil(condition, limitMs) {
      const endMs = nowMs + limitMs
      await settle()
      while (!condition()) {
        if (await fireNext(endMs)) continue
        nowMs = Math.max(nowMs, endMs)
        return condition()
      }
      return true
    },
    get pending() {
      return heap.length - canceled.size
    },
  }
  return clock
}

const before = (a: Entry, b: Entry): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.sequence < b.sequence)

function pushHeap(heap: Entry[], entry: Entry): void {
  let at = heap.push(entry) - 1
  while (at > 0) {
    const parentAt = (at - 1) >> 1
    const parent = heap[parentAt]
    if (parent === undefined || !before(entry, parent)) break
    heap[at] = parent
    at = parentAt
  }
  heap[at] = entry
}

function popHeap(heap: Entry[]): void {
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return
  let at = 0
  for (;;) {
    const left = heap[2 * at + 1]
    const right = heap[2 * at + 2]
    if (left === undefined) break
    const smallest = right !== undefined && before(right, left) ? { entry: right, at: 2 * at + 2 } : { entry: left, at: 2 * at + 1 }
    if (!before(smallest.entry, last)) break
    heap[at] = smallest.entry
    at = smallest.at
  }
  heap[at] = last
}
