/**
 * Manifests: OCI image manifest and index (image-spec `manifest.md`, `image-index.md`) and Docker's schema 2 forms, read
 * into one shape. The bytes stay the truth (their digest is the manifest's name); this is only a view of them.
 */
import { parseJson } from '#base/json.ts'
import { Fault } from '#base/fault.ts'
import type { Descriptor } from './descriptor.ts'
import { mediaTypes, readDescriptor } from './descriptor.ts'
import type { Node } from './json.ts'
import { asObject, member, optionalList, optionalMediaType, optionalStringMap, refuse, shown } from './json.ts'

/** The specification asks registries to take at least 4 MiB. */
export const maxManifestBytes = 4 * 1024 * 1024
const maxLayers = 4096
const maxIndexEntries = 16384

interface ManifestBase {
  readonly mediaType: string
  readonly artifactType?: string
  readonly subject?: Descriptor
  readonly annotations?: Readonly<Record<string, string>>
}

export interface ImageManifest extends ManifestBase {
  readonly kind: 'image'
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

export interface ImageIndex extends ManifestBase {
  readonly kind: 'index'
  readonly manifests: readonly Descriptor[]
}

export type Manifest = ImageManifest | ImageIndex

/** Every media type that `parseManifest` reads, for Accept headers. */
export const manifestMediaTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.ociIndex, mediaTypes.dockerManifest, mediaTypes.dockerManifestList]

/**
 * Parses manifest bytes. `contentType` is what the transport said; when the document carries a `mediaType` too, they
 * must agree. Refusals are `invalidArgument` and name the field.
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  if (bytes.length > maxManifestBytes) throw new Fault('tooLarge', `manifest: ${bytes.length} bytes, at most ${maxManifestBytes} are allowed`)
  const node = asObject(parseJson(bytes, 'manifest'), 'manifest')
  if (member(node, 'schemaVersion') !== 2) {
    throw new Fault('invalidArgument', `manifest.schemaVersion: expected 2, found ${shown(member(node, 'schemaVersion'))}: schema 1 manifests are no longer served, push the image again with a current tool`)
  }
  const own = optionalMediaType(node, 'mediaType')
  const said = contentType?.split(';')[0]?.trim().toLowerCase()
  if (own !== undefined && said !== undefined && said !== '' && own !== said) throw new Fault('invalidArgument', `manifest.mediaType: '${own}' differs from the Content-Type '${said}'`)
  const mediaType = own ?? (said === undefined || said === '' || said === 'application/json' ? guessMediaType(node) : said)
  switch (mediaType) {
    case mediaTypes.ociManifest:
    case mediaTypes.dockerManifest:
      return readImage(node, mediaType)
    case mediaTypes.ociIndex:
    case mediaTypes.dockerManifestList:
      return readIndex(node, mediaType)
    default:
      throw new Fault('invalidArgument', `manifest.mediaType: '${mediaType}' is no manifest Berth knows: expected one of ${manifestMediaTypes.join(', ')}`)
  }
}

function guessMediaType(node: Node): string {
  return member(node, 'manifests') === undefined ? mediaTypes.ociManifest : mediaTypes.ociIndex
}

function readBase(node: Node, mediaType: string): ManifestBase {
  const artifactType = optionalMediaType(node, 'artifactType')
  const subject = member(node, 'subject')
  const annotations = optionalStringMap(node, 'annotations')
  return {
    mediaType,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined || subject === null ? {} : { subject: readDescriptor(subject, 'manifest.subject') }),
    ...(annotations === undefined ? {} : { annotations }),
  }
}

function readImage(node: Node, mediaType: string): ImageManifest {
  // One document that reads as both kinds could be taken for either by different clients (CVE-2021-41190).
  if (member(node, 'manifests') !== undefined) throw refuse('manifest.manifests', 'no such member in an image manifest', 'one')
  const layers = optionalList(node, 'layers', readDescriptor) ?? []
  if (layers.length > maxLayers) throw new Fault('invalidArgument', `manifest.layers: ${layers.length} layers, at most ${maxLayers} are allowed`)
  return { kind: 'image', ...readBase(node, mediaType), config: readDescriptor(member(node, 'config'), 'manifest.config'), layers }
}

function readIndex(node: Node, mediaType: string): ImageIndex {
  if (member(node, 'config') !== undefined || member(node, 'layers') !== undefined) throw refuse('manifest.layers', 'neither config nor layers in an index', 'one of them')
  const manifests = optionalList(node, 'manifests', readDescriptor) ?? []
  if (manifests.length > maxIndexEntries) throw new Fault('invalidArgument', `manifest.manifests: ${manifests.length} entries, at most ${maxIndexEntries} are allowed`)
  return { kind: 'index', ...readBase(node, mediaType), manifests }
}

/** Every descriptor a manifest points to, itself not included; `subject` is a weak link and left out. */
export function referencedDescriptors(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'image' ? [manifest.config, ...manifest.layers] : manifest.manifests
}
