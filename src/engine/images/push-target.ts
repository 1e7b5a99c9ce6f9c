/**
 * Pushing what a name stands for as it is, so that its digest stays: an index with all that belongs to it, or one manifest. What is
 * not here may be in the repository already, or in another one of the same registry; whether nothing is missing is known before anything
 * is sent.
 */
import { Fault, isFault } from '#base/fault.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { layerCompression } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { shortDigest } from '#oci/digest.ts'
import { maxManifestBytes, parseManifest, referencedDescriptors } from '#oci/manifest.ts'
import type { Reference } from '#oci/reference.ts'
import type { ImageTarget } from '../contract/images.ts'
import { pushBlob } from './push-blob.ts'
import type { PushParts, PushWork } from './push-blob.ts'
import { isManifestType } from './targets.ts'

/** Manifests that are fetched only to be sent on are in memory meanwhile: so many of them. */
const maxFetched = 64

export interface TargetPlan {
  readonly target: ImageTarget
  readonly blobs: readonly Descriptor[]
  /** Each after all that it refers to; the target is the last. */
  readonly manifests: readonly { readonly descriptor: Descriptor; readonly bytes: Buffer }[]
  /** Repositories of the same registry that hold the target. */
  readonly sources: readonly string[]
}

/** What is to be sent, or a part that is neither here nor there. Parts that can be mounted are. */
export async function planTarget(parts: PushParts, work: PushWork, target: ImageTarget): Promise<TargetPlan | { readonly absent: Descriptor }> {
  const planner = new Planner(parts, work, target)
  const absent = await planner.visit(target)
  return absent === undefined ? planner.plan : { absent }
}

class Planner {
  readonly #parts: PushParts
  readonly #work: PushWork
  readonly #target: ImageTarget
  readonly #sources: readonly string[]
  readonly #seen = new Set<Digest>()
  readonly #blobs: Descriptor[] = []
  readonly #manifests: { readonly descriptor: Descriptor; readonly bytes: Buffer }[] = []
  #fetched = 0

  constructor(parts: PushParts, work: PushWork, target: ImageTarget) {
    this.#parts = parts
    this.#work = work
    this.#target = target
    this.#sources = sourcesOf(parts, work.reference, target)
  }

  get plan(): TargetPlan {
    return { target: this.#target, blobs: this.#blobs, manifests: this.#manifests, sources: this.#sources }
  }

  /** Answers what is missing. */
  async visit(descriptor: Descriptor): Promise<Descriptor | undefined> {
    if (this.#seen.has(descriptor.digest)) return undefined
    this.#seen.add(descriptor.digest)
    return isManifestType(descriptor.mediaType) ? await this.#visitManifest(descriptor) : await this.#visitBlob(descriptor)
  }

  async #visitManifest(descriptor: Descriptor): Promise<Descriptor | undefined> {
    const { client, store } = this.#parts
    const { reference, signal } = this.#work
    const isHere = (await store.parts.blobs.stat(descriptor.digest)) !== undefined
    if (!isHere && (await client.hasManifest(reference.repository, descriptor.digest, signal))) return undefined
    const bytes = isHere ? await store.parts.blobs.read(descriptor.digest, { maxBytes: maxManifestBytes }) : await this.#fetch(descriptor.digest)
    if (bytes === undefined) return descriptor
    for (const part of referencedDescriptors(parseManifest(bytes, descriptor.mediaType))) {
      const absent = await this.visit(part)
      if (absent !== undefined) return absent
    }
    this.#manifests.push({ descriptor, bytes })
    return undefined
  }

  async #visitBlob(descriptor: Descriptor): Promise<Descriptor | undefined> {
    const { client, store } = this.#parts
    const { reference, signal } = this.#work
    if ((await store.parts.blobs.stat(descriptor.digest)) !== undefined) {
      this.#blobs.push(descriptor)
      return undefined
    }
    for (const from of this.#sources) if (await client.mount(reference.repository, { digest: descriptor.digest, from, signal })) return undefined
    return this.#sources.length === 0 && (await client.hasBlob(reference.repository, descriptor.digest, signal)) ? undefined : descriptor
  }

  async #fetch(digest: Digest): Promise<Buffer | undefined> {
    for (const from of this.#sources) {
      if (this.#fetched >= maxFetched) return undefined
      try {
        const { bytes } = await this.#parts.client.manifest(from, digest, this.#work.signal)
        this.#fetched += 1
        return bytes
      } catch (error) {
        // It may have gone there, or be somebody else's by now.
        if (!isFault(error, 'notFound') && !isFault(error, 'unauthenticated') && !isFault(error, 'permissionDenied')) throw error
      }
    }
    return undefined
  }
}

function sourcesOf({ store }: PushParts, { registry, repository }: Reference, target: ImageTarget): readonly string[] {
  const named = store.parts.records.names.inRegistry(registry).filter(({ digest }) => digest === target.digest)
  return [...new Set(named.map((name) => name.repository))].filter((name) => name !== repository)
}

/** Sends what was planned; the last manifest gets the tag. */
export async function pushTarget(parts: PushParts, work: PushWork, plan: TargetPlan): Promise<void> {
  const { client, gate } = parts
  const { reference, onProgress, signal } = work
  const diffIds = new Map(parts.store.parts.records.all().flatMap(({ record }) => record.layers.map(({ digest, diffId }) => [digest, diffId])))
  const blobs = plan.blobs.map(({ digest, mediaType }) => ({ digest, from: plan.sources[0], ...(layerCompression(mediaType) === undefined ? {} : { id: shortDigest(diffIds.get(digest) ?? digest) }) }))
  for (const { id } of blobs) if (id !== undefined) onProgress({ id, status: 'Preparing' })
  await Promise.all(blobs.map((blob) => gate.run(() => pushBlob(parts, work, blob))))
  for (const { descriptor, bytes } of plan.manifests) {
    const isTop = descriptor.digest === plan.target.digest
    const confirmed = await client.putManifest(reference.repository, { reference: isTop ? (reference.tag ?? 'latest') : descriptor.digest, bytes, mediaType: descriptor.mediaType, signal })
    if (confirmed !== descriptor.digest) throw new Fault('dataLoss', `${client.registry} says that it holds ${confirmed}, but ${descriptor.digest} was sent`)
  }
}
