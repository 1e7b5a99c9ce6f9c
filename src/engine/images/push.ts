/**
 * Pushing a name: what it stands for as it is where nothing of that is missing; else the image that it means here, whose layers go
 * first, then the configuration, then the manifest. To the registry of this machine layers go as they are (a mount, no byte is copied);
 * for others an uncompressed layer is compressed once and the result is kept.
 */
import { Fault } from '#base/fault.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { digestOf, shortDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { parseManifest } from '#oci/manifest.ts'
import type { Platform } from '#oci/platform.ts'
import { familiarReference } from '#oci/reference.ts'
import type { ImageTarget, PushedImage } from '../contract/images.ts'
import { manifestBytes } from './image-manifest.ts'
import { platformTarget } from './image-of-manifest.ts'
import { digestName } from './image-names.ts'
import type { KnownImage, StoredLayer } from './image-records.ts'
import type { ImageStore } from './image-store.ts'
import { mountSource, pushBlob } from './push-blob.ts'
import type { PushParts, PushWork } from './push-blob.ts'
import { planTarget, pushTarget } from './push-target.ts'
import { pushedForm, rememberCompressed } from './pushed-layers.ts'
import type { LayerOfImage } from './pushed-layers.ts'
import { storeBytes } from './store-bytes.ts'
import { isIndexType } from './targets.ts'

export interface PushedName {
  /** The image that the name means; undefined for a target without a name. */
  readonly known: KnownImage | undefined
  readonly target: ImageTarget | undefined
  /** Only the manifest of this platform. */
  readonly platform: Platform | undefined
}

export async function pushName(parts: PushParts, work: PushWork, { known, target, platform }: PushedName): Promise<PushedImage> {
  const tag = work.reference.tag ?? 'latest'
  const asked = platform === undefined ? target : await platformTarget(parts.store, { known, target, platform, name: familiarReference(work.reference) })
  using held = new DisposableStack()
  if (asked !== undefined) for await (const { digest } of parts.store.targets.reachable(asked)) held.use(parts.store.parts.leases.hold(digest))
  const plan = asked === undefined ? undefined : await planTarget(parts, work, asked)
  if (plan !== undefined && 'manifests' in plan) {
    await pushTarget(parts, work, plan)
    await remember(parts.store, work, plan.target)
    return { tag, digest: plan.target.digest, sizeBytes: plan.target.size }
  }
  if (known === undefined) throw new Fault('notFound', `${familiarReference(work.reference)}: ${plan?.absent.digest ?? 'what is to be pushed'} is not here`)
  const pushed = await pushImage(parts, work, known)
  const isOther = target !== undefined && platform === undefined && isIndexType(target.mediaType)
  return { tag, digest: pushed.digest, sizeBytes: pushed.size, ...(isOther ? { insteadOf: { index: target, selected: pushed } } : {}) }
}

/** The registry holds it: its images have a name with its digest. */
async function remember(store: ImageStore, { reference }: PushWork, target: ImageTarget): Promise<void> {
  const { records } = store.parts
  const ids = (await store.targets.imageManifests(target)).map(({ manifest }) => manifest.config.digest).filter((id) => records.get(id) !== undefined)
  const named = reference.tag === undefined ? undefined : records.names.get(`${reference.registry}/${reference.repository}:${reference.tag}`)
  const id = ids.find((candidate) => candidate === named?.id) ?? ids[0]
  if (id !== undefined) await store.amend(id, (record) => record, { name: digestName({ ...reference, digest: target.digest }), target })
}

async function pushImage(parts: PushParts, work: PushWork, known: KnownImage): Promise<Descriptor & { readonly digest: Digest }> {
  const { store, client } = parts
  const { reference, onProgress, signal } = work
  for (const layer of known.record.layers) onProgress({ id: shortDigest(layer.diffId), status: 'Preparing' })
  const layers = await Promise.all(known.record.layers.map((layer, index) => parts.gate.run(() => pushLayer(parts, work, { known, layer, index }))))
  await rememberCompressed(store, known, layers)
  await pushBlob(parts, work, { digest: known.record.id })
  const bytes = await manifestBytes(store, known, layers)
  const target = { mediaType: parseManifest(bytes).mediaType, digest: digestOf(bytes), size: bytes.length }
  const confirmed = await client.putManifest(reference.repository, { reference: reference.tag ?? 'latest', bytes, mediaType: target.mediaType, signal })
  if (confirmed !== target.digest) throw new Fault('dataLoss', `${client.registry} says that it holds ${confirmed}, but ${target.digest} was sent`)
  using _lease = store.parts.leases.hold(await storeBytes(store.parts.blobs, bytes))
  await store.amend(known.record.id, (record) => ({ ...record, manifestDigest: target.digest }), { name: digestName({ ...reference, digest: target.digest }), target })
  return target
}

async function pushLayer(parts: PushParts, work: PushWork, push: LayerOfImage): Promise<StoredLayer> {
  const chosen = parts.isLocal ? push.layer : await pushedForm(parts.store, push, work.signal)
  using _lease = parts.store.parts.leases.hold(chosen.digest)
  await pushBlob(parts, work, { digest: chosen.digest, id: shortDigest(push.layer.diffId), from: mountSource(parts.store, work.reference, chosen.digest) })
  return chosen
}
