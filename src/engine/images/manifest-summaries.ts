/** What is known of the manifests of a name's target, for those who look at images (Engine API `ImageManifestSummary`). */
import type { Descriptor } from '#oci/descriptor.ts'
import { digestOf, isDigest } from '#oci/digest.ts'
import { parseManifest, referencedDescriptors } from '#oci/manifest.ts'
import type { Manifest } from '#oci/manifest.ts'
import type { ImageTarget, ManifestSummary } from '../contract/images.ts'
import { manifestBytes } from './image-manifest.ts'
import { platformOf } from './image-of-manifest.ts'
import type { ImageStore } from './image-store.ts'
import { attestedDigest, isImage, isIndexType, isManifestType } from './targets.ts'

export async function manifestSummaries(store: ImageStore, nameOrId: string): Promise<{ readonly target: ImageTarget; readonly manifests: readonly ManifestSummary[] }> {
  const known = store.find(nameOrId)
  const target = store.targetOf(nameOrId)
  if (target === undefined) {
    const bytes = await manifestBytes(store, known, known.record.layers)
    const manifest = parseManifest(bytes)
    const own = { mediaType: manifest.mediaType, digest: digestOf(bytes), size: bytes.length }
    return { target: own, manifests: [await summaryOf(store, own, manifest)] }
  }
  const manifests: ManifestSummary[] = []
  for await (const descriptor of store.targets.reachable(target)) {
    if (isManifestType(descriptor.mediaType) && !isIndexType(descriptor.mediaType)) manifests.push(await summaryOf(store, descriptor, await store.targets.read(descriptor)))
  }
  return { target, manifests }
}

async function summaryOf(store: ImageStore, descriptor: Descriptor, manifest: Manifest | undefined): Promise<ManifestSummary> {
  const { blobs } = store.parts
  const parts = manifest === undefined ? [] : referencedDescriptors(manifest)
  const present = await Promise.all(parts.map(async (part) => ((await blobs.stat(part.digest)) === undefined ? undefined : part.size)))
  const contentBytes = present.reduce((sum: number, size) => sum + (size ?? 0), manifest === undefined ? 0 : descriptor.size)
  return { descriptor, isAvailable: manifest !== undefined && !present.includes(undefined), contentBytes, kind: await kindOf(store, descriptor, manifest) }
}

async function kindOf(store: ImageStore, descriptor: Descriptor, manifest: Manifest | undefined): Promise<ManifestSummary['kind']> {
  const about = attestedDigest(descriptor)
  if (about !== undefined) return isDigest(about) ? { is: 'attestation', about } : { is: 'unknown' }
  // What is not here is what its index makes of it.
  if (manifest === undefined) return descriptor.platform === undefined ? { is: 'unknown' } : { is: 'image', platform: descriptor.platform, unpackedBytes: 0 }
  if (manifest.kind !== 'image' || !isImage(manifest)) return { is: 'unknown' }
  const known = store.parts.records.get(manifest.config.digest)
  const platform = descriptor.platform ?? known?.config ?? (await platformOf(store, manifest))
  if (platform === undefined) return { is: 'unknown' }
  const { os, architecture, variant } = platform
  return {
    is: 'image',
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    unpackedBytes: known === undefined ? 0 : (await store.describe(known)).sizeBytes,
    ...(known === undefined ? {} : { id: known.record.id }),
  }
}
