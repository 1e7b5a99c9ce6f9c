/** From a manifest whose blobs are here to an image of the store, and which image of a target a name shall mean. */
import { Fault } from '#base/fault.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { layerCompression } from '#oci/descriptor.ts'
import { parseDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { maxConfigBytes, parseImageConfig } from '#oci/image-config.ts'
import type { ImageManifest } from '#oci/manifest.ts'
import { hostPlatform, platformFit, platformText } from '#oci/platform.ts'
import type { Platform } from '#oci/platform.ts'
import type { ImageTarget } from '../contract/images.ts'
import type { KnownImage, StoredLayer } from './image-records.ts'
import type { ImageStore, NewImage } from './image-store.ts'

export interface Described {
  readonly config: Digest
  readonly layers: readonly Descriptor[]
  readonly names: readonly string[]
  readonly manifestDigest?: Digest
  readonly target?: ImageTarget
}

/** Refuses (`invalidArgument`) what contradicts itself. */
export async function newImage({ parts }: ImageStore, described: Described): Promise<NewImage> {
  const configBytes = await parts.blobs.read(described.config, { maxBytes: maxConfigBytes })
  const diffIds = parseImageConfig(configBytes).rootfs.diff_ids
  if (diffIds.length !== described.layers.length) {
    throw new Fault('invalidArgument', `image ${described.config}: its configuration lists ${diffIds.length} layers, its manifest ${described.layers.length}`)
  }
  const layers = described.layers.map((layer, index): StoredLayer => {
    const diffId = parseDigest(diffIds[index], 'rootfs.diff_ids')
    if (layerCompression(layer.mediaType) === 'none' && layer.digest !== diffId) throw new Fault('invalidArgument', `image ${described.config}: layer ${index} has the digest ${layer.digest}, but its configuration promises ${diffId}`)
    return { diffId, digest: layer.digest, mediaType: layer.mediaType, sizeBytes: layer.size }
  })
  const { manifestDigest, target } = described
  return { configBytes, layers, names: described.names, ...(manifestDigest === undefined ? {} : { manifestDigest }), ...(target === undefined ? {} : { target }) }
}

export interface PlatformManifest {
  readonly descriptor: Descriptor
  readonly manifest: ImageManifest
  readonly platform: Platform
}

/** The images of a target that are here whole, each with its platform: as the index says, else as its configuration does. */
export async function wholeImages(store: ImageStore, target: ImageTarget): Promise<readonly PlatformManifest[]> {
  const { blobs } = store.parts
  const whole: PlatformManifest[] = []
  for (const { descriptor, manifest } of await store.targets.imageManifests(target)) {
    const stats = await Promise.all([manifest.config, ...manifest.layers].map(({ digest }) => blobs.stat(digest)))
    if (stats.includes(undefined)) continue
    const platform = descriptor.platform ?? (await platformOf(store, manifest))
    if (platform !== undefined) whole.push({ descriptor, manifest, platform })
  }
  return whole
}

/** As the configuration says; undefined when that is not here. */
export async function platformOf({ parts }: ImageStore, { config }: ImageManifest): Promise<Platform | undefined> {
  if ((await parts.blobs.stat(config.digest)) === undefined) return undefined
  const { os, architecture, variant } = parseImageConfig(await parts.blobs.read(config.digest, { maxBytes: maxConfigBytes }))
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}

/** The one that fits best; of equals the first. */
export function bestFit<T extends { readonly platform: Platform }>(wanted: Platform, images: readonly T[]): T | undefined {
  return images
    .map((image) => ({ image, fit: platformFit(wanted, image.platform) }))
    .filter(({ fit }) => fit > 0)
    .sort((a, b) => b.fit - a.fit)[0]?.image
}

/** The one that fits a platform that was asked for; `notFound` in Docker's words. `name`: what it was asked of. */
export function requirePlatform<T extends { readonly platform: Platform }>(images: readonly T[], wanted: Platform, name: string): T {
  const image = bestFit(wanted, images)
  if (image === undefined) throw new Fault('notFound', `image with reference ${name} was found but does not provide the specified platform (${platformText(wanted)})`)
  return image
}

/** The manifest of a platform, which must be here whole; undefined where it is that of the image itself. */
export async function platformTarget(store: ImageStore, asked: { readonly known: KnownImage | undefined; readonly target: ImageTarget | undefined; readonly platform: Platform; readonly name: string }): Promise<ImageTarget | undefined> {
  const { known, target, platform, name } = asked
  const images = target === undefined ? [] : await wholeImages(store, target)
  if (images.length === 0 && known !== undefined) {
    requirePlatform([{ platform: known.config }], platform, name)
    return undefined
  }
  const { mediaType, digest, size } = requirePlatform(images, platform, name).descriptor
  return { mediaType, digest, size }
}

/**
 * The image of a target that its names mean here: that of the platform that was asked for (`notFound`); else the machine's, or the first
 * one if it has none. Undefined if no image of it is here whole.
 */
export async function imageOfTarget(store: ImageStore, target: ImageTarget, { names, platform }: { readonly names: readonly string[]; readonly platform?: Platform | undefined }): Promise<NewImage | undefined> {
  const images = await wholeImages(store, target)
  const image = platform === undefined ? (bestFit(hostPlatform, images) ?? images[0]) : requirePlatform(images, platform, names[0] ?? target.digest)
  return image && (await newImage(store, { config: image.manifest.config.digest, layers: image.manifest.layers, names, manifestDigest: image.descriptor.digest, target }))
}
