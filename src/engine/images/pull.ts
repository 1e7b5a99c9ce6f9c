/**
 * Pulling: manifest (of an index the one of a platform, with its attestations), then configuration, then the missing layers side by side, each unpacked while it arrives. An interrupted
 * download stays as an ingest and is taken up by the next pull. Every digest is checked before anything gets a name.
 */
import { readBody } from '#base/http.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Gate, KeyedSerial } from '#base/task.ts'
import type { Ingest } from '#oci/blobs/contract.ts'
import type { BlobSource, FetchedManifest } from '#oci/client/registry-client.ts'
import { resumedBlob } from '#oci/client/resumed-blob.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { layerCompression } from '#oci/descriptor.ts'
import { digestHex, digestOf, parseDigest, shortDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { maxConfigBytes, parseImageConfig } from '#oci/image-config.ts'
import type { ImageIndex, ImageManifest } from '#oci/manifest.ts'
import { parseManifest } from '#oci/manifest.ts'
import type { Platform } from '#oci/platform.ts'
import { platformText } from '#oci/platform.ts'
import { canonicalReference, familiarName, familiarReference } from '#oci/reference.ts'
import type { Reference } from '#oci/reference.ts'
import type { Image, TransferProgress } from '../contract/images.ts'
import type { StoredLayer } from './image-records.ts'
import { digestName } from './image-names.ts'
import { bestFit } from './image-of-manifest.ts'
import type { ImageStore } from './image-store.ts'
import { fetchAttestations } from './pull-attestations.ts'
import { storeAndUnpack } from './store-and-unpack.ts'
import { storeBytes } from './store-bytes.ts'

export interface PullParts {
  readonly store: ImageStore
  readonly client: BlobSource
  /** One download per blob, whoever asks. */
  readonly downloads: KeyedSerial<Digest>
  /** How many layers at a time. */
  readonly gate: Gate
}

export interface PullOptions {
  /** With tag or digest. */
  readonly reference: Reference
  readonly platform: Platform
  /** A name that means an image here already goes on meaning that. */
  readonly leavesNames: boolean
  readonly onProgress: (progress: TransferProgress) => void
  readonly signal: AbortSignal
}

export async function pullImage(parts: PullParts, options: PullOptions): Promise<Image> {
  const { store } = parts
  const { reference, onProgress } = options
  const asked = reference.digest ?? reference.tag ?? 'latest'
  using held = new DisposableStack()
  const top = await fetchManifest(parts, options, asked)
  // Not before: a pull of what is not there has no progress, so that clients are answered 404.
  onProgress({ id: asked, status: `Pulling from ${reference.repository}` })
  const { fetched, manifest, indexes } = await choose(parts, options, top)
  for (const { bytes, digest } of [...indexes, fetched]) held.use(store.parts.leases.hold(await storeBytes(store.parts.blobs, bytes, digest)))
  const index = indexes.at(-1)?.index
  if (index !== undefined) await fetchAttestations(parts, options, { index, digest: fetched.digest, held })
  const configBytes = await fetchConfig(parts, options, manifest.config)
  const isKnown = store.parts.records.get(manifest.config.digest) !== undefined
  const layers = await fetchLayers(parts, options, { manifest, diffIds: parseImageConfig(configBytes).rootfs.diff_ids, held, isKnown })
  const known = await store.add({
    configBytes,
    layers,
    // Where another copy of a layer is used, the manifest does not describe what is stored.
    ...(layers.every((layer, index) => layer.digest === manifest.layers[index]?.digest) ? { manifestDigest: fetched.digest } : {}),
    names: namesFor(parts, options, top.digest),
    target: { mediaType: (indexes[0]?.index ?? manifest).mediaType, digest: top.digest, size: top.bytes.length },
  })
  onProgress({ status: `Digest: ${top.digest}` })
  return await store.describe(known)
}

function namesFor({ store }: PullParts, { reference, leavesNames }: PullOptions, digest: Digest): readonly string[] {
  const names = [...(reference.digest === undefined ? [canonicalReference(reference)] : []), digestName({ ...reference, digest })]
  return leavesNames ? names.filter((name) => store.parts.records.names.get(name) === undefined) : names
}

async function fetchManifest(parts: PullParts, options: PullOptions, asked: string): Promise<FetchedManifest> {
  const { reference } = options
  try {
    return await parts.client.manifest(reference.repository, asked, options.signal)
  } catch (error) {
    if (isFault(error, 'notFound')) {
      const { registryWords: said } = error.details
      throw new Fault('notFound', `manifest for ${familiarReference(reference)} not found: ${typeof said === 'string' ? said : error.message}`, { cause: error })
    }
    if (!isFault(error, 'unauthenticated') && !isFault(error, 'permissionDenied')) throw error
    throw new Fault('notFound', `pull access denied for ${familiarName(reference)}, repository does not exist or may require 'docker login': ${error.message}`, { cause: error })
  }
}

interface Chosen {
  readonly fetched: FetchedManifest
  readonly manifest: ImageManifest
  /** On the way to it, the first one is what was asked for. */
  readonly indexes: readonly FetchedIndex[]
}

interface FetchedIndex extends FetchedManifest {
  readonly index: ImageIndex
}

/** Follows indexes to the image that fits the platform best. */
async function choose(parts: PullParts, options: PullOptions, top: FetchedManifest): Promise<Chosen> {
  const indexes: FetchedIndex[] = []
  let fetched = top
  for (let depth = 0; depth < 4; depth += 1) {
    const manifest = parseManifest(fetched.bytes, fetched.mediaType)
    if (manifest.kind === 'image') return { fetched, manifest, indexes }
    indexes.push({ ...fetched, index: manifest })
    const best = bestFit(options.platform, manifest.manifests.flatMap((candidate) => (candidate.platform === undefined ? [] : [{ ...candidate, platform: candidate.platform }])))
    if (best === undefined) {
      const offered = manifest.manifests.flatMap(({ platform }) => (platform === undefined || platform.os === 'unknown' ? [] : [platformText(platform)])).join(', ')
      throw new Fault('notFound', `no matching manifest for ${platformText(options.platform)} in the manifest list entries (it has ${offered.slice(0, 500) || 'none with a platform'})`)
    }
    fetched = await parts.client.manifest(options.reference.repository, best.digest, options.signal)
  }
  throw new Fault('invalidArgument', `the index of ${familiarReference(options.reference)} is nested too deeply`)
}

async function fetchConfig(parts: PullParts, options: PullOptions, config: Descriptor): Promise<Buffer> {
  if (!/(container\.image|image\.config)\.v1\+json$/.test(config.mediaType)) {
    throw new Fault('invalidArgument', `unsupported media type ${config.mediaType}: ${familiarReference(options.reference)} is no container image`)
  }
  const { blobs } = parts.store.parts
  if ((await blobs.stat(config.digest)) !== undefined) return await blobs.read(config.digest, { maxBytes: maxConfigBytes })
  const { body } = await parts.client.blob(options.reference.repository, config.digest, { signal: options.signal })
  const bytes = await readBody(body, { maxBytes: maxConfigBytes, what: 'image config' })
  if (digestOf(bytes) !== config.digest) throw new Fault('dataLoss', `the image config that ${parts.client.registry} sent has the digest ${digestOf(bytes)}, not ${config.digest}`)
  return bytes
}

interface Wanted {
  readonly manifest: ImageManifest
  readonly diffIds: readonly string[]
  readonly held: DisposableStack
  /** The image is here already: nothing is told of layers that are. */
  readonly isKnown: boolean
}

async function fetchLayers(parts: PullParts, options: PullOptions, wanted: Wanted): Promise<StoredLayer[]> {
  const { manifest, diffIds } = wanted
  if (manifest.layers.length !== diffIds.length) throw new Fault('invalidArgument', `${familiarReference(options.reference)}: the manifest lists ${manifest.layers.length} layers, the configuration ${diffIds.length}`)
  const failed = new AbortController()
  const inner = { ...options, signal: AbortSignal.any([options.signal, failed.signal]) }
  const layers = manifest.layers.map((descriptor, index): Layer => ({ descriptor, diffId: parseDigest(diffIds[index], 'rootfs.diff_ids') }))
  wanted.held.use(parts.store.parts.snapshots.hold(diffIds))
  for (const { descriptor } of layers) wanted.held.use(parts.store.parts.leases.hold(descriptor.digest))
  // In the image's order: clients print the lines as they come.
  const here = await Promise.all(layers.map(async (layer) => (await usableCopy(parts.store, layer)) !== undefined))
  for (const [index, { descriptor }] of layers.entries()) {
    if (here[index] !== true) options.onProgress({ id: shortDigest(descriptor.digest), status: 'Pulling fs layer' })
    else if (!wanted.isKnown) options.onProgress({ id: shortDigest(descriptor.digest), status: 'Already exists' })
  }
  const fetching = layers.map(async (layer, index) => {
    try {
      const stored = await parts.gate.run(() => parts.downloads.run(layer.descriptor.digest, () => fetchLayer(parts, inner, layer)))
      if (here[index] !== true) options.onProgress({ id: shortDigest(layer.descriptor.digest), status: 'Pull complete' })
      return stored
    } catch (error) {
      failed.abort(error)
      throw error
    }
  })
  const settled = await Promise.allSettled(fetching)
  const reasons = settled.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []))
  // The first failure cancels the others; theirs say nothing new.
  if (reasons.length > 0) throw reasons.find((reason) => !isFault(reason, 'canceled')) ?? reasons[0]
  return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}

interface Layer {
  readonly descriptor: Descriptor
  readonly diffId: Digest
}

/** What is stored of a layer: the blob that is asked for, or another copy. */
async function copyOf(store: ImageStore, { descriptor, diffId }: Layer): Promise<StoredLayer | undefined> {
  if ((await store.parts.blobs.stat(descriptor.digest)) === undefined) return await store.findLayer(diffId)
  return { diffId, digest: descriptor.digest, mediaType: descriptor.mediaType, sizeBytes: descriptor.size }
}

/** A copy that is unpacked too, so that nothing is to be done. */
async function usableCopy(store: ImageStore, layer: Layer): Promise<StoredLayer | undefined> {
  return store.parts.snapshots.hasLayer(layer.diffId) ? await copyOf(store, layer) : undefined
}

async function fetchLayer(parts: PullParts, options: PullOptions, layer: Layer): Promise<StoredLayer> {
  options.signal.throwIfAborted()
  const { store } = parts
  const { blobs, snapshots } = store.parts
  const { descriptor, diffId } = layer
  const id = shortDigest(descriptor.digest)
  const stored: StoredLayer = { diffId, digest: descriptor.digest, mediaType: descriptor.mediaType, sizeBytes: descriptor.size }
  const usable = await usableCopy(store, layer)
  if (usable !== undefined) return usable
  const compression = layerCompression(descriptor.mediaType)
  if (compression === undefined) throw new Fault('unsupportedMediaType', `layer ${id} has the type '${descriptor.mediaType}', which is no layer of a root file system`)
  if ((await blobs.stat(descriptor.digest)) !== undefined) {
    options.onProgress({ id, status: 'Extracting', currentBytes: descriptor.size, totalBytes: descriptor.size })
    await snapshots.unpackLayer({ diffId, blob: await blobs.open(descriptor.digest), compression, signal: options.signal })
  } else await download(parts, options, layer)
  return stored
}

/** Downloads into the blob store and unpacks at the same time; an earlier download is gone on with. */
async function download(parts: PullParts, options: PullOptions, layer: Layer): Promise<void> {
  const { snapshots } = parts.store.parts
  const { descriptor, diffId } = layer
  const id = shortDigest(descriptor.digest)
  const compression = layerCompression(descriptor.mediaType) ?? 'detect'
  const ingest = await takeUp(parts.store, `pull-${digestHex(descriptor.digest)}`)
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  try {
    const source = reported(resumedBlob({ client: parts.client, repository: options.reference.repository, descriptor, start: ingest.offset, clock: parts.store.parts.clock, signal }), options, layer, ingest.offset)
    await storeAndUnpack({
      snapshots, ingest, source, compression, diffId, signal, failed,
      onStored: () => {
        options.onProgress({ id, status: 'Download complete' })
        options.onProgress({ id, status: 'Extracting', currentBytes: descriptor.size, totalBytes: descriptor.size })
      },
    })
    await ingest.commit({ expect: descriptor.digest })
  } catch (error) {
    // What a bad server sent is thrown away; what a bad network cut off is kept for the next pull.
    await (isFault(error, 'canceled') || isFault(error, 'unavailable') ? ingest.release() : ingest.abort())
    throw error
  }
}

/** An ingest of a known name: a new one, or what an interrupted pull left. */
async function takeUp(store: ImageStore, id: string): Promise<Ingest> {
  try {
    return await store.parts.blobs.begin({ id })
  } catch (error) {
    if (!isFault(error, 'alreadyExists')) throw error
    return await store.parts.blobs.resume(id)
  }
}

/** Tells of the progress at most a hundred times per layer. */
async function* reported(source: AsyncIterable<Uint8Array>, options: PullOptions, layer: Layer, start: number): AsyncGenerator<Uint8Array> {
  const id = shortDigest(layer.descriptor.digest)
  const bytesPerReport = Math.max(256 * 1024, layer.descriptor.size / 100)
  let current = start
  let told = start
  for await (const chunk of source) {
    current += chunk.length
    if (current - told >= bytesPerReport) {
      told = current
      options.onProgress({ id, status: 'Downloading', currentBytes: current, totalBytes: layer.descriptor.size })
    }
    yield chunk
  }
}
