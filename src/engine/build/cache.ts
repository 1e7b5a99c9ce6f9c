/**
 * The layer cache: what a step made, by a digest of everything it depends on (the layers below, the command, the variables in
 * scope, the contents copied). A record is one small file below the cache folder. A record that is torn or whose layer is gone
 * counts as none, so nothing here needs a sync.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readTextIfThere, writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import type { ChainId, DiffId } from '../contract/images.ts'

const formatVersion = 1

export type CacheRecord =
  /** A step's layer; without `layer` the step changed nothing. */
  | { readonly kind: 'step'; readonly created: string; readonly layer?: { readonly diffId: DiffId; readonly chainId: ChainId } }
  /** The content digest of files of a layer stack. */
  | { readonly kind: 'content'; readonly digest: string }
  /** When an image of this configuration was first built: building it again gives the same image. */
  | { readonly kind: 'image'; readonly created: string }

export class BuildCache {
  readonly #folder: string
  readonly #known = new Map<string, CacheRecord>()

  constructor(folder: string) {
    this.#folder = folder
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(this.#folder)) {
      if (!/^[0-9a-f]{64}$/.test(name)) await rm(join(this.#folder, name), { force: true, recursive: true })
      else {
        const record = await this.#read(name)
        if (record !== undefined) this.#known.set(name, record)
      }
    }
  }

  async #read(key: string): Promise<CacheRecord | undefined> {
    const text = await readTextIfThere(join(this.#folder, key))
    return text === undefined ? undefined : parseRecord(text)
  }

  get<K extends CacheRecord['kind']>(key: string, kind: K): Extract<CacheRecord, { kind: K }> | undefined {
    const record = this.#known.get(key)
    return record !== undefined && isKind(record, kind) ? record : undefined
  }

  async put(key: string, record: CacheRecord): Promise<void> {
    this.#known.set(key, record)
    await writeState(join(this.#folder, key), { formatVersion, ...record }, { durable: false })
  }

  /** Layer stacks that records need: roots for the collector of snapshots. */
  chainIds(): ReadonlySet<ChainId> {
    return new Set([...this.#known.values()].flatMap((record) => (record.kind === 'step' && record.layer !== undefined ? [record.layer.chainId] : [])))
  }

  /** Forgets everything; the layers are then the collector's. */
  async clear(): Promise<void> {
    const keys = [...this.#known.keys()]
    this.#known.clear()
    for (const key of keys) await rm(join(this.#folder, key), { force: true })
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
  if (layer === undefined) return { kind: 'step', created: value.created }
  if (typeof layer !== 'object' || layer === null || !('diffId' in layer) || !('chainId' in layer)) return undefined
  const { diffId, chainId } = layer
  return typeof diffId === 'string' && typeof chainId === 'string' ? { kind: 'step', created: value.created, layer: { diffId, chainId } } : undefined
}

/** The key of anything that JSON can say. Objects are written with sorted keys. */
export function cacheKey(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts, (_name, value: unknown) => (isRecord(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value))).digest('hex')
}
