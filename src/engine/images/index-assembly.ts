/** Indexes that are made here, of images and whatever else belongs to them (OCI image-spec `image-index.md`). */
import { Fault } from '#base/fault.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { parseDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { maxManifestBytes, parseManifest } from '#oci/manifest.ts'
import type { ImageId, ImageTarget, IndexAssembly, ManifestOptions } from '../contract/images.ts'
import { imageOfTarget } from './image-of-manifest.ts'
import { writeManifest } from './image-manifest.ts'
import { namedTag } from './image-names.ts'
import type { ImageStore } from './image-store.ts'
import { pushedForm, rememberCompressed } from './pushed-layers.ts'
import { storeBytes } from './store-bytes.ts'

export class Assembly implements IndexAssembly {
  readonly #store: ImageStore
  readonly #held = new DisposableStack()

  constructor(store: ImageStore) {
    this.#store = store
  }

  async blob(bytes: Uint8Array): Promise<{ readonly digest: Digest; readonly size: number }> {
    const digest = await storeBytes(this.#store.parts.blobs, bytes)
    this.#hold(digest)
    return { digest, size: bytes.length }
  }

  async manifest(id: ImageId, options: ManifestOptions = {}): Promise<Descriptor> {
    const { parts } = this.#store
    const known = parts.records.get(parseDigest(id, 'image id'))
    if (known === undefined) throw new Fault('notFound', `No such image: ${id}`)
    const { signal = new AbortController().signal } = options
    const layers = options.compressed === true ? await Promise.all(known.record.layers.map((layer, index) => pushedForm(this.#store, { known, layer, index }, signal))) : known.record.layers
    for (const digest of [known.record.id, ...layers.map((layer) => layer.digest)]) this.#hold(digest)
    await rememberCompressed(this.#store, known, layers)
    const config = await parts.blobs.stat(known.record.id)
    if (config === undefined) throw new Fault('dataLoss', `blob ${known.record.id} is missing: build the image again`)
    const { annotations, format = 'oci' } = options
    const stored = await this.blob(writeManifest(known, layers, { configBytes: config.sizeBytes, format, ...(annotations === undefined ? {} : { annotations }) }))
    const { architecture, os, variant } = known.config
    return { mediaType: format === 'oci' ? mediaTypes.ociManifest : mediaTypes.dockerManifest, ...stored, platform: { architecture, os, ...(variant === undefined ? {} : { variant }) } }
  }

  async finish({ manifests, annotations, names = [], format = 'oci' }: Parameters<IndexAssembly['finish']>[0]): Promise<Descriptor> {
    const mediaType = format === 'oci' ? mediaTypes.ociIndex : mediaTypes.dockerManifestList
    const index = { schemaVersion: 2, mediaType, manifests: manifests.map(writeDescriptor), ...(annotations === undefined ? {} : { annotations }) }
    const bytes = Buffer.from(JSON.stringify(index))
    if (bytes.length > maxManifestBytes) throw new Fault('tooLarge', `the index has ${bytes.length} bytes, at most ${maxManifestBytes} are allowed`)
    // What others would refuse is not written in the first place.
    parseManifest(bytes)
    const target = { mediaType, ...(await this.blob(bytes)) }
    const [absent] = await this.#store.targets.missing(target)
    if (absent !== undefined) throw new Fault('invalidArgument', `the index names ${absent.digest}, which is not here`)
    await this.name(target, names)
    return target
  }

  async name({ mediaType, digest, size }: ImageTarget, names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    const image = await imageOfTarget(this.#store, { mediaType, digest, size }, { names: names.map(namedTag) })
    if (image === undefined) throw new Fault('invalidArgument', 'the index holds no image: nothing could be run by its name')
    await this.#store.add(image)
  }

  #hold(digest: Digest): void {
    this.#held.use(this.#store.parts.leases.hold(digest))
  }

  [Symbol.dispose](): void {
    this.#held.dispose()
  }
}
