/** Descriptors (OCI image-spec `descriptor.md`): typed, sized, content-addressed pointers, and the media types Berth knows. */
import type { Digest } from './digest.ts'
import { parseDigest } from './digest.ts'
import { asObject, countAt, mediaTypeAt, member, optionalMediaType, optionalStringMap, stringAt } from './json.ts'
import type { Platform } from './platform.ts'
import { readPlatform, writePlatform } from './platform.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly platform?: Platform
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

export type LayerCompression = 'none' | 'gzip' | 'zstd'

/** How a layer of this media type is compressed; undefined for what is no layer of a root file system. Foreign layers are not. */
export function layerCompression(mediaType: string): LayerCompression | undefined {
  switch (mediaType) {
    case mediaTypes.ociLayer:
    case mediaTypes.dockerLayer:
      return 'none'
    case mediaTypes.ociLayerGzip:
    case mediaTypes.dockerLayerGzip:
      return 'gzip'
    case mediaTypes.ociLayerZstd:
    case `${mediaTypes.dockerLayer}.zstd`:
      return 'zstd'
    default:
      return undefined
  }
}

/** Reads one descriptor; `path` names its place, e.g. `manifest.layers[0]`. */
export function readDescriptor(value: unknown, path: string): Descriptor {
  const node = asObject(value, path)
  const platform = member(node, 'platform')
  const artifactType = optionalMediaType(node, 'artifactType')
  const annotations = optionalStringMap(node, 'annotations')
  return {
    mediaType: mediaTypeAt(node, 'mediaType'),
    digest: parseDigest(stringAt(node, 'digest'), `${path}.digest`),
    size: countAt(node, 'size'),
    ...(platform === undefined || platform === null ? {} : { platform: readPlatform(platform, `${path}.platform`) }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  }
}

/** The descriptor as it is written on the wire. */
export function writeDescriptor(descriptor: Descriptor): Readonly<Record<string, unknown>> {
  const { platform, ...rest } = descriptor
  if (platform === undefined) return { ...rest }
  return { ...rest, platform: writePlatform(platform) }
}
