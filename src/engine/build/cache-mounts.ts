/**
 * The folders behind `RUN --mount=type=cache`: they outlive builds. `shared` ones are used by many at a time, `locked` ones by one after
 * another, and `private` ones get a fresh sibling while another has them.
 */
import { chmod, chown, mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import { writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import { cacheKey } from './cache.ts'
import type { RunMount } from './dockerfile/mounts.ts'

export type CacheMount = Extract<RunMount, { type: 'cache' }>

export interface CacheFolder {
  readonly path: string
  /** Nobody has had it before: what it begins with is to be put into it. */
  readonly isNew: boolean
}

/** A cache mount as people name it. */
export interface KnownCacheMount {
  readonly id: string
  readonly path: string
}

export class CacheMounts {
  readonly #folder: string
  /** Users of each folder now. */
  readonly #users = new Map<string, number>()
  /** Those who want a folder for themselves, in line. */
  readonly #lines = new Map<string, Promise<unknown>>()

  /** `folder`: made when first needed. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Takes one; `release` lets it go. What it begins with (`from`, `source`) is part of what it is. */
  async acquire(mount: CacheMount): Promise<CacheFolder & { readonly release: () => void }> {
    const key = cacheKey('mount', mount.id, mount.from ?? '', mount.source)
    if (mount.sharing === 'locked') {
      const before = this.#lines.get(key)
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#lines.set(key, promise)
      await before
      return { ...(await this.#open(key, mount)), release: resolve }
    }
    let name = key
    if (mount.sharing === 'private') for (let count = 1; (this.#users.get(name) ?? 0) > 0; count += 1) name = `${key}-${count}`
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1)
    return { ...(await this.#open(name, mount)), release: () => void this.#users.set(name, (this.#users.get(name) ?? 1) - 1) }
  }

  async #open(name: string, { id, uid, gid, mode }: CacheMount): Promise<CacheFolder> {
    const path = join(this.#folder, name)
    const isNew = (await mkdir(path, { recursive: true, mode: 0o700 })) !== undefined
    if (isNew) {
      await chown(path, uid, gid)
      await chmod(path, mode)
      await writeState(`${path}.json`, { formatVersion: 1, id }, { durable: false })
    }
    return { path, isNew }
  }

  /** Those that were used here, by id; private siblings are not among them. */
  async list(): Promise<readonly KnownCacheMount[]> {
    const found: KnownCacheMount[] = []
    for (const name of await this.#names()) {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) continue
      const value: unknown = JSON.parse(await readFile(join(this.#folder, name), 'utf8'))
      if (isRecord(value) && typeof value['id'] === 'string') found.push({ id: value['id'], path: join(this.#folder, name.slice(0, 64)) })
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** The folder of a cache mount without `from`, made where it is missing. */
  async folderOf(id: string): Promise<string> {
    const mount: CacheMount = { type: 'cache', target: '/', id, source: '/', readonly: false, sharing: 'shared', mode: 0o755, uid: 0, gid: 0 }
    return (await this.#open(cacheKey('mount', id, '', '/'), mount)).path
  }

  /** Empties what nobody uses. */
  async clear(): Promise<void> {
    for (const name of await this.#names()) {
      const key = name.replace(/\.json$/, '')
      if ((this.#users.get(key) ?? 0) === 0 && !this.#lines.has(key)) await rm(join(this.#folder, name), { recursive: true, force: true })
    }
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#folder)
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return []
      throw error
    }
  }
}
