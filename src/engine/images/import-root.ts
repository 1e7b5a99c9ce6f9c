/** `docker import`: a root file system as a tar becomes an image of one layer. */
import { rfc3339Nano } from '#base/clock.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { decompress } from '#oci/layer/decompress.ts'
import { hostPlatform, parsePlatform } from '#oci/platform.ts'
import type { Image, ImageConfig, ImportRootOptions } from '../contract/images.ts'
import type { ImageStore } from './image-store.ts'
import { namedTag } from './image-names.ts'
import { storeAndUnpack } from './store-and-unpack.ts'

export async function importRoot(store: ImageStore, archive: AsyncIterable<Uint8Array>, options: ImportRootOptions): Promise<Image> {
  const { blobs, leases, snapshots, clock } = store.parts
  const names = options.name === undefined ? [] : [namedTag(options.name)]
  const platform = options.platform === undefined ? hostPlatform : parsePlatform(options.platform)
  await using ingest = await blobs.begin()
  const failed = new AbortController()
  const signal = options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal])
  const diffId = await storeAndUnpack({ snapshots, ingest, source: decompress(archive, 'detect'), compression: 'none', signal, failed })
  const { digest, sizeBytes } = await ingest.commit({ expect: diffId })
  using _lease = leases.hold(digest)
  const created = rfc3339Nano(clock.nowNs())
  const config: ImageConfig = {
    created,
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    os: platform.os,
    config: options.defaults ?? {},
    rootfs: { type: 'layers', diff_ids: [digest] },
    history: [{ created, comment: options.message ?? 'Imported from -' }],
  }
  const known = await store.add({
    configBytes: Buffer.from(JSON.stringify(config)),
    layers: [{ diffId: digest, digest, mediaType: mediaTypes.ociLayer, sizeBytes }],
    names,
  })
  return await store.describe(known)
}
