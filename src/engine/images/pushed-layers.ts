/** Layers as other registries want them: one that lies here uncompressed is compressed once, and the result is kept with its image. */
import { createGzip } from 'node:zlib'
import { layerCompression, mediaTypes } from '#oci/descriptor.ts'
import type { KnownImage, StoredLayer } from './image-records.ts'
import type { ImageStore } from './image-store.ts'

export interface LayerOfImage {
  readonly known: KnownImage
  readonly layer: StoredLayer
  /** Its place among the image's layers. */
  readonly index: number
}

/** The compressed form of a layer, made where there is none. */
export async function pushedForm(store: ImageStore, { known, layer, index }: LayerOfImage, signal: AbortSignal): Promise<StoredLayer> {
  if (layerCompression(layer.mediaType) !== 'none') return layer
  const compressed = known.record.compressed?.[index]
  return compressed !== undefined && layerCompression(compressed.mediaType) !== 'none' ? compressed : await compress(store, layer, signal)
}

async function compress({ parts }: ImageStore, layer: StoredLayer, signal: AbortSignal): Promise<StoredLayer> {
  await using ingest = await parts.blobs.begin()
  const source = await parts.blobs.open(layer.digest)
  // zlib runs in the thread pool; level 6 is what Docker writes.
  const gzip = source.once('error', (error) => gzip.destroy(error)).pipe(createGzip({ level: 6, chunkSize: 256 * 1024 }))
  await ingest.write(gzip, { signal })
  const { digest, sizeBytes } = await ingest.commit()
  return { diffId: layer.diffId, digest, mediaType: mediaTypes.ociLayerGzip, sizeBytes }
}

/** So that the next one finds the compressed forms. The caller holds their blobs. */
export async function rememberCompressed(store: ImageStore, known: KnownImage, layers: readonly StoredLayer[]): Promise<void> {
  const isNew = layers.some((layer, index) => layer.digest !== known.record.layers[index]?.digest && layer.digest !== known.record.compressed?.[index]?.digest)
  if (isNew) await store.amend(known.record.id, (record) => ({ ...record, compressed: layers }))
}
