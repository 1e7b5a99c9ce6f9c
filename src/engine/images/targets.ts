/**
 * What can be reached from a target (an index or a manifest): manifests of platforms, of attestations, and whatever else an index lists.
 * Parts may be absent: a pull fetches one platform of an index. What Berth does not know is bytes with a digest (OCI image-spec
 * `image-index.md`). Nothing here changes anything.
 */
import { isFault } from '#base/fault.ts'
import type { BlobReader } from '#oci/blobs/contract.ts'
import { layerCompression, mediaTypes } from '#oci/descriptor.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { manifestMediaTypes, maxManifestBytes, parseManifest, referencedDescriptors } from '#oci/manifest.ts'
import type { ImageManifest, Manifest } from '#oci/manifest.ts'
import type { ImageTarget } from '../contract/images.ts'

/** Indexes within indexes are followed this deep. */
const maxDepth = 8
/** Manifests whose parts are remembered. They never change. */
const maxRemembered = 4096

export class Targets {
  readonly #blobs: BlobReader
  readonly #parts = new Map<Digest, readonly Descriptor[]>()

  constructor(blobs: BlobReader) {
    this.#blobs = blobs
  }

  /** Reads a manifest or index; undefined when it is not here, or is of a kind that Berth does not know. */
  async read({ digest, mediaType }: Pick<Descriptor, 'digest' | 'mediaType'>): Promise<Manifest | undefined> {
    if (!isManifestType(mediaType)) return undefined
    try {
      return parseManifest(await this.#blobs.read(digest, { maxBytes: maxManifestBytes }), mediaType)
    } catch (error) {
      if (isFault(error, 'notFound') || isFault(error, 'invalidArgument') || isFault(error, 'tooLarge')) return undefined
      throw error
    }
  }

  /** The target itself and all that hangs on it, each digest once, a manifest before its parts. What hangs on an absent manifest is not known. */
  async *reachable(target: Descriptor): AsyncGenerator<Descriptor> {
    const seen = new Set<Digest>()
    const waiting = [{ descriptor: target, depth: 0 }]
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { descriptor, depth } = next
      if (seen.has(descriptor.digest)) continue
      seen.add(descriptor.digest)
      yield descriptor
      if (depth < maxDepth) waiting.push(...(await this.#partsOf(descriptor)).map((part) => ({ descriptor: part, depth: depth + 1 })))
    }
  }

  /** What is not here of all that can be reached. */
  async missing(target: Descriptor): Promise<readonly Descriptor[]> {
    const missing: Descriptor[] = []
    for await (const part of this.reachable(target)) if ((await this.#blobs.stat(part.digest)) === undefined) missing.push(part)
    return missing
  }

  /** The image manifests of a target that are here, in its order, with the platform that the index gives them. Attestations and artifacts are none. */
  async imageManifests(target: ImageTarget): Promise<readonly { readonly descriptor: Descriptor; readonly manifest: ImageManifest }[]> {
    const found: { readonly descriptor: Descriptor; readonly manifest: ImageManifest }[] = []
    for await (const descriptor of this.reachable(target)) {
      const manifest = await this.read(descriptor)
      if (manifest?.kind === 'image' && isImage(manifest) && attestedDigest(descriptor) === undefined) found.push({ descriptor, manifest })
    }
    return found
  }

  async #partsOf(descriptor: Descriptor): Promise<readonly Descriptor[]> {
    const remembered = this.#parts.get(descriptor.digest)
    if (remembered !== undefined) return remembered
    const manifest = await this.read(descriptor)
    if (manifest === undefined) return []
    const parts = referencedDescriptors(manifest)
    if (this.#parts.size >= maxRemembered) this.#parts.clear()
    this.#parts.set(descriptor.digest, parts)
    return parts
  }
}

export function isManifestType(mediaType: string): boolean {
  return manifestMediaTypes.includes(mediaType)
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerManifestList
}

/** Whether a container can be made of it: its configuration is that of an image, and so are its layers (an artifact's are not). */
export function isImage({ config, layers }: ImageManifest): boolean {
  return /(container\.image|image\.config)\.v1\+json$/.test(config.mediaType) && (layers.length === 0 || layers.some(({ mediaType }) => layerCompression(mediaType) !== undefined))
}

/** Of an attestation's entry in an index the manifest that it is about (buildkit `docs/attestations/attestation-storage.md`). */
export function attestedDigest({ annotations }: Descriptor): string | undefined {
  return annotations?.['vnd.docker.reference.type'] === undefined ? undefined : (annotations['vnd.docker.reference.digest'] ?? '')
}
