/** Manifests in a repository: stored by digest, named by tags, refused when they point to what is not there. */
import { Fault } from '#base/fault.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { digestAlgorithm, digestOf, isDigest } from '#oci/digest.ts'
import type { Manifest } from '#oci/manifest.ts'
import { maxManifestBytes, parseManifest } from '#oci/manifest.ts'
import { isTag } from '#oci/reference.ts'
import type { ManifestLink, Repositories } from './repositories.ts'
import type { Content } from './storage/contract.ts'
import { storeBytes } from './storage/contract.ts'

export interface FoundManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

/** Bytes by digest: content that cannot change may be remembered. */
const maxCachedBytes = 16 * 1024 * 1024

export class Manifests {
  readonly #content: Content
  readonly #repositories: Repositories
  readonly #cache = new Map<Digest, Buffer>()
  #cachedBytes = 0

  readonly #sparse: boolean

  constructor(parts: { readonly content: Content; readonly repositories: Repositories; readonly sparse: boolean }) {
    this.#content = parts.content
    this.#repositories = parts.repositories
    this.#sparse = parts.sparse
  }

  /** `reference` is a tag or a digest. `notFound` with MANIFEST_UNKNOWN or NAME_UNKNOWN. */
  async get(repository: string, reference: string): Promise<FoundManifest> {
    const digest = isDigest(reference) ? reference : await this.#repositories.tag(repository, reference)
    const link = digest === undefined ? undefined : await this.#repositories.manifest(repository, digest)
    if (digest === undefined || link === undefined) throw await this.#missing(repository, reference)
    return { digest, mediaType: link.mediaType, bytes: await this.#read(digest) }
  }

  async #missing(repository: string, reference: string): Promise<Fault> {
    if (await this.#repositories.exists(repository)) return new Fault('notFound', `manifest '${reference}' is unknown to repository '${repository}'`, { details: { reason: 'MANIFEST_UNKNOWN' } })
    return new Fault('notFound', `repository '${repository}' is unknown to this registry`, { details: { reason: 'NAME_UNKNOWN' } })
  }

  async #read(digest: Digest): Promise<Buffer> {
    const cached = this.#cache.get(digest)
    if (cached !== undefined) return cached
    const bytes = await this.#content.read(digest, { maxBytes: maxManifestBytes })
    this.#remember(digest, bytes)
    return bytes
  }

  #remember(digest: Digest, bytes: Buffer): void {
    this.#cache.set(digest, bytes)
    this.#cachedBytes += bytes.length
    for (const [oldest, old] of this.#cache) {
      if (this.#cachedBytes <= maxCachedBytes) return
      this.#cache.delete(oldest)
      this.#cachedBytes -= old.length
    }
  }

  /** Stores a manifest under its digest and the tags given; a `sparse` one may point to what is not here. Answers what the response needs. */
  async put(repository: string, manifest: { readonly reference: string; readonly bytes: Buffer; readonly contentType: string | undefined; readonly tags: readonly string[]; readonly sparse?: boolean }): Promise<{ readonly digest: Digest; readonly mediaType: string; readonly subject: Digest | undefined }> {
    const { reference, bytes } = manifest
    const named = isDigest(reference) ? reference : undefined
    if (named === undefined && reference.includes(':')) throw new Fault('invalidArgument', `'${reference}' is neither a tag nor a digest`, { details: { reason: 'DIGEST_INVALID' } })
    const digest = digestOf(bytes, named === undefined ? 'sha256' : digestAlgorithm(named))
    if (named !== undefined && named !== digest) throw new Fault('invalidArgument', `the manifest received has the digest ${digest}, not ${named} as its address says`, { details: { reason: 'DIGEST_INVALID' } })
    const parsed = readManifest(bytes, manifest.contentType)
    if (manifest.sparse !== true) await this.#checkReferences(repository, parsed)
    const tags = named === undefined ? [reference, ...manifest.tags] : manifest.tags
    for (const tag of tags) if (!isTag(tag)) throw new Fault('invalidArgument', `'${tag.slice(0, 200)}' is no tag: expected 1 to 128 letters, digits, '_', '.' or '-'`, { details: { reason: 'MANIFEST_INVALID' } })
    await storeBytes(this.#content, bytes, digest)
    await this.#repositories.linkManifest(repository, digest, linkOf(parsed, bytes.length))
    for (const tag of tags) await this.#repositories.setTag(repository, tag, digest)
    return { digest, mediaType: parsed.mediaType, subject: parsed.subject?.digest }
  }

  /** Every blob and manifest it points to must be visible in the repository, with the size it says; the links are young afterwards. */
  async #checkReferences(repository: string, manifest: Manifest): Promise<void> {
    if (manifest.kind === 'index') {
      for (const child of manifest.manifests) {
        if (!(await this.#repositories.keepManifest(repository, child.digest)) && !this.#sparse) throw unknownBlob(repository, child, 'manifest')
      }
      return
    }
    for (const blob of [manifest.config, ...manifest.layers]) {
      if (isForeign(blob)) continue
      const found = (await this.#repositories.keepBlob(repository, blob.digest)) ? await this.#content.stat(blob.digest) : undefined
      if (found === undefined && this.#sparse) continue
      if (found === undefined) throw unknownBlob(repository, blob, 'blob')
      if (found.sizeBytes !== blob.size) throw new Fault('invalidArgument', `blob ${blob.digest} holds ${found.sizeBytes} bytes, the manifest says ${blob.size}`, { details: { reason: 'MANIFEST_INVALID' } })
    }
  }

  async delete(repository: string, reference: string): Promise<void> {
    const gone = isDigest(reference) ? await this.#repositories.unlinkManifest(repository, reference) : await this.#repositories.untag(repository, reference)
    if (!gone) throw await this.#missing(repository, reference)
  }

  /** Sorted by bytes; `NAME_UNKNOWN` for a repository that holds nothing. */
  async tags(repository: string): Promise<readonly string[]> {
    const tags = await this.#repositories.tags(repository)
    if (tags.length === 0 && !(await this.#repositories.exists(repository))) throw await this.#missing(repository, '')
    return tags
  }

  /** The referrers of `subject` as an image index (distribution-spec "Listing Referrers"). */
  async referrers(repository: string, subject: Digest, artifactType: string | undefined): Promise<object> {
    const manifests: object[] = []
    for (const digest of await this.#repositories.referrers(repository, subject)) {
      const link = await this.#repositories.manifest(repository, digest)
      if (link === undefined || (artifactType !== undefined && link.artifactType !== artifactType)) continue
      manifests.push(writeDescriptor({ mediaType: link.mediaType, digest, size: link.sizeBytes, ...(link.artifactType === undefined ? {} : { artifactType: link.artifactType }), ...(link.annotations === undefined ? {} : { annotations: link.annotations }) }))
    }
    return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }
  }
}

function readManifest(bytes: Buffer, contentType: string | undefined): Manifest {
  try {
    return parseManifest(bytes, contentType)
  } catch (error) {
    if (error instanceof Fault && error.code === 'invalidArgument') throw new Fault('invalidArgument', error.message, { cause: error, details: { reason: 'MANIFEST_INVALID' } })
    throw error
  }
}

function linkOf(manifest: Manifest, sizeBytes: number): ManifestLink {
  const artifactType = manifest.artifactType ?? (manifest.kind === 'image' ? manifest.config.mediaType : undefined)
  return {
    mediaType: manifest.mediaType,
    sizeBytes,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
    ...(manifest.subject === undefined ? {} : { subject: manifest.subject.digest }),
  }
}

/** Layers that may not be distributed live elsewhere (image-spec `layer.md`, "Non-Distributable Layers"). */
function isForeign(blob: Descriptor): boolean {
  return /nondistributable|\.foreign\./.test(blob.mediaType)
}

function unknownBlob(repository: string, descriptor: Descriptor, kind: string): Fault {
  return new Fault('notFound', `the manifest points to ${kind} ${descriptor.digest}, which is not in repository '${repository}': push it first`, {
    details: { reason: 'MANIFEST_BLOB_UNKNOWN', detail: { digest: descriptor.digest } },
  })
}
