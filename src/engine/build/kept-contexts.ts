/**
 * Folders that clients lend again and again: the spool of one build begins the next one's, so that of a folder only that is sent and
 * hashed which has changed. As in BuildKit, a file has not changed when its size and its time have not, and the client's own key says
 * which folder it is. Nothing of it outlives the process: what is here after a start is thrown away.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { systemErrorCode } from '#base/fault.ts'
import type { KeptFiles } from './tree.ts'

/** Of all spools that are kept; the one longest unused goes first. */
const maxKeptBytes = 4 * 1024 ** 3
/** What other builds have left in a spool may be as much again, and this much more. */
const slackBytes = 64 * 1024 ** 2

interface Kept {
  readonly place: string
  readonly sizeBytes: number
}

/** A folder under its key, for one build. Its files are what is known of it, and are replaced by what the build has learned. */
export interface TakenContext {
  readonly key: string
  files: KeptFiles
}

export class KeptContexts {
  readonly #folder: string
  /** Longest unused first. */
  readonly #kept = new Map<string, Kept>()

  constructor(folder: string) {
    this.#folder = folder
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
    return { key, files }
  }

  /** Keeps what a build has spooled at `path`, which nobody has open any more. */
  async give({ key, files }: TakenContext, path: string): Promise<void> {
    const sizeBytes = await sizeOf(path)
    const wanted = files.values().reduce((sum, file) => sum + file.sizeBytes, 0)
    if (wanted === 0 || sizeBytes === 0 || sizeBytes > maxKeptBytes || sizeBytes > 2 * wanted + slackBytes) return
    const place = join(this.#folder, randomUUID())
    await mkdir(place, { mode: 0o700 })
    await writeFile(join(place, 'files'), serialize(files))
    await rename(path, join(place, 'spool'))
    const before = this.#kept.get(key)
    this.#kept.delete(key)
    this.#kept.set(key, { place, sizeBytes })
    if (before !== undefined) await rm(before.place, { recursive: true })
    await this.#shrink(maxKeptBytes)
  }

  clear(): Promise<void> {
    return this.#shrink(0)
  }

  async #shrink(toBytes: number): Promise<void> {
    let total = this.#kept.values().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    for (const [key, { place, sizeBytes }] of [...this.#kept]) {
      if (total <= toBytes) return
      total -= sizeBytes
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
