/** The manifest that describes an image of ours to others (image-spec `manifest.md`). */
import { Fault } from '#base/fault.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import { maxManifestBytes, parseManifest } from '#oci/manifest.ts'
import type { ManifestFormat } from '../contract/images.ts'
import type { KnownImage, StoredLayer } from './image-records.ts'
import type { ImageStore } from './image-store.ts'

/** The manifest an image came with, when it describes just these layers; else one of our own. */
export async function manifestBytes({ parts: { blobs } }: ImageStore, known: KnownImage, layers: readonly StoredLayer[]): Promise<Buffer> {
  const { id, manifestDigest } = known.record
  if (manifestDigest !== undefined && (await blobs.stat(manifestDigest)) !== undefined) {
    const bytes = await blobs.read(manifestDigest, { maxBytes: maxManifestBytes })
    const manifest = parseManifest(bytes)
    const same = manifest.kind === 'image' && manifest.layers.length === layers.length && manifest.layers.every((layer, index) => layer.digest === layers[index]?.digest)
    if (same) return bytes
  }
  const config = await blobs.stat(id)
  if (config === undefined) throw new Fault('dataLoss', `blob ${id} is missing: pull or load the image again`)
  return writeManifest(known, layers, { configBytes: config.sizeBytes })
}

export interface WrittenManifest {
  readonly configBytes: number
  readonly annotations?: Readonly<Record<string, string>>
  /** `oci` by default. */
  readonly format?: ManifestFormat
}

/** The same image and layers always give the same bytes, and so the same digest. */
export function writeManifest(known: KnownImage, layers: readonly StoredLayer[], { configBytes, annotations, format = 'oci' }: WrittenManifest): Buffer {
  const isOci = format === 'oci'
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: isOci ? mediaTypes.ociManifest : mediaTypes.dockerManifest,
      config: writeDescriptor({ mediaType: isOci ? mediaTypes.ociConfig : mediaTypes.dockerConfig, digest: known.record.id, size: configBytes }),
      layers: layers.map((layer) => writeDescriptor({ mediaType: isOci ? ociTypeOf(layer.mediaType) : dockerTypeOf(layer.mediaType), digest: layer.digest, size: layer.sizeBytes })),
      ...(annotations === undefined ? {} : { annotations }),
    }),
  )
}

/** Docker's and OCI's names for the same bytes. */
const sameLayers: readonly (readonly [oci: string, docker: string])[] = [
  [mediaTypes.ociLayer, mediaTypes.dockerLayer],
  [mediaTypes.ociLayerGzip, mediaTypes.dockerLayerGzip],
  [mediaTypes.ociLayerZstd, `${mediaTypes.dockerLayer}.zstd`],
]

function ociTypeOf(mediaType: string): string {
  return sameLayers.find(([, docker]) => docker === mediaType)?.[0] ?? mediaType
}

function dockerTypeOf(mediaType: string): string {
  return sameLayers.find(([oci]) => oci === mediaType)?.[1] ?? mediaType
}
