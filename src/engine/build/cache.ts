/**
 * The layer cache: what a step made, by a digest of everything it depends on (the layers below, the command, the variables in
 * scope, the contents copied). A record is one small file below the cache folder. A record that is torn or whose layer is gone
 * counts as none, so nothing here needs a sync.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { systemErrorCode } from '#base/fault.ts'
import { readTextIfThere, writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import type { ChainId, DiffId } from '../contract/images.ts'

const formatVersion = 1

export type CacheRecord =
  /** A step's layer; without `layer` the step changed nothing. */
  | { readonly kind: 'step'; readonly created: string; readonly layer?: CachedLayer; /** Absent in records of earlier versions. */ readonly description?: string }
  /** The content digest of files of a layer stack. */
  | { readonly kind: 'content'; readonly digest: string }
  /** When an image of this configuration was first built: building it again gives the same image. */
  | { readonly kind: 'image'; readonly created: string }

export interface CachedLayer {
  readonly diffId: DiffId
  readonly chainId: ChainId
  /** The stack that it lies on; absent for the first layer, and in records of earlier versions. */
  readonly parent?: ChainId
  /** Of the layer's archive. */
  readonly sizeBytes: number
}

export interface BuildLease {
  readonly chainIds: Set<ChainId>
  readonly diffIds: Set<DiffId>
}

export interface CacheUsage {
  readonly records: number
  readonly sizeBytes: number
}

/** A step that holds a layer. */
export interface CacheEntry {
  readonly key: string
  readonly created: string
  readonly usedAtMs: number
  readonly layer: CachedLayer
  /** What the step did, as in an image's history. */
  readonly description: string
  /** A build under way needs it. */
  readonly inUse: boolean
  /** The step whose layer it lies on, where the cache has it. */
  readonly parentKey: string | undefined
}

interface Kept {
  readonly record: CacheRecord
  /** Kept as the file's modification time. */
  usedAtMs: number
}

export class BuildCache {
  readonly #folder: string
  readonly #clock: Clock
  readonly #known = new Map<string, Kept>()
  readonly #leases = new Set<BuildLease>()

  constructor(folder: string, clock: Clock) {
    this.#folder = folder
    this.#clock = clock
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(this.#folder)) {
      if (!/^[0-9a-f]{64}$/.test(name)) await rm(join(this.#folder, name), { force: true, recursive: true })
      else {
        const record = await this.#read(name)
        if (record !== undefined) this.#known.set(name, { record, usedAtMs: (await stat(join(this.#folder, name))).mtimeMs })
      }
    }
  }

  async #read(key: string): Promise<CacheRecord | undefined> {
    const text = await readTextIfThere(join(this.#folder, key))
    return text === undefined ? undefined : parseRecord(text)
  }

  get<K extends CacheRecord['kind']>(key: string, kind: K): Extract<CacheRecord, { kind: K }> | undefined {
    const record = this.#known.get(key)?.record
    return record !== undefined && isKind(record, kind) ? record : undefined
  }

  /** Says that a record was of use, so that it is among the last to go. */
  async touch(key: string): Promise<void> {
    const kept = this.#known.get(key)
    if (kept === undefined) return
    kept.usedAtMs = this.#clock.nowMs()
    try {
      await utimes(join(this.#folder, key), kept.usedAtMs / 1000, kept.usedAtMs / 1000)
    } catch (error) {
      // Pruned meanwhile.
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }

  async put(key: string, record: CacheRecord): Promise<void> {
    this.#known.set(key, { record, usedAtMs: this.#clock.nowMs() })
    await writeState(join(this.#folder, key), { formatVersion, ...record }, { durable: false })
  }

  #layers(): CachedLayer[] {
    return [...this.#known.values()].flatMap(({ record }) => (record.kind === 'step' && record.layer !== undefined ? [record.layer] : []))
  }

  /** Layer stacks that records need: roots for the collector of snapshots. */
  chainIds(): readonly ChainId[] {
    return [...this.#layers().map(({ chainId }) => chainId), ...[...this.#leases].flatMap((lease) => [...lease.chainIds])]
  }

  /** Layers whose archives records need: roots for the collector of blobs. */
  diffIds(): readonly DiffId[] {
    return [...this.#layers().map(({ diffId }) => diffId), ...[...this.#leases].flatMap((lease) => [...lease.diffIds])]
  }

  /** Keeps the layers of a build under way from the collectors, until it is disposed. */
  lease(): BuildLease & Disposable {
    const lease: BuildLease = { chainIds: new Set(), diffIds: new Set() }
    this.#leases.add(lease)
    return { ...lease, [Symbol.dispose]: () => void this.#leases.delete(lease) }
  }

  /** The steps that hold a layer, for `docker system df`. */
  entries(): readonly CacheEntry[] {
    const leased = new Set([...this.#leases].flatMap(({ chainIds }) => [...chainIds]))
    const steps = [...this.#known].flatMap(([key, { record, usedAtMs }]) => (record.kind === 'step' && record.layer !== undefined ? [{ key, created: record.created, usedAtMs, layer: record.layer, description: record.description ?? record.layer.diffId, inUse: leased.has(record.layer.chainId) }] : []))
    const keys = new Map(steps.map(({ key, layer }) => [layer.chainId, key]))
    return steps.map((step) => ({ ...step, parentKey: step.layer.parent === undefined ? undefined : keys.get(step.layer.parent) }))
  }

  usage(): CacheUsage {
    return { records: this.#known.size, sizeBytes: this.#layers().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) }
  }

  /**
   * Forgets the steps of these keys, whose layers are then the collectors', and what has no layer (contents, times of images) and was not
   * used since `othersUsedBeforeMs`.
   */
  async forget({ steps, othersUsedBeforeMs }: { readonly steps: ReadonlySet<string>; readonly othersUsedBeforeMs: number }): Promise<void> {
    for (const [key, { record, usedAtMs }] of [...this.#known]) {
      const hasLayer = record.kind === 'step' && record.layer !== undefined
      if (hasLayer ? !steps.has(key) : usedAtMs >= othersUsedBeforeMs) continue
      this.#known.delete(key)
      await rm(join(this.#folder, key), { force: true })
    }
  }
}

function isKind<K extends CacheRecord['kind']>(record: CacheRecord, kind: K): record is Extract<CacheRecord, { kind: K }> {
  return record.kind === kind
}

function parseRecord(text: string): CacheRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof value !== 'object' || value === null || !('formatVersion' in value) || value.formatVersion !== formatVersion || !('kind' in value)) return undefined
  if (value.kind === 'content') return 'digest' in value && typeof value.digest === 'string' ? { kind: 'content', digest: value.digest } : undefined
  if (!('created' in value) || typeof value.created !== 'string') return undefined
  if (value.kind === 'image') return { kind: 'image', created: value.created }
  if (value.kind !== 'step') return undefined
  const layer = 'layer' in value ? value.layer : undefined
  const step = { kind: 'step', created: value.created, ...('description' in value && typeof value.description === 'string' ? { description: value.description } : {}) } as const
  if (layer === undefined) return step
  if (typeof layer !== 'object' || layer === null || !('diffId' in layer) || !('chainId' in layer)) return undefined
  const { diffId, chainId } = layer
  const sizeBytes = 'sizeBytes' in layer ? layer.sizeBytes : undefined
  const parent = 'parent' in layer && typeof layer.parent === 'string' ? { parent: layer.parent } : {}
  return typeof diffId === 'string' && typeof chainId === 'string' && typeof sizeBytes === 'number' ? { ...step, layer: { diffId, chainId, sizeBytes, ...parent } } : undefined
}

/** The cache below a builder's state folder. */
export async function openBuildCache(stateDir: string, clock: Clock): Promise<BuildCache> {
  const cache = new BuildCache(join(stateDir, 'cache'), clock)
  await cache.open()
  return cache
}

/** The key of anything that JSON can say. Objects are written with sorted keys. */
export function cacheKey(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts, (_name, value: unknown) => (isRecord(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value))).digest('hex')
}
