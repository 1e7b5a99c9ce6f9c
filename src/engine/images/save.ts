/**
 * `docker save`: one tar that Docker reads (`manifest.json`, `repositories`) and that is an OCI image layout as well
 * (`oci-layout`, `index.json`, `blobs/`). Blobs are written as they are stored, an index with all that belongs to it.
 */
import { Readable } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { digestAlgorithm, digestHex, digestOf } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { parseManifest } from '#oci/manifest.ts'
import type { ImageManifest } from '#oci/manifest.ts'
import { hostPlatform, parsePlatform } from '#oci/platform.ts'
import type { Platform } from '#oci/platform.ts'
import { canonicalReference, familiarName, familiarReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import type { ImageTarget, SaveOptions } from '../contract/images.ts'
import { manifestBytes } from './image-manifest.ts'
import { bestFit, platformTarget, wholeImages } from './image-of-manifest.ts'
import type { KnownImage } from './image-records.ts'
import type { ImageStore } from './image-store.ts'

interface Chosen {
  /** Canonical names with tag. */
  readonly names: readonly string[]
  /** What `index.json` lists. */
  readonly root: Descriptor
  /** Its bytes, where they are not a blob. */
  readonly bytes?: Buffer
  /** Every other blob that goes along. */
  readonly blobs: readonly Digest[]
  /** What `manifest.json` lists, which has images of one platform only. */
  readonly image?: ImageManifest
}

export async function saveArchive(store: ImageStore, namesOrIds: readonly string[], options: SaveOptions = {}): Promise<Readable> {
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform)
  const chosen = new Map<Digest, Chosen>()
  const choose = (found: Chosen): void => {
    const before = chosen.get(found.root.digest)
    chosen.set(found.root.digest, { ...found, names: [...new Set([...(before?.names ?? []), ...found.names])] })
  }
  if (options.target !== undefined) choose({ names: options.names ?? [], ...(await wholeTarget(store, options.target)), root: options.target })
  for (const text of namesOrIds) {
    const known = findAsked(store, text)
    choose({ names: options.names ?? askedNames(store, known, text), ...(await savedForm(store, { known, target: store.targetOf(text), platform, name: text })) })
  }
  if (chosen.size === 0) throw new Fault('invalidArgument', 'no image was named: expected at least one')
  return Readable.from(heldArchive(store, [...chosen.values()]), { objectMode: false, highWaterMark: 256 * 1024, ...(options.signal === undefined ? {} : { signal: options.signal }) })
}

/** What is not there is told as it was asked for. */
function findAsked(store: ImageStore, text: string): KnownImage {
  try {
    return store.find(text)
  } catch (error) {
    throw isFault(error, 'notFound') ? new Fault('notFound', `No such image: ${text}`, { cause: error }) : error
  }
}

/** A name keeps that name; an id keeps none. */
function askedNames(store: ImageStore, known: KnownImage, text: string): readonly string[] {
  if (!store.isName(text)) return []
  const reference = withDefaultTag(parseReference(text))
  return reference.digest === undefined && store.parts.records.names.get(canonicalReference(reference))?.id === known.record.id ? [canonicalReference(reference)] : []
}

interface Asked {
  readonly known: KnownImage
  readonly target: ImageTarget | undefined
  readonly platform: Platform | undefined
  readonly name: string
}

/** What the name stands for, if all of it is here; else the image alone, so that the archive lacks nothing that it lists. */
async function savedForm(store: ImageStore, asked: Asked): Promise<Omit<Chosen, 'names'>> {
  const { known, target, platform } = asked
  const wanted = platform === undefined ? target : await platformTarget(store, { ...asked, platform })
  if (wanted !== undefined && (await store.targets.missing(wanted)).length === 0) return await wholeTarget(store, wanted, known.record.id)
  const bytes = await manifestBytes(store, known, known.record.layers)
  const image = parseManifest(bytes)
  if (image.kind !== 'image') throw new Fault('dataLoss', `image ${known.record.id}: its manifest is none of an image`)
  return { root: { mediaType: image.mediaType, digest: digestOf(bytes), size: bytes.length }, bytes, blobs: [known.record.id, ...known.record.layers.map((layer) => layer.digest)], image }
}

/** `manifest.json` gets the image that the name means here, or this machine's. */
async function wholeTarget(store: ImageStore, target: ImageTarget, id?: Digest): Promise<Omit<Chosen, 'names'>> {
  const blobs: Digest[] = []
  for await (const { digest } of store.targets.reachable(target)) blobs.push(digest)
  const images = await wholeImages(store, target)
  const image = (images.find(({ manifest }) => manifest.config.digest === id) ?? bestFit(hostPlatform, images) ?? images[0])?.manifest
  return { root: { mediaType: target.mediaType, digest: target.digest, size: target.size }, blobs, ...(image === undefined ? {} : { image }) }
}

/** Nothing of it is collected meanwhile. */
async function* heldArchive(store: ImageStore, images: readonly Chosen[]): AsyncGenerator<Buffer> {
  using held = new DisposableStack()
  for (const digest of images.flatMap(({ blobs }) => blobs)) held.use(store.parts.leases.hold(digest))
  yield* archive(store, images)
}

async function* archive(store: ImageStore, images: readonly Chosen[]): AsyncGenerator<Buffer> {
  const written = new Set<Digest>()
  const algorithms = new Set(images.flatMap(({ root, blobs }) => [root.digest, ...blobs]).map(digestAlgorithm))
  yield folder('blobs')
  for (const algorithm of algorithms) yield folder(`blobs/${algorithm}`)
  for (const { root, bytes, blobs } of images) {
    for (const digest of blobs) {
      if (!written.has(digest)) yield* blob(store, digest)
      written.add(digest)
    }
    if (bytes !== undefined && !written.has(root.digest)) yield* file(blobPath(root.digest), bytes)
    written.add(root.digest)
  }
  yield* file('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: images.flatMap(indexEntries) })))
  yield* file('manifest.json', Buffer.from(JSON.stringify(dockerEntries(images))))
  yield* file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
  yield* file('repositories', Buffer.from(JSON.stringify(repositories(images))))
  yield tarEnd
}

function indexEntries({ names, root }: Chosen): object[] {
  if (names.length === 0) return [writeDescriptor(root)]
  return names.map((name) => writeDescriptor({ ...root, annotations: { ...root.annotations, 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': parseReference(name).tag ?? 'latest' } }))
}

/** One for each image, however many manifests it is saved by. */
function dockerEntries(images: readonly Chosen[]): object[] {
  const entries = new Map<Digest, { readonly image: ImageManifest; readonly tags: readonly string[] }>()
  for (const { image, names } of images) {
    if (image === undefined) continue
    const tags = names.map((name) => familiarReference(parseReference(name)))
    entries.set(image.config.digest, { image, tags: [...(entries.get(image.config.digest)?.tags ?? []), ...tags] })
  }
  return [...entries.values()].map(({ image, tags }) => ({ Config: blobPath(image.config.digest), RepoTags: tags.length === 0 ? null : tags, Layers: image.layers.map((layer) => blobPath(layer.digest)) }))
}

function repositories(images: readonly Chosen[]): Readonly<Record<string, Record<string, string>>> {
  const found: Record<string, Record<string, string>> = Object.create(null)
  for (const { image, names } of images) {
    if (image === undefined) continue
    for (const name of names) {
      const reference = parseReference(name)
      const repository = (found[familiarName(reference)] ??= Object.create(null))
      if (repository !== undefined) repository[reference.tag ?? 'latest'] = digestHex(image.layers.at(-1)?.digest ?? image.config.digest)
    }
  }
  return found
}

function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`
}

function header(path: string, type: 'file' | 'directory', sizeBytes: number): Buffer {
  return tarHeader({ type, path: Buffer.from(path), linkPath: Buffer.alloc(0), mode: type === 'file' ? 0o644 : 0o755, uid: 0, gid: 0, userName: '', groupName: '', sizeBytes, modifiedNs: 0n, xattrs: new Map() })
}

function folder(path: string): Buffer {
  return header(path, 'directory', 0)
}

async function* file(path: string, content: Buffer): AsyncGenerator<Buffer> {
  yield header(path, 'file', content.length)
  yield content
  yield tarPadding(content.length)
}

async function* blob(store: ImageStore, digest: Digest): AsyncGenerator<Buffer> {
  const stat = await store.parts.blobs.stat(digest)
  if (stat === undefined) throw new Fault('dataLoss', `blob ${digest} is missing: pull or load the image again`)
  yield header(blobPath(digest), 'file', stat.sizeBytes)
  for await (const chunk of await store.parts.blobs.open(digest)) yield chunk
  yield tarPadding(stat.sizeBytes)
}
