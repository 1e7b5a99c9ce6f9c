/**
 * Pushing: layers first, then the configuration, then the manifest. To the registry of this machine layers go as they are (a
 * mount, no byte is copied); for others an uncompressed layer is compressed once and the result is kept.
 */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { Gate } from '#base/task.ts'
import type { RegistryClient, UploadOutcome } from '#oci/client/registry-client.ts'
import type { Digest } from '#oci/digest.ts'
import { shortDigest } from '#oci/digest.ts'
import { maxManifestBytes, parseManifest } from '#oci/manifest.ts'
import { familiarName } from '#oci/reference.ts'
import type { Reference } from '#oci/reference.ts'
import type { TransferProgress } from '../contract/images.ts'
import { writeManifest } from './image-manifest.ts'
import type { KnownImage, StoredLayer } from './image-records.ts'
import { digestName } from './image-names.ts'
import type { ImageStore } from './image-store.ts'
import { pushedForm, rememberCompressed } from './pushed-layers.ts'
import type { LayerOfImage } from './pushed-layers.ts'
import { storeBytes } from './store-bytes.ts'

export interface PushParts {
  readonly store: ImageStore
  readonly client: RegistryClient
  readonly gate: Gate
  /** The registry shares our blobs: nothing needs compressing. */
  readonly isLocal: boolean
}

export interface PushOptions {
  /** With a tag. */
  readonly reference: Reference
  readonly onProgress: (progress: TransferProgress) => void
  readonly signal: AbortSignal
}

export interface Pushed {
  readonly tag: string
  readonly digest: string
  readonly sizeBytes: number
}

export async function pushImage(parts: PushParts, options: PushOptions, known: KnownImage): Promise<Pushed> {
  const { store, client } = parts
  const { reference, onProgress, signal } = options
  const tag = reference.tag ?? 'latest'
  for (const layer of known.record.layers) onProgress({ id: shortDigest(layer.diffId), status: 'Preparing' })
  const layers = await Promise.all(known.record.layers.map((layer, index) => parts.gate.run(() => pushLayer(parts, options, { known, layer, index }))))
  await rememberCompressed(store, known, layers)
  const config = await pushBlob(parts, options, known.record.id)
  const bytes = await manifestBytes(store, known, { layers, configBytes: config.sizeBytes })
  const digest = await storeBytes(store.parts.blobs, bytes)
  const { mediaType } = parseManifest(bytes)
  const confirmed = await client.putManifest(reference.repository, { reference: tag, bytes, mediaType, signal })
  if (confirmed !== digest) throw new Fault('dataLoss', `${client.registry} says that it holds ${confirmed}, but ${digest} was sent`)
  await store.amend(known.record.id, (record) => ({ ...record, manifestDigest: digest }), { name: digestName({ ...reference, digest }), target: { mediaType, digest, size: bytes.length } })
  return { tag, digest, sizeBytes: bytes.length }
}

async function pushLayer(parts: PushParts, options: PushOptions, push: LayerOfImage): Promise<StoredLayer> {
  const { layer } = push
  const id = shortDigest(layer.diffId)
  const chosen = parts.isLocal ? layer : await pushedForm(parts.store, push, options.signal)
  using _lease = parts.store.parts.leases.hold(chosen.digest)
  const { outcome } = await pushBlob(parts, options, chosen.digest, (currentBytes) => options.onProgress({ id, status: 'Pushing', currentBytes, totalBytes: chosen.sizeBytes }))
  options.onProgress({ id, status: outcomeWords(outcome, options.reference) })
  return chosen
}

function outcomeWords(outcome: UploadOutcome, reference: Reference): string {
  switch (outcome) {
    case 'exists':
      return 'Layer already exists'
    case 'mounted':
      return `Mounted from ${familiarName(reference)}`
    case 'uploaded':
      return 'Pushed'
    default:
      throw new Fault('internal', `unknown outcome ${String(outcome)}`)
  }
}

async function pushBlob(parts: PushParts, options: PushOptions, digest: Digest, onSent?: (bytes: number) => void): Promise<{ readonly outcome: UploadOutcome; readonly sizeBytes: number }> {
  const { blobs } = parts.store.parts
  const stat = await blobs.stat(digest)
  if (stat === undefined) throw new Fault('dataLoss', `blob ${digest} is missing: pull or load the image again`)
  const outcome = await parts.client.upload(options.reference.repository, {
    digest,
    sizeBytes: stat.sizeBytes,
    signal: options.signal,
    open: async () => counted(await blobs.open(digest), stat.sizeBytes, onSent),
  })
  return { outcome, sizeBytes: stat.sizeBytes }
}

function counted(source: Readable, sizeBytes: number, onSent: ((bytes: number) => void) | undefined): Readable {
  if (onSent === undefined) return source
  const step = Math.max(256 * 1024, sizeBytes / 100)
  return Readable.from(
    (async function* () {
      let sent = 0
      let told = 0
      for await (const chunk of source) {
        const bytes: Buffer = chunk
        yield bytes
        sent += bytes.length
        if (sent - told < step) continue
        told = sent
        onSent(sent)
      }
    })(),
    { objectMode: false },
  )
}

/** The manifest the image came with, when it describes just these layers; else one of our own. */
async function manifestBytes(store: ImageStore, known: KnownImage, wanted: { readonly layers: readonly StoredLayer[]; readonly configBytes: number }): Promise<Buffer> {
  const { manifestDigest } = known.record
  if (manifestDigest !== undefined && (await store.parts.blobs.stat(manifestDigest)) !== undefined) {
    const bytes = await store.parts.blobs.read(manifestDigest, { maxBytes: maxManifestBytes })
    const manifest = parseManifest(bytes)
    const same = manifest.kind === 'image' && manifest.layers.length === wanted.layers.length && manifest.layers.every((layer, index) => layer.digest === wanted.layers[index]?.digest)
    if (same) return bytes
  }
  return writeManifest(known, wanted.layers, wanted.configBytes)
}
