/**
 * The folders behind `RUN --mount=type=cache`: they outlive builds. `shared` ones are used by many at a time, `locked` ones by one after
 * another, and `private` ones get a fresh sibling while another has them. Beside each lies a record of what it is and when it was of use.
 */
import { chmod, chown, mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { systemErrorCode } from '#base/fault.ts'
import { readTextIfThere, writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import { treeSize } from '#base/tree-size.ts'
import { cacheKey } from './cache.ts'
import type { RunMount } from './dockerfile/mounts.ts'

export type CacheMount = Extract<RunMount, { type: 'cache' }>

export interface CacheFolder {
  readonly path: string
  /** Nobody has had it before: what it begins with is to be put into it. */
  readonly isNew: boolean
}

/** Lets it go. */
export interface HeldCacheFolder extends CacheFolder {
  readonly release: () => void
}

/** A folder that is kept for builds to come, as lists show it. */
export interface FolderUsage {
  readonly name: string
  readonly description: string
  readonly sizeBytes: number
  readonly createdAtMs: number
  readonly usedAtMs: number
  readonly usageCount: number
  /** A build has it now, or waits for it. */
  readonly inUse: boolean
}

interface CacheMountRecord {
  /** Empty: of a folder whose record is gone. */
  readonly id: string
  readonly description: string
  readonly createdAtMs: number
  readonly usedAtMs: number
  readonly usageCount: number
}

export class CacheMounts {
  readonly #folder: string
  readonly #clock: Pick<Clock, 'nowMs'>
  /** Users of each folder now, and those who wait for it. */
  readonly #users = new Map<string, number>()
  /** Those who want a folder for themselves, in line. */
  readonly #lines = new Map<string, Promise<unknown>>()
  /** Folders that are being removed. */
  readonly #removals = new Map<string, Promise<void>>()
  /** Of folders that nobody has had since they were measured. */
  readonly #sizes = new Map<string, Promise<number>>()

  /** `folder`: made when first needed. */
  constructor(folder: string, clock: Pick<Clock, 'nowMs'>) {
    this.#folder = folder
    this.#clock = clock
  }

  /** Takes one for `user`; `release` lets it go. What it begins with (`from`, `source`) is part of what it is. */
  async acquire(mount: CacheMount, user: string): Promise<HeldCacheFolder> {
    const key = cacheKey('mount', mount.id, mount.from ?? '', mount.source)
    let name = key
    if (mount.sharing === 'private') for (let count = 1; (this.#users.get(name) ?? 0) > 0; count += 1) name = `${key}-${count}`
    this.#enter(name)
    const leaveLine = mount.sharing === 'locked' ? await this.#waitInLine(key) : undefined
    const release = (): void => {
      this.#leave(name)
      leaveLine?.()
    }
    try {
      return { ...(await this.#open(name, mount, user)), release }
    } catch (error) {
      release()
      throw error
    }
  }

  #enter(name: string): void {
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1)
    this.#sizes.delete(name)
  }

  #leave(name: string): void {
    const left = (this.#users.get(name) ?? 1) - 1
    if (left > 0) this.#users.set(name, left)
    else this.#users.delete(name)
  }

  /** Answers what lets the next one in. */
  async #waitInLine(key: string): Promise<() => void> {
    const before = this.#lines.get(key)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#lines.set(key, promise)
    await before
    return () => {
      if (this.#lines.get(key) === promise) this.#lines.delete(key)
      resolve()
    }
  }

  async #open(name: string, { id, target, uid, gid, mode }: CacheMount, user: string): Promise<CacheFolder> {
    await this.#removals.get(name)
    const path = join(this.#folder, name)
    const isNew = (await mkdir(path, { recursive: true, mode: 0o700 })) !== undefined
    if (isNew) {
      await chown(path, uid, gid)
      await chmod(path, mode)
    }
    const nowMs = this.#clock.nowMs()
    const known = isNew ? undefined : await this.#record(name)
    // BuildKit's words: its Dockerfile frontend puts the (empty) name space of the caches before the id.
    const { description, createdAtMs, usageCount } = known ?? { description: `cached mount ${target} from ${user} with id ${JSON.stringify(`/${id}`)}`, createdAtMs: nowMs, usageCount: 0 }
    await writeState(`${path}.json`, { formatVersion: 1, id, description, createdAtMs, usedAtMs: nowMs, usageCount: usageCount + 1 }, { durable: false })
    return { path, isNew }
  }

  /** Undefined: there is no such folder. Where its record is torn or of an earlier version, the folder says what it can. */
  async #record(name: string): Promise<CacheMountRecord | undefined> {
    const path = join(this.#folder, name)
    const times = await timesOf(path)
    if (times === undefined) return undefined
    const known = parsed(await readTextIfThere(`${path}.json`))
    const text = (field: string): string => (typeof known[field] === 'string' ? known[field] : '')
    const number = (field: string, otherwise: number): number => (typeof known[field] === 'number' ? known[field] : otherwise)
    return {
      id: text('id'), description: text('description') || `cached mount with id ${JSON.stringify(`/${text('id')}`)}`,
      createdAtMs: number('createdAtMs', times.createdAtMs), usedAtMs: number('usedAtMs', times.changedAtMs), usageCount: number('usageCount', 1),
    }
  }

  /** The ids of those that were used here; private siblings are not among them. */
  async list(): Promise<readonly { readonly id: string }[]> {
    const records = await Promise.all((await this.#names()).filter((name) => name.length === 64).map((name) => this.#record(name)))
    return records.flatMap((record) => (record === undefined || record.id === '' ? [] : [{ id: record.id }])).sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** The folder of a cache mount without `from`, made where it is missing, for `user`. */
  hold(id: string, user: string): Promise<HeldCacheFolder> {
    return this.acquire({ type: 'cache', target: '/', id, source: '/', readonly: false, sharing: 'shared', mode: 0o755, uid: 0, gid: 0 }, user)
  }

  async usage(): Promise<readonly FolderUsage[]> {
    const usages = await Promise.all(
      (await this.#names()).map(async (name): Promise<FolderUsage[]> => {
        const record = await this.#record(name)
        return record === undefined ? [] : [{ ...record, name, sizeBytes: await this.#sizeOf(name), inUse: this.#users.has(name) }]
      }),
    )
    return usages.flat()
  }

  async #sizeOf(name: string): Promise<number> {
    const path = join(this.#folder, name)
    if (this.#users.has(name)) return await treeSize(path)
    const measured = this.#sizes.get(name) ?? treeSize(path)
    this.#sizes.set(name, measured)
    try {
      return await measured
    } catch (error) {
      this.#sizes.delete(name)
      throw error
    }
  }

  /** False: somebody has it. */
  async remove(name: string): Promise<boolean> {
    if (this.#users.has(name)) return false
    const path = join(this.#folder, name)
    const removal = this.#removals.get(name) ?? rm(path, { recursive: true, force: true }).then(() => rm(`${path}.json`, { force: true }))
    this.#removals.set(name, removal)
    this.#sizes.delete(name)
    try {
      await removal
    } finally {
      this.#removals.delete(name)
    }
    return true
  }

  async #names(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => /^[0-9a-f]{64}(-\d+)?$/.test(name))
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return []
      throw error
    }
  }
}

function parsed(text: string | undefined): Readonly<Record<string, unknown>> {
  if (text === undefined) return {}
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

async function timesOf(path: string): Promise<{ readonly createdAtMs: number; readonly changedAtMs: number } | undefined> {
  try {
    const { birthtimeMs, mtimeMs } = await stat(path)
    return { createdAtMs: birthtimeMs, changedAtMs: mtimeMs }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
