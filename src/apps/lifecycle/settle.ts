/**
 * What a process does when it has come to rest. Once, a moment after its start, its compiled sources are saved. After its start, and after
 * each time it was busy, the memory that only the work needed goes back (a fourth of a node process).
 */
import { saveCompiled } from '#base/compile-cache.ts'
import { collectGarbage } from '#base/collect-garbage.ts'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'

/** A start has other things to do first. */
const saveAfterMs = 500
/** Longer than the pauses of who works with the machine by script; a collection stops everything for some 30 ms. */
const quietMs = 2000
/** A process that used more of the processor than this, of all the time, is not at rest: a long request is being worked on. */
const restingShare = 0.25

export interface SettleOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Processor time that this process has used, milliseconds. */
  readonly processorMs?: () => number
  /** Gives what is free back to the kernel. */
  readonly trimMemory?: () => Promise<void>
}

export interface Settling {
  /** Something is to do: what it leaves behind goes once nothing has been to do for a while. */
  busy(): void
}

export function settleSoon({ clock, log, processorMs = usedProcessorMs, trimMemory }: SettleOptions): Settling {
  let lastBusyMs = clock.monotonicMs()
  let isArmed = false
  const arm = (afterMs: number): void => {
    isArmed = true
    const usedMs = processorMs()
    clock.after(afterMs, () => free((processorMs() - usedMs) / afterMs), { background: true })
  }
  const free = (share: number): void => {
    if (share > restingShare) return arm(quietMs)
    const leftMs = lastBusyMs + quietMs - clock.monotonicMs()
    if (leftMs > 0) return arm(leftMs)
    isArmed = false
    collectGarbage()
    trimMemory?.().catch((error: unknown) => log.warn({ error: String(error) }, 'could not give memory back'))
  }
  clock.after(saveAfterMs, saveCompiled, { background: true })
  arm(quietMs)
  return {
    busy() {
      lastBusyMs = clock.monotonicMs()
      if (!isArmed) arm(quietMs)
    },
  }
}

function usedProcessorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
