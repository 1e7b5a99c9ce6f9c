/** Takes the steps of a build elsewhere, so that other machines need not run them (`--cache-to`). */
import { createGzip } from 'node:zlib'
import type { BlobIngester, BlobReader } from '#oci/blobs/contract.ts'
import { digestOf, parseDigest, type Digest } from '#oci/digest.ts'
import type { BuildResult, CacheExport } from '../../contract/builds.ts'
import type { DiffId } from '../../contract/images.ts'
import { cacheKey, type BuildCache } from '../cache.ts'
import type { StepResult } from '../stage-state.ts'
import type { Vertices } from '../vertices.ts'
import { cacheConfigType, encodeConfig, encodeRecords, type CacheLayerEntry, type CacheRecordEntry } from './cache-config.ts'
import { placeOf, type CachePlace, type PlaceOptions } from './cache-places.ts'

/** What a step of this build came to, run or known. */
export interface BuildStep {
  readonly key: string
  readonly result: StepResult
  readonly description: string
}

export interface ExportOptions extends PlaceOptions {
  readonly targets: readonly CacheExport[]
  readonly steps: readonly BuildStep[]
  /** Of the result: `min` takes their steps alone. */
  readonly diffIds: readonly DiffId[]
  readonly blobs: BlobReader & BlobIngester
  readonly cache: BuildCache
  readonly vertices: Vertices
  readonly signal: AbortSignal
}

const gzipType = 'application/vnd.oci.image.layer.v1.tar+gzip'
const manifestType = 'application/vnd.oci.image.manifest.v1+json'

export async function exportCache(options: ExportOptions): Promise<BuildResult['cacheManifest']> {
  let written: BuildResult['cacheManifest']
  for (const target of options.targets) {
    if (target.kind === 'inline') continue
    const manifest = await options.vertices.during(`exporting cache to ${target.kind === 'registry' ? target.reference : 'client directory'}`, async () => {
      using place = await placeOf(target, options)
      return writeTo(place, stepsFor(target.mode, options), options)
    })
    if (target.kind === 'local') written = manifest
  }
  return written
}

function stepsFor(mode: 'min' | 'max', { steps, diffIds }: ExportOptions): readonly BuildStep[] {
  return mode === 'max' ? steps : steps.filter(({ result }) => result.layer === undefined || diffIds.includes(result.layer.diffId))
}

async function writeTo(place: CachePlace, steps: readonly BuildStep[], { blobs, cache, signal }: ExportOptions): Promise<NonNullable<BuildResult['cacheManifest']>> {
  const layers: CacheLayerEntry[] = []
  for (const { result } of steps) {
    if (result.layer === undefined || layers.some(({ diffId }) => diffId === result.layer?.diffId)) continue
    const blob = await compressed(result.layer.diffId, { blobs, cache, signal })
    await place.write(blob, blobs, signal)
    layers.push({ blob: blob.digest, diffId: result.layer.diffId, mediaType: gzipType, sizeBytes: blob.sizeBytes })
  }
  const records = steps.map(({ key, result, description }): CacheRecordEntry => ({ key, created: result.created, description, layer: result.layer === undefined ? undefined : layers.findIndex(({ diffId }) => diffId === result.layer?.diffId) }))
  const config = await stored(encodeConfig({ layers, records }), blobs, signal)
  await place.write(config, blobs, signal)
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: cacheConfigType, digest: config.digest, size: config.sizeBytes },
      layers: layers.map(({ blob, mediaType, sizeBytes }) => ({ mediaType, digest: blob, size: sizeBytes })),
    }),
  )
  const manifest = { digest: digestOf(bytes), mediaType: manifestType, bytes }
  await place.writeManifest(manifest, signal)
  return { digest: manifest.digest, mediaType: manifestType, sizeBytes: bytes.length }
}

async function stored(bytes: Buffer, blobs: BlobIngester, signal: AbortSignal): Promise<{ readonly digest: Digest; readonly sizeBytes: number }> {
  await using ingest = await blobs.begin()
  await ingest.write((async function* () { yield bytes })(), { signal })
  return await ingest.commit()
}

/** Layers stay uncompressed here; what they are elsewhere is remembered. */
async function compressed(diffId: DiffId, { blobs, cache, signal }: Pick<ExportOptions, 'blobs' | 'cache' | 'signal'>): Promise<{ readonly digest: Digest; readonly sizeBytes: number }> {
  const memo = cacheKey('gzip', diffId)
  const known = cache.get(memo, 'content')?.digest
  const standing = known === undefined ? undefined : await blobs.stat(parseDigest(known))
  if (standing !== undefined) return standing
  await using ingest = await blobs.begin()
  const source = await blobs.open(parseDigest(diffId))
  const gzip = createGzip({ level: 6, chunkSize: 256 * 1024 })
  source.once('error', (error) => gzip.destroy(error)).pipe(gzip)
  await ingest.write(gzip, { signal })
  const blob = await ingest.commit()
  await cache.put(memo, { kind: 'content', digest: blob.digest })
  return blob
}

/** For the image's configuration; undefined where nothing of it was built here. */
export function inlineRecords(steps: readonly BuildStep[], diffIds: readonly DiffId[]): string | undefined {
  const records = steps.flatMap(({ key, result, description }): CacheRecordEntry[] => {
    const layer = result.layer === undefined ? undefined : diffIds.indexOf(result.layer.diffId)
    return layer === -1 ? [] : [{ key, created: result.created, description, layer }]
  })
  return records.length === 0 ? undefined : Buffer.from(JSON.stringify(encodeRecords(records))).toString('base64')
}
