/**
 * What a process does once, a moment after its start, when it has loaded what it needs: its compiled sources are saved, and the memory that
 * only the start needed goes back (a fifth of an idle node process).
 */
import { queryObjects } from 'node:v8'
import { saveCompiled } from '#base/compile-cache.ts'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'

/** A start has other things to do first. */
const saveAfterMs = 500
const freeAfterMs = 2000

export interface SettleOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Gives what is free back to the kernel. */
  readonly trimMemory?: () => Promise<void>
}

export function settleSoon({ clock, log, trimMemory }: SettleOptions): void {
  clock.after(saveAfterMs, saveCompiled, { background: true })
  const free = (): void => {
    collectAllGarbage()
    trimMemory?.().catch((error: unknown) => log.warn({ error: String(error) }, 'could not give memory back'))
  }
  clock.after(freeAfterMs, free, { background: true })
}

/** V8 counts objects after it has collected all garbage. The flag that offers a collection by itself would cost every start its code cache (25 ms). */
function collectAllGarbage(): void {
  class Nothing {}
  queryObjects(Nothing, { format: 'count' })
}
