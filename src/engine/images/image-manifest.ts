/** The manifest that describes an image of ours to others (image-spec `manifest.md`). */
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import type { KnownImage, StoredLayer } from './image-records.ts'

/** The same image and layers always give the same bytes, and so the same digest. */
export function writeManifest(known: KnownImage, layers: readonly StoredLayer[], configBytes: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: writeDescriptor({ mediaType: mediaTypes.ociConfig, digest: known.record.id, size: configBytes }),
      layers: layers.map((layer) => writeDescriptor({ mediaType: ociTypeOf(layer.mediaType), digest: layer.digest, size: layer.sizeBytes })),
    }),
  )
}

/** Docker's and OCI's names for the same bytes. An OCI manifest lists OCI's. */
function ociTypeOf(mediaType: string): string {
  switch (mediaType) {
    case mediaTypes.dockerLayer:
      return mediaTypes.ociLayer
    case mediaTypes.dockerLayerGzip:
      return mediaTypes.ociLayerGzip
    default:
      return mediaType
  }
}
