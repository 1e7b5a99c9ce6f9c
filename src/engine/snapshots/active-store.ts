/**
 * Active (writable) snapshots on the disk: `a/<12 hex of the key's hash>/` with `meta.json`, `u` (overlayfs upper) and `w`
 * (its work folder). Prepared beside and renamed into place, so that a crash leaves the snapshot or nothing.
 */
import { createHash, randomUUID } from 'node:crypto'
import { chmod, chown, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { readState, writeState } from '#base/files.ts'
import type { ChainId } from '../contract/images.ts'
import type { SnapshotKey } from '../contract/snapshots.ts'

export interface Active {
  readonly key: SnapshotKey
  readonly parent: ChainId | undefined
  /** An init layer lies between it and its parent (`init-layers.ts`). */
  readonly init: boolean
  readonly folder: string
  readonly upper: string
  readonly work: string
}

const formatVersion = 1

export class ActiveStore {
  readonly #root: string
  readonly #actives = new Map<SnapshotKey, Active>()

  private constructor(root: string) {
    this.#root = root
  }

  /** Takes up what is there; `discard` gets the folders that are no whole snapshot. */
  static async open(root: string, discard: (folder: string) => Promise<void>): Promise<ActiveStore> {
    await mkdir(join(root, 'a'), { recursive: true, mode: 0o700 })
    const store = new ActiveStore(root)
    for (const name of await readdir(join(root, 'a'))) {
      const folder = join(root, 'a', name)
      const meta = await readState(join(folder, 'meta.json'), formatVersion)
      const key = meta?.['key']
      const parent = meta?.['parent']
      const whole = typeof key === 'string' && (parent === undefined || typeof parent === 'string') && (await isFolder(join(folder, 'u')))
      if (whole) store.#actives.set(key, activeAt(folder, key, { parent, init: meta?.['init'] === true }))
      else await discard(folder)
    }
    return store
  }

  get(key: SnapshotKey): Active {
    const active = this.#actives.get(key)
    if (active === undefined) throw new Fault('notFound', `there is no snapshot '${key}'`)
    return active
  }

  find(key: SnapshotKey): Active | undefined {
    return this.#actives.get(key)
  }

  all(): readonly Active[] {
    return [...this.#actives.values()]
  }

  /** `like` is the folder whose owner and mode the new root takes: the top of the parent, or none. */
  async create(key: SnapshotKey, below: Pick<Active, 'parent' | 'init'>, like: string | undefined): Promise<void> {
    if (this.#actives.has(key)) throw new Fault('alreadyExists', `snapshot '${key}' exists already`)
    const beside = join(this.#root, 't', randomUUID())
    await mkdir(join(beside, 'u'), { recursive: true, mode: 0o755 })
    await mkdir(join(beside, 'w'))
    if (like !== undefined) await copyRootMetadata(like, join(beside, 'u'))
    await writeState(join(beside, 'meta.json'), { formatVersion, key, ...below } as const, { durable: false })
    const folder = join(this.#root, 'a', createHash('sha256').update(key).digest('hex').slice(0, 12))
    await rename(beside, folder)
    this.#actives.set(key, activeAt(folder, key, below))
  }

  /** Forgets the key; the folder is the caller's to adopt from or to discard. */
  forget(key: SnapshotKey): void {
    this.#actives.delete(key)
  }
}

function activeAt(folder: string, key: SnapshotKey, { parent, init }: Pick<Active, 'parent' | 'init'>): Active {
  return { key, parent, init, folder, upper: join(folder, 'u'), work: join(folder, 'w') }
}

async function copyRootMetadata(from: string, to: string): Promise<void> {
  const { mode, uid, gid } = await stat(from)
  if (uid !== 0 || gid !== 0) await chown(to, uid, gid)
  await chmod(to, mode & 0o7777)
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}

/** overlayfs refuses a work folder that a volatile mount of an earlier boot has marked; what it holds is scratch. */
export async function clearVolatileMark(active: Active): Promise<void> {
  await rm(join(active.work, 'work', 'incompat'), { recursive: true, force: true })
}
