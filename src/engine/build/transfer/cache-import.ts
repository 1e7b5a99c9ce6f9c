/** Steps that others have run: their records are read when a build begins, a layer only when a step needs it. */
import { Readable } from 'node:stream'
import { asFault } from '#base/fault.ts'
import { isRecord, parseJson } from '#base/json.ts'
import { KeyedSerial } from '#base/task.ts'
import type { BlobIngester, BlobReader } from '#oci/blobs/contract.ts'
import { digestOf, isDigest, parseDigest } from '#oci/digest.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { CacheImport } from '../../contract/builds.ts'
import type { Vertices } from '../vertices.ts'
import { decompressed } from '../decompress.ts'
import { cacheConfigType, inlineMember, parseConfig, parseRecords, type CacheConfig, type CacheLayerEntry } from './cache-config.ts'
import { placeOf, type CachePlace, type PlaceOptions } from './cache-places.ts'

export interface ImportOptions extends PlaceOptions {
  readonly sources: readonly CacheImport[]
  readonly blobs: BlobReader & BlobIngester
  readonly processes: Processes
  readonly vertices: Vertices
  readonly signal: AbortSignal
}

export interface ImportedStep {
  readonly created: string
  readonly description: string
  readonly layer?: { readonly diffId: string; readonly sizeBytes: number; fetch(): Promise<void> }
}

const maxConfigBytes = 64 << 20

export class ImportedCache implements Disposable {
  readonly #options: ImportOptions
  readonly #places: CachePlace[] = []
  readonly #steps = new Map<string, ImportedStep>()
  readonly #fetches = new KeyedSerial<string>()

  private constructor(options: ImportOptions) {
    this.#options = options
  }

  /** A source that cannot be read is told and is no cache. */
  static async open(options: ImportOptions): Promise<ImportedCache> {
    const cache = new ImportedCache(options)
    for (const source of options.sources) {
      if (source.kind === 'image') continue
      const name = source.kind === 'registry' ? source.reference : source.digest
      try {
        await options.vertices.during(`importing cache manifest from ${name}`, async () => cache.#read(await placeOf(source, options)))
      } catch (error) {
        if (options.signal.aborted) throw error
        options.vertices.tell(`[Warning] the cache of ${name} cannot be read: ${asFault(error).message}\n`)
      }
    }
    return cache
  }

  find(key: string): ImportedStep | undefined {
    return this.#steps.get(key)
  }

  async #read(place: CachePlace): Promise<void> {
    this.#places.push(place)
    const { signal } = this.#options
    const { layers, records } = await readConfig(place, await place.manifest(signal), signal)
    for (const { key, created, description, layer } of records) {
      const entry = layer === undefined ? undefined : layers[layer]
      if (layer !== undefined && (entry === undefined || !isDigest(entry.blob) || !isDigest(entry.diffId))) continue
      this.#steps.set(key, { created, description, ...(entry === undefined ? {} : { layer: { diffId: entry.diffId, sizeBytes: entry.sizeBytes, fetch: () => this.#fetches.run(entry.diffId, () => this.#fetch(place, entry)) } }) })
    }
  }

  /** The layer becomes a blob of ours, uncompressed, as if it had been made here. */
  async #fetch(place: CachePlace, { blob, diffId }: CacheLayerEntry): Promise<void> {
    const { blobs, processes, signal } = this.#options
    const expect = parseDigest(diffId)
    if ((await blobs.stat(expect)) !== undefined) return
    await using ingest = await blobs.begin()
    const content = Readable.from(await place.open(blob, signal), { objectMode: false })
    await ingest.write(await decompressed(content, `the cached layer ${blob}`, processes), { signal })
    await ingest.commit({ expect })
  }

  [Symbol.dispose](): void {
    for (const place of this.#places) place[Symbol.dispose]()
  }
}

/** A cache's own manifest, an index of its parts (BuildKit's older form), or an image with inline records. */
async function readConfig(place: CachePlace, manifest: Buffer, signal: AbortSignal): Promise<CacheConfig> {
  const value = parseJson(manifest.toString('utf8'), 'cache manifest')
  if (!isRecord(value)) return { layers: [], records: [] }
  const parts = [value['config'], ...(Array.isArray(value['manifests']) ? value['manifests'] : [])].filter((part) => isRecord(part))
  const config = parts.find((part) => part['mediaType'] === cacheConfigType)
  const digest = config?.['digest']
  if (typeof digest === 'string') return parseConfig(await verified(place, digest, signal))
  const [image] = parts
  if (typeof image?.['digest'] !== 'string') return { layers: [], records: [] }
  return inlineConfig(parseJson((await verified(place, image['digest'], signal)).toString('utf8'), 'image configuration'), value)
}

async function verified(place: CachePlace, digest: string, signal: AbortSignal): Promise<Buffer> {
  const bytes = await place.small(digest, maxConfigBytes, signal)
  if (digestOf(bytes) !== digest) throw new Error(`the cache's configuration is not ${digest}`)
  return bytes
}

/** Records number the layers of the image. */
export function inlineConfig(image: unknown, manifest: Readonly<Record<string, unknown>>): CacheConfig {
  const text = isRecord(image) ? image[inlineMember] : undefined
  if (!isRecord(image) || typeof text !== 'string') return { layers: [], records: [] }
  const rootfs = image['rootfs']
  const diffIds: readonly unknown[] = isRecord(rootfs) && Array.isArray(rootfs['diff_ids']) ? rootfs['diff_ids'] : []
  const blobs: readonly unknown[] = Array.isArray(manifest['layers']) ? manifest['layers'] : []
  const layers = diffIds.map((diffId, index): CacheLayerEntry => {
    const blob = blobs[index]
    const fields = isRecord(blob) ? blob : {}
    const [digest, mediaType, size] = [fields['digest'], fields['mediaType'], fields['size']]
    return { diffId: String(diffId), blob: typeof digest === 'string' ? digest : '', mediaType: typeof mediaType === 'string' ? mediaType : '', sizeBytes: typeof size === 'number' ? size : 0 }
  })
  return { layers, records: parseRecords(parseJson(Buffer.from(text, 'base64').toString('utf8'), 'inline cache')) }
}
