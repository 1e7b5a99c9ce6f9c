/**
 * Folders that clients lend again and again: the spool of one build begins the next one's, so that of a folder only that is sent and
 * hashed which has changed. As in BuildKit, a file has not changed when its size and its time have not, and the client's own key says
 * which folder it is. Nothing of it outlives the process: what is here after a start is thrown away.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import type { Clock } from '#base/clock.ts'
import { systemErrorCode } from '#base/fault.ts'
import { cacheKey } from './cache.ts'
import type { FolderUsage } from './cache-mounts.ts'
import type { KeptFiles } from './tree.ts'

/** Of all spools that are kept; the one longest unused goes first. */
const maxKeptBytes = 4 * 1024 ** 3
/** What other builds have left in a spool may be as much again, and this much more. */
const slackBytes = 64 * 1024 ** 2

interface Kept {
  readonly place: string
  readonly usage: FolderUsage
}

/** A folder under its key, for one build. Its files are what is known of it, and are replaced by what the build has learned. */
export interface TakenContext {
  readonly key: string
  files: KeptFiles
  /** Undefined: nothing was known of it. */
  readonly usage?: FolderUsage
}

export class KeptContexts {
  readonly #folder: string
  /** Longest unused first. */
  readonly #kept = new Map<string, Kept>()
  /** What builds have now. */
  readonly #taken = new Set<FolderUsage>()
  readonly #clock: Pick<Clock, 'nowMs'>

  constructor(folder: string, clock: Pick<Clock, 'nowMs'>) {
    this.#folder = folder
    this.#clock = clock
  }

  async open(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
    await mkdir(this.#folder, { mode: 0o700 })
  }

  /** Moves the spool to `path` where there is one. Builds of the same folder at the same time: the first has it. */
  async take(key: string, path: string): Promise<TakenContext> {
    const found = this.#kept.get(key)
    if (found === undefined) return { key, files: new Map() }
    this.#kept.delete(key)
    const files: KeptFiles = deserialize(await readFile(join(found.place, 'files')))
    await rename(join(found.place, 'spool'), path)
    await rm(found.place, { recursive: true })
    const usage = { ...found.usage, inUse: true }
    this.#taken.add(usage)
    return { key, files, usage }
  }

  /** Keeps what a build has spooled at `path`, which nobody has open any more. */
  async give({ key, files, usage }: TakenContext, path: string): Promise<void> {
    if (usage !== undefined) this.#taken.delete(usage)
    const sizeBytes = await sizeOf(path)
    const wanted = files.values().reduce((sum, file) => sum + file.sizeBytes, 0)
    if (wanted === 0 || sizeBytes === 0 || sizeBytes > maxKeptBytes || sizeBytes > 2 * wanted + slackBytes) return
    const place = join(this.#folder, randomUUID())
    await mkdir(place, { mode: 0o700 })
    await writeFile(join(place, 'files'), serialize(files))
    await rename(path, join(place, 'spool'))
    const before = this.#kept.get(key)
    this.#kept.delete(key)
    const usedAtMs = this.#clock.nowMs()
    const description = `local source for ${key.split(' ', 1).join('')}`
    this.#kept.set(key, { place, usage: { name: cacheKey('context', key), description, createdAtMs: usage?.createdAtMs ?? usedAtMs, usageCount: (usage?.usageCount ?? 0) + 1, sizeBytes, usedAtMs, inUse: false } })
    if (before !== undefined) await rm(before.place, { recursive: true })
    await this.#shrink(maxKeptBytes)
  }

  usage(): Promise<readonly FolderUsage[]> {
    return Promise.resolve([...this.#taken, ...this.#kept.values().map(({ usage }) => usage)])
  }

  /** False: a build has it, or it is gone already. */
  async remove(name: string): Promise<boolean> {
    const found = this.#kept.entries().find(([, { usage }]) => usage.name === name)
    if (found === undefined) return false
    this.#kept.delete(found[0])
    await rm(found[1].place, { recursive: true })
    return true
  }

  async #shrink(toBytes: number): Promise<void> {
    let total = this.#kept.values().reduce((sum, { usage }) => sum + usage.sizeBytes, 0)
    for (const [key, { place, usage }] of [...this.#kept]) {
      if (total <= toBytes) return
      total -= usage.sizeBytes
      this.#kept.delete(key)
      await rm(place, { recursive: true })
    }
  }
}

/** 0: the build has not come so far. */
async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return 0
    throw error
  }
}
