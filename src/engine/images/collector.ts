/**
 * Frees now and then what nothing names, so that what a crash, a canceled pull or a failed build left does not stay until somebody prunes.
 * What is younger than a day is spared: an interrupted pull goes on with the layers it had.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { TaskGroup } from '#base/task.ts'

export const sparedMs = 24 * 3_600_000
const firstAfterMs = 10 * 60_000
const everyMs = 6 * 3_600_000

export interface CollectorOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Answers the bytes freed. */
  readonly collect: () => Promise<number>
}

export function collectRegularly({ clock, logger, collect }: CollectorOptions): AsyncDisposable {
  const group = new TaskGroup((error) => logger.error({ error }, 'what nothing names could not be collected'))
  let timer: Timer
  const arm = (delayMs: number): void => {
    timer = clock.after(delayMs, () => {
      group.spawn(async () => {
        const freedBytes = await collect()
        if (freedBytes > 0) logger.info({ freedBytes }, 'blobs and layers that nothing names were collected')
      })
      arm(everyMs)
    }, { background: true })
  }
  arm(firstAfterMs)
  return {
    async [Symbol.asyncDispose]() {
      timer.cancel()
      await group.close()
    },
  }
}
