/**
 * The manifest of a build cache elsewhere, in BuildKit's form (`cache/remotecache/v1`): layers, and records that say which layer a step made.
 * A record's digest is the key of our own cache, which no other builder computes: others can read such a cache, and find nothing of theirs
 * (docs/decisions/0014). Inline, the records stand in the image's configuration and number its layers.
 */
import { isRecord, parseJson } from '#base/json.ts'

export const cacheConfigType = 'application/vnd.buildkit.cacheconfig.v0'
/** The member of an image's configuration that holds inline records: JSON in base64. */
export const inlineMember = 'moby.buildkit.cache.v0'

export interface CacheLayerEntry {
  /** Digest of the stored blob. */
  readonly blob: string
  readonly diffId: string
  readonly mediaType: string
  readonly sizeBytes: number
}

export interface CacheRecordEntry {
  /** 64 hex digits. */
  readonly key: string
  /** RFC 3339. */
  readonly created: string
  readonly description: string
  /** Index of its layer; undefined: the step changed nothing. */
  readonly layer: number | undefined
}

export interface CacheConfig {
  readonly layers: readonly CacheLayerEntry[]
  readonly records: readonly CacheRecordEntry[]
}

export function encodeRecords(records: readonly CacheRecordEntry[]): readonly object[] {
  return records.map(({ key, created, description, layer }) => ({ digest: `sha256:${key}`, ...(layer === undefined ? {} : { results: [{ layer, createdAt: created }] }), berth: { created, description } }))
}

export function encodeConfig({ layers, records }: CacheConfig): Buffer {
  return Buffer.from(
    JSON.stringify({
      layers: layers.map(({ blob, diffId, mediaType, sizeBytes }) => ({ blob, parent: -1, annotations: { mediaType, diffID: diffId, size: sizeBytes } })),
      records: encodeRecords(records),
    }),
  )
}

/** What is not in our form is left out: a cache of others is empty to us. */
export function parseConfig(bytes: Buffer): CacheConfig {
  const value = parseJson(bytes.toString('utf8'), 'cache configuration')
  if (!isRecord(value)) return { layers: [], records: [] }
  const layers = listOf(value['layers']).map((layer): CacheLayerEntry => {
    const annotations = isRecord(layer['annotations']) ? layer['annotations'] : {}
    return { blob: textOf(layer['blob']), diffId: textOf(annotations['diffID']), mediaType: textOf(annotations['mediaType']), sizeBytes: numberOf(annotations['size']) ?? 0 }
  })
  return { layers, records: parseRecords(value['records']) }
}

export function parseRecords(value: unknown): readonly CacheRecordEntry[] {
  return listOf(value).flatMap((record): CacheRecordEntry[] => {
    const key = /^sha256:([0-9a-f]{64})$/.exec(textOf(record['digest']))?.[1]
    const own = record['berth']
    if (key === undefined || !isRecord(own)) return []
    return [{ key, created: textOf(own['created']), description: textOf(own['description']), layer: numberOf(listOf(record['results'])[0]?.['layer']) }]
  })
}

function listOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter((item) => isRecord(item)) : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
