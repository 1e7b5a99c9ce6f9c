/**
 * `docker load`: archives of `docker save` (old and new form) and OCI image layouts, gzip or not, read in one pass. Every
 * file becomes a blob as it passes (its digest is checked by what refers to it); at the end the index names the images.
 * Blobs that no image took are collected. Formats: Docker image spec v1.2 (`manifest.json`), image-spec `image-layout.md`.
 */
import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { mediaTypes, readDescriptor } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { asObject, optionalList, readString, stringAt } from '#oci/json.ts'
import { archiveFault } from '#oci/layer/entry.ts'
import { decompress, recognise } from '#oci/layer/decompress.ts'
import { readTar } from '#oci/layer/reader.ts'
import type { TarItem } from '#oci/layer/reader.ts'
import { joinComponents, safeComponents } from '#oci/layer/safe-path.ts'
import { maxManifestBytes, parseManifest } from '#oci/manifest.ts'
import { hostPlatform, platformFit } from '#oci/platform.ts'
import { familiarReference, parseReference } from '#oci/reference.ts'
import type { Image, TransferProgress } from '../contract/images.ts'
import { newImage } from './image-of-manifest.ts'
import type { ImageStore, NewImage } from './image-store.ts'
import { namedTag } from './image-names.ts'

export interface LoadOptions {
  readonly onLoaded: (image: Image, names: readonly string[]) => void
  readonly onProgress?: (progress: TransferProgress) => void
  readonly signal?: AbortSignal
}

export async function loadArchive(store: ImageStore, archive: Readable, options: LoadOptions): Promise<void> {
  using held = new DisposableStack()
  const files = await ingestFiles(store, archive, held, options.signal)
  const images = (await dockerImages(store, files)) ?? (await layoutImages(store, files))
  if (images === undefined) throw new Fault('invalidArgument', 'the archive holds neither manifest.json (docker save) nor index.json (OCI layout)')
  for (const image of images) {
    for (const { digest } of image.layers) options.onProgress?.({ id: digest.slice(7, 19), status: 'Loading layer' })
    const known = await store.add(image)
    options.onLoaded(await store.describe(known), (image.names ?? []).map((name) => familiarReference(parseReference(name))))
  }
}

/** Path in the archive to the blob with its content. */
type ArchiveFiles = ReadonlyMap<string, { readonly digest: Digest; readonly sizeBytes: number }>

async function ingestFiles(store: ImageStore, archive: Readable, held: DisposableStack, signal: AbortSignal | undefined): Promise<ArchiveFiles> {
  const files = new Map<string, { readonly digest: Digest; readonly sizeBytes: number }>()
  const links: { readonly path: string; readonly target: string }[] = []
  for await (const item of readTar(decompress(archive, 'detect'))) {
    const { entry } = item
    const path = joinComponents(safeComponents(entry.path)).toString('utf8')
    if (entry.type === 'symlink') links.push({ path, target: posix.join(posix.dirname(path), entry.linkPath.toString('utf8')) })
    else if (entry.type === 'hardlink') links.push({ path, target: joinComponents(safeComponents(entry.linkPath, 'link target')).toString('utf8') })
    else if (entry.type === 'file') files.set(path, await ingestFile(store, item, held, signal))
    if (files.size > 100_000) throw archiveFault('it holds more than 100000 files: this is no image archive')
  }
  // Layers that several images share are links in archives of older Docker versions.
  for (const { path, target } of links) {
    const found = files.get(target)
    if (found !== undefined) files.set(path, found)
  }
  return files
}

async function ingestFile(store: ImageStore, item: TarItem, held: DisposableStack, signal: AbortSignal | undefined): Promise<{ readonly digest: Digest; readonly sizeBytes: number }> {
  if (item.segments !== undefined) throw archiveFault('a sparse file cannot be part of an image archive', item.entry.path)
  await using ingest = await store.parts.blobs.begin()
  await ingest.write(contentOf(item), signal === undefined ? {} : { signal })
  const blob = await ingest.commit()
  held.use(store.parts.leases.hold(blob.digest))
  return blob
}

async function* contentOf(item: TarItem): AsyncGenerator<Uint8Array> {
  for (let chunk = await item.read(); chunk !== undefined; chunk = await item.read()) yield chunk
}

function fileAt(files: ArchiveFiles, path: string, where: string): { readonly digest: Digest; readonly sizeBytes: number } {
  const found = files.get(path)
  if (found === undefined) throw new Fault('invalidArgument', `${where} names '${path.slice(0, 120)}', which is not in the archive`)
  return found
}

async function readJsonFile(store: ImageStore, files: ArchiveFiles, path: string): Promise<unknown> {
  const { digest } = fileAt(files, path, 'the archive')
  return parseJson(await store.parts.blobs.read(digest, { maxBytes: maxManifestBytes }), path)
}

/** `manifest.json`: `[{ Config, RepoTags, Layers }]` with paths in the archive. */
async function dockerImages(store: ImageStore, files: ArchiveFiles): Promise<NewImage[] | undefined> {
  if (!files.has('manifest.json')) return undefined
  const list = await readJsonFile(store, files, 'manifest.json')
  if (!Array.isArray(list)) throw new Fault('invalidArgument', 'manifest.json: expected a list')
  const images: NewImage[] = []
  for (const [index, value] of list.entries()) {
    const where = `manifest.json[${index}]`
    const node = asObject(value, where)
    const config = fileAt(files, stringAt(node, 'Config'), where)
    const layers = (optionalList(node, 'Layers', readString) ?? []).map((path) => fileAt(files, path, where))
    const names = (optionalList(node, 'RepoTags', readString) ?? []).map(namedTag)
    images.push(await newImage(store, { config: config.digest, layers: await Promise.all(layers.map((layer) => withMediaType(store, layer))), names }))
  }
  return images
}

async function withMediaType(store: ImageStore, layer: { readonly digest: Digest; readonly sizeBytes: number }): Promise<Descriptor> {
  const head: Buffer[] = []
  for await (const chunk of await store.parts.blobs.open(layer.digest, { end: Math.min(6, layer.sizeBytes) })) head.push(chunk)
  const types = { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd }
  return { mediaType: types[recognise(Buffer.concat(head))], digest: layer.digest, size: layer.sizeBytes }
}

/** `index.json` of an OCI layout. Nested indexes are followed to what this machine can run. */
async function layoutImages(store: ImageStore, files: ArchiveFiles): Promise<NewImage[] | undefined> {
  if (!files.has('index.json')) return undefined
  const index = asObject(await readJsonFile(store, files, 'index.json'), 'index.json')
  const images: NewImage[] = []
  for (const [at, value] of (optionalList(index, 'manifests', (item) => item) ?? []).entries()) {
    const descriptor = readDescriptor(value, `index.json.manifests[${at}]`)
    images.push(await layoutImage(store, descriptor, layoutNames(descriptor)))
  }
  return images
}

function layoutNames(descriptor: Descriptor): readonly string[] {
  const annotations = descriptor.annotations ?? {}
  const full = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name']
  if (full === undefined) return []
  try {
    // A bare tag (`latest`, `v1`), as some tools write it, names no repository.
    return annotations['io.containerd.image.name'] === undefined && !/[/:]/.test(full) ? [] : [namedTag(full)]
  } catch (error) {
    if (isFault(error, 'invalidArgument')) return []
    throw error
  }
}

async function layoutImage(store: ImageStore, descriptor: Descriptor, names: readonly string[], depth = 0): Promise<NewImage> {
  if (depth > 4) throw new Fault('invalidArgument', `index ${descriptor.digest} is nested too deeply`)
  const manifest = parseManifest(await store.parts.blobs.read(descriptor.digest, { maxBytes: maxManifestBytes }), descriptor.mediaType)
  if (manifest.kind === 'image') return await newImage(store, { config: manifest.config.digest, layers: manifest.layers, names, manifestDigest: descriptor.digest })
  const fitting = manifest.manifests
    .map((candidate) => ({ candidate, fit: candidate.platform === undefined ? 1 : platformFit(hostPlatform, candidate.platform) }))
    .filter(({ fit }) => fit > 0)
    .sort((a, b) => b.fit - a.fit)
  const [best] = fitting
  if (best === undefined) throw new Fault('invalidArgument', `index ${descriptor.digest} holds no image that runs on this machine`)
  return await layoutImage(store, best.candidate, names, depth + 1)
}
