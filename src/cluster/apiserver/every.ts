/** Work that comes round: in the background, so that neither a process nor a simulation waits for it to end. */
import type { Clock } from '#base/clock.ts'

/** Calls `run` every `intervalMs` until `signal` aborts; then it resolves. */
export function every(clock: Clock, intervalMs: number, signal: AbortSignal, run: () => void): Promise<void> {
  return new Promise((resolve) => {
    const tick = (): void => {
      timer = clock.after(intervalMs, tick, { background: true })
      run()
    }
    let timer = clock.after(intervalMs, tick, { background: true })
    const stop = (): void => {
      timer.cancel()
      resolve()
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}
