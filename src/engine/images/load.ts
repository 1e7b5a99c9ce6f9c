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
import { layerCompression, mediaTypes, readDescriptor } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { parseImageConfig } from '#oci/image-config.ts'
import { asObject, optionalList, readString, stringAt } from '#oci/json.ts'
import { archiveFault } from '#oci/layer/entry.ts'
import { decompress, recognise } from '#oci/layer/decompress.ts'
import { readTar } from '#oci/layer/reader.ts'
import type { TarItem } from '#oci/layer/reader.ts'
import { joinComponents, safeComponents } from '#oci/layer/safe-path.ts'
import { maxManifestBytes, parseManifest } from '#oci/manifest.ts'
import type { ImageManifest } from '#oci/manifest.ts'
import { hostPlatform, parsePlatform, platformFit } from '#oci/platform.ts'
import type { Platform } from '#oci/platform.ts'
import { familiarReference, parseReference } from '#oci/reference.ts'
import type { Image, TransferProgress } from '../contract/images.ts'
import { imageOfTarget, newImage, requirePlatform } from './image-of-manifest.ts'
import type { ImageStore, NewImage } from './image-store.ts'
import { isImage, isManifestType } from './targets.ts'
import { namedTag } from './image-names.ts'

export interface LoadOptions {
  /** What names shall mean; this machine's by default, and any where there is none for it. */
  readonly platform?: string
  readonly onLoaded: (image: Image, names: readonly string[]) => void
  readonly onProgress?: (progress: TransferProgress) => void
  readonly signal?: AbortSignal
}

export async function loadArchive(store: ImageStore, archive: Readable, options: LoadOptions): Promise<void> {
  using held = new DisposableStack()
  const files = await ingestFiles(store, archive, held, options.signal)
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform)
  const layout = await layoutImages(store, files, platform)
  const listed = await dockerImages(store, files)
  if (listed === undefined && layout === undefined) throw new Fault('invalidArgument', 'the archive holds neither manifest.json (docker save) nor index.json (OCI layout)')
  const images = together(layout ?? [], listed ?? [], platform ?? hostPlatform)
  if (images.length === 0) throw new Fault('invalidArgument', 'the archive holds no image')
  if (platform !== undefined) for (const { configBytes, names = [] } of images) requirePlatform([{ platform: parseImageConfig(configBytes) }], platform, shownName(names) ?? digestOf(configBytes))
  for (const image of images) {
    for (const { digest } of image.layers) options.onProgress?.({ id: digest.slice(7, 19), status: 'Loading layer' })
    const known = await store.add(image)
    options.onLoaded(await store.describe(known), (image.names ?? []).map((name) => familiarReference(parseReference(name))))
  }
}

function shownName([name]: readonly string[]): string | undefined {
  return name === undefined ? undefined : familiarReference(parseReference(name))
}

/**
 * Archives of `docker save` list the same images twice: the layout says what they came from. A name that a layout gives to several
 * images (one for each platform) goes to the one that fits best; the others are left out.
 */
function together(layout: readonly NewImage[], listed: readonly NewImage[], platform: Platform): readonly NewImage[] {
  const entries: { readonly image: NewImage; readonly id: Digest; readonly names: string[] }[] = []
  for (const image of layout) {
    // One entry for each name.
    const same = entries.find(({ image: other }) => other.target?.digest === image.target?.digest && other.manifestDigest === image.manifestDigest)
    if (same === undefined) entries.push({ image, id: digestOf(image.configBytes), names: [...(image.names ?? [])] })
    else same.names.push(...(image.names ?? []))
  }
  for (const image of listed) {
    const id = digestOf(image.configBytes)
    const names = (image.names ?? []).filter((name) => !entries.some((entry) => entry.names.includes(name)))
    const same = entries.find((entry) => entry.id === id)
    if (same === undefined) entries.push({ image, id, names })
    else same.names.push(...names)
  }
  const owners = new Map<string, { readonly id: Digest; readonly fit: number }>()
  for (const { image, id, names } of entries) {
    const fit = platformFit(platform, parseImageConfig(image.configBytes))
    for (const name of names) if (fit > (owners.get(name)?.fit ?? -1)) owners.set(name, { id, fit })
  }
  return entries.flatMap(({ image, id, names }) => {
    const own = names.filter((name) => owners.get(name)?.id === id)
    return names.length > 0 && own.length === 0 ? [] : [{ ...image, names: own }]
  })
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

/** `index.json` of an OCI layout. What is no image is left out. */
async function layoutImages(store: ImageStore, files: ArchiveFiles, platform: Platform | undefined): Promise<NewImage[] | undefined> {
  if (!files.has('index.json')) return undefined
  const index = asObject(await readJsonFile(store, files, 'index.json'), 'index.json')
  const images: NewImage[] = []
  for (const [at, value] of (optionalList(index, 'manifests', (item) => item) ?? []).entries()) {
    const descriptor = readDescriptor(value, `index.json.manifests[${at}]`)
    const image = isManifestType(descriptor.mediaType) ? await layoutImage(store, descriptor, { names: layoutNames(descriptor), platform }) : undefined
    if (image !== undefined) images.push(image)
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

/** Of an index the image that its names shall mean; undefined where there is none. */
async function layoutImage(store: ImageStore, { mediaType, digest, size }: Descriptor, { names, platform }: { readonly names: readonly string[]; readonly platform: Platform | undefined }): Promise<NewImage | undefined> {
  const target = { mediaType, digest, size }
  if ((await store.parts.blobs.stat(digest)) === undefined) throw new Fault('invalidArgument', `index.json names ${digest}, which is not in the archive`)
  const manifest = parseManifest(await store.parts.blobs.read(digest, { maxBytes: maxManifestBytes }), mediaType)
  if (manifest.kind === 'image') return isImage(manifest) ? await newImage(store, { config: manifest.config.digest, layers: manifest.layers, names, manifestDigest: digest, ...(isForRegistries(manifest) ? { target } : {}) }) : undefined
  const image = await imageOfTarget(store, target, { names, platform })
  if (image !== undefined) return image
  const [partly] = await store.targets.imageManifests(target)
  if (partly !== undefined) throw new Fault('invalidArgument', `index ${digest}: of none of its images all parts are in the archive (of ${partly.descriptor.digest}, say, some are not)`)
  return undefined
}

/** An archive's layers lie there uncompressed, often: that manifest is of the archive, and a registry gets one with compressed layers. */
function isForRegistries({ layers }: ImageManifest): boolean {
  return layers.every(({ mediaType }) => layerCompression(mediaType) !== 'none')
}
