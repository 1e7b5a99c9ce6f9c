/**
 * `docker save`: one tar that Docker reads (`manifest.json`, `repositories`) and that is an OCI image layout as well
 * (`oci-layout`, `index.json`, `blobs/`). Blobs are written as they are stored.
 */
import { Readable } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import { digestHex, digestOf } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { maxManifestBytes } from '#oci/manifest.ts'
import { canonicalReference, familiarName, familiarReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import type { KnownImage } from './image-records.ts'
import { writeManifest } from './image-manifest.ts'
import type { ImageStore } from './image-store.ts'

interface Chosen {
  readonly known: KnownImage
  /** Canonical names with tag. */
  readonly names: readonly string[]
  readonly manifest: Buffer
}

export async function saveArchive(store: ImageStore, namesOrIds: readonly string[], options: { readonly names?: readonly string[]; readonly signal?: AbortSignal } = {}): Promise<Readable> {
  if (namesOrIds.length === 0) throw new Fault('invalidArgument', 'no image was named: expected at least one')
  const chosen = new Map<Digest, Chosen>()
  for (const text of namesOrIds) {
    const known = findAsked(store, text)
    const before = chosen.get(known.record.id)
    const names = options.names ?? [...(before?.names ?? []), ...askedNames(store, known, text)]
    chosen.set(known.record.id, { known, names: [...new Set(names)], manifest: before?.manifest ?? (await manifestOf(store, known)) })
  }
  return Readable.from(archive(store, [...chosen.values()]), { objectMode: false, highWaterMark: 256 * 1024, ...(options.signal === undefined ? {} : { signal: options.signal }) })
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

async function manifestOf(store: ImageStore, known: KnownImage): Promise<Buffer> {
  const { manifestDigest } = known.record
  if (manifestDigest !== undefined && (await store.parts.blobs.stat(manifestDigest)) !== undefined) return await store.parts.blobs.read(manifestDigest, { maxBytes: maxManifestBytes })
  return writeManifest(known, known.record.layers, (await store.parts.blobs.stat(known.record.id))?.sizeBytes ?? 0)
}

async function* archive(store: ImageStore, images: readonly Chosen[]): AsyncGenerator<Buffer> {
  const written = new Set<string>()
  yield folder('blobs')
  yield folder('blobs/sha256')
  for (const { known, manifest } of images) {
    for (const digest of [known.record.id, ...known.record.layers.map((layer) => layer.digest)]) {
      if (!written.has(digest)) yield* blob(store, digest)
      written.add(digest)
    }
    const manifestDigest = digestOf(manifest)
    if (!written.has(manifestDigest)) yield* file(blobPath(manifestDigest), manifest)
    written.add(manifestDigest)
  }
  yield* file('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: images.flatMap(indexEntries) })))
  yield* file('manifest.json', Buffer.from(JSON.stringify(images.map(dockerEntry))))
  yield* file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
  yield* file('repositories', Buffer.from(JSON.stringify(repositories(images))))
  yield tarEnd
}

function indexEntries({ names, manifest }: Chosen): object[] {
  const parsed: unknown = JSON.parse(manifest.toString('utf8'))
  const own = typeof parsed === 'object' && parsed !== null && 'mediaType' in parsed && typeof parsed.mediaType === 'string' ? parsed.mediaType : mediaTypes.ociManifest
  const descriptor = { mediaType: own, digest: digestOf(manifest), size: manifest.length }
  if (names.length === 0) return [writeDescriptor(descriptor)]
  return names.map((name) => writeDescriptor({ ...descriptor, annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': parseReference(name).tag ?? 'latest' } }))
}

function dockerEntry({ known, names }: Chosen): object {
  const tags = names.map((name) => familiarReference(parseReference(name)))
  return { Config: blobPath(known.record.id), RepoTags: tags.length === 0 ? null : tags, Layers: known.record.layers.map((layer) => blobPath(layer.digest)) }
}

function repositories(images: readonly Chosen[]): Readonly<Record<string, Record<string, string>>> {
  const found: Record<string, Record<string, string>> = Object.create(null)
  for (const { known, names } of images) {
    const top = known.record.layers.at(-1)
    for (const name of names) {
      const reference = parseReference(name)
      const repository = (found[familiarName(reference)] ??= Object.create(null))
      if (repository !== undefined) repository[reference.tag ?? 'latest'] = digestHex(top?.digest ?? known.record.id)
    }
  }
  return found
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`
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
