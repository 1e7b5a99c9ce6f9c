/**
 * Keeps containers' logs in their bounds while they run. Nothing is looked at while nothing is written: the first write after a
 * silence is told by inotify, then the size is looked at now and then, sooner the faster the log grows, until it stands still. conmon
 * itself starts a log anew far beyond the bounds, should we be down for long.
 */
import { watch, type FSWatcher } from 'node:fs'
import { rename } from 'node:fs/promises'
import type { Clock, Timer } from '#base/clock.ts'
import { isFault, systemErrorCode } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { TaskGroup } from '#base/task.ts'
import type { Runtime } from '../contract/runtime.ts'
import { rotatedLogs, rotatedPath, statIfThere, tidyRotated } from './log-files.ts'
import type { LogBounds } from './log-options.ts'

export interface LogKeeperOptions {
  readonly clock: Clock
  readonly runtime: Pick<Runtime, 'rotateLog' | 'reopenLog'>
  readonly log: Logger
}

interface Kept {
  readonly id: string
  readonly path: string
  readonly bounds: LogBounds
  /** What the last look saw. */
  size: number
  atMs: number
  /** Rotated, and not tidied yet: conmon may write to the file a moment longer. */
  rotated: boolean
  timer: Timer | undefined
  watcher: FSWatcher | undefined
  looking: Promise<void>
}

const soonestMs = 100
const latestMs = 1000

/** When to look again at a log that grows: halfway to its bound at its present pace, within a tenth of a second and a second. */
export function nextLookMs(grown: { readonly bytes: number; readonly inMs: number }, leftBytes: number): number {
  const halfway = grown.bytes <= 0 ? latestMs : (leftBytes / grown.bytes) * grown.inMs * 0.5
  return Math.min(latestMs, Math.max(soonestMs, halfway))
}

/** What conmon lets a log grow to by itself, then it begins anew: one file is bounded by conmon alone, several by us. */
export function ceilingBytes({ maxBytes, maxFiles }: LogBounds): number {
  return maxBytes * maxFiles
}

export class LogKeeper {
  readonly #options: LogKeeperOptions
  readonly #kept = new Map<string, Kept>()
  readonly #tasks: TaskGroup

  constructor(options: LogKeeperOptions) {
    this.#options = options
    this.#tasks = new TaskGroup((error) => options.log.error({ error: String(error) }, 'a log could not be kept in its bounds'))
  }

  /** The container runs. `adopted`: it ran without us, who may have been killed between moving the log aside and telling conmon. */
  start(id: string, path: string, bounds: LogBounds, options: { readonly adopted?: boolean } = {}): void {
    const kept: Kept = { id, path, bounds, size: -1, atMs: this.#options.clock.monotonicMs(), rotated: options.adopted === true, timer: undefined, watcher: undefined, looking: Promise.resolve() }
    this.#kept.set(id, kept)
    if (options.adopted === true) this.#tasks.spawn(() => this.#adopt(kept))
    else this.#lookIn(kept, soonestMs)
  }

  /** The container has ended, its conmon too. */
  async stop(id: string): Promise<void> {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    this.#kept.delete(id)
    quiet(kept)
    await kept.looking
  }

  /** Brings a log in its bounds that nobody writes to. */
  async settle(path: string, bounds: LogBounds): Promise<void> {
    const found = await statIfThere(path)
    if (found !== undefined && found.size >= bounds.maxBytes) await rename(path, await freePath(path))
    await tidyRotated(path, bounds)
  }

  async close(): Promise<void> {
    for (const kept of this.#kept.values()) quiet(kept)
    this.#kept.clear()
    await this.#tasks.close()
  }

  async #adopt(kept: Kept): Promise<void> {
    if ((await statIfThere(kept.path)) === undefined) await unlessEnded(this.#options.runtime.reopenLog(kept.id))
    this.#look(kept)
  }

  #isKept(kept: Kept): boolean {
    return this.#kept.get(kept.id) === kept
  }

  #lookIn(kept: Kept, ms: number): void {
    if (this.#isKept(kept)) kept.timer = this.#options.clock.after(ms, () => this.#look(kept), { background: true })
  }

  #look(kept: Kept): void {
    if (!this.#isKept(kept)) return
    this.#tasks.spawn(() => (kept.looking = this.#lookAt(kept)))
  }

  async #lookAt(kept: Kept): Promise<void> {
    const { clock, log } = this.#options
    try {
      const found = await statIfThere(kept.path)
      const nowMs = clock.monotonicMs()
      const size = found?.size ?? 0
      const grown = { bytes: size - kept.size, inMs: nowMs - kept.atMs }
      const still = kept.size === size
      kept.size = size
      kept.atMs = nowMs
      if (found !== undefined && kept.rotated) {
        kept.rotated = false
        await tidyRotated(kept.path, kept.bounds)
      }
      if (size >= kept.bounds.maxBytes) await this.#rotate(kept)
      if (still && !kept.rotated && found !== undefined) await this.#rest(kept)
      else this.#lookIn(kept, nextLookMs(grown, kept.bounds.maxBytes - size))
    } catch (error) {
      // A full disk, say: the next look tries again.
      log.warn({ container: kept.id, error: String(error) }, 'could not rotate a log')
      this.#lookIn(kept, latestMs)
    }
  }

  async #rotate(kept: Kept): Promise<void> {
    await unlessEnded(this.#options.runtime.rotateLog(kept.id, await freePath(kept.path)))
    kept.rotated = true
    kept.size = -1
  }

  /** Nothing grew: the kernel tells of the next write. */
  async #rest(kept: Kept): Promise<void> {
    if (!this.#isKept(kept)) return
    const awake = (): void => {
      if (kept.watcher === undefined) return
      quiet(kept)
      this.#lookIn(kept, soonestMs)
    }
    try {
      kept.watcher = watch(kept.path, { persistent: false }, awake)
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
      return this.#lookIn(kept, latestMs)
    }
    kept.watcher.on('error', awake)
    // What was written since the look and before the watch.
    const found = await statIfThere(kept.path)
    if (found?.size !== kept.size) awake()
  }
}

async function freePath(path: string): Promise<string> {
  return rotatedPath(path, ((await rotatedLogs(path)).at(-1)?.number ?? 0) + 1)
}

function quiet(kept: Kept): void {
  kept.timer?.cancel()
  kept.timer = undefined
  kept.watcher?.close()
  kept.watcher = undefined
}

/** Its exit is on the way, and with it the last look. */
async function unlessEnded(task: Promise<void>): Promise<void> {
  try {
    await task
  } catch (error) {
    if (!isFault(error, 'conflict') && !isFault(error, 'notFound') && systemErrorCode(error) !== 'ENOENT') throw error
  }
}
