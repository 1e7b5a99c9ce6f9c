/**
 * Time as a port. Nothing outside this file and `sim/` may ask the machine for the time or set a timer
 * (`tools/tidy.ts` bans it), so that the whole control plane also runs in virtual time.
 */
import { Fault } from './fault.ts'

export interface Clock {
  /** Wall clock, milliseconds since the epoch. For timestamps only: it may jump. */
  nowMs(): number
  /** Wall clock, nanoseconds since the epoch, for Docker's `timeNano` and log lines. */
  nowNs(): bigint
  /** Monotonic milliseconds since an arbitrary start. For durations and deadlines. */
  monotonicMs(): number
  /** Calls `fn` once after `delayMs`; disposing the timer cancels it. A pending timer keeps the process alive unless `background`. */
  after(delayMs: number, fn: () => void, options?: { readonly background?: boolean }): Timer
}

export interface Timer extends Disposable {
  cancel(): void
}

/** setTimeout clamps anything larger to 1 ms; longer delays are chained. */
const longestTimerMs = 2 ** 31 - 1

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  nowNs: () => wallOriginNs + process.hrtime.bigint(),
  monotonicMs: () => performance.now(),
  after(delayMs, fn, options = {}) {
    let handle: NodeJS.Timeout
    const arm = (remainingMs: number): void => {
      const stepMs = Math.min(remainingMs, longestTimerMs)
      handle = setTimeout(() => (remainingMs > stepMs ? arm(remainingMs - stepMs) : fn()), stepMs)
      if (options.background === true) handle.unref()
    }
    arm(Math.max(0, delayMs))
    const cancel = (): void => clearTimeout(handle)
    return { cancel, [Symbol.dispose]: cancel }
  },
}

const wallOriginNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()

/** Resolves after `ms` on `clock`; rejects with a `canceled` fault when `signal` aborts first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(new Fault('canceled', 'the wait was canceled', { cause: signal.reason }))
    const onAbort = (): void => {
      timer.cancel()
      reject(new Fault('canceled', 'the wait was canceled', { cause: signal?.reason }))
    }
    const timer = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** RFC 3339 with whole seconds, as Kubernetes `metav1.Time` is written. */
export function rfc3339Seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

/** RFC 3339 with six decimals, as Kubernetes `metav1.MicroTime` is written. */
export function rfc3339Micro(ms: number): string {
  const micros = Math.floor((ms - Math.floor(ms)) * 1000)
  return `${new Date(ms).toISOString().slice(0, 23)}${String(micros).padStart(3, '0')}Z`
}

/** RFC 3339 with nine decimals, as Docker and CRI logs write times. `ns` counts from the epoch. */
export function rfc3339Nano(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19)
  return `${seconds}.${String(ns % 1_000_000_000n).padStart(9, '0')}Z`
}
