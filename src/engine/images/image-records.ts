/**
 * What is stored about images: one record per image (`i/<hex>.json`), and their names (`image-names.ts`). The configuration
 * itself is a blob named by the image's id. Everything is also in memory; the disk is written first.
 */
import { mkdir, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { readState, sweepUnfinished, writeState } from '#base/files.ts'
import type { Logger } from '#base/log.ts'
import type { BlobReader } from '#oci/blobs/contract.ts'
import { digestHex, isDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { maxConfigBytes, parseImageConfig } from '#oci/image-config.ts'
import type { ImageConfig } from '#oci/image-config.ts'
import { ImageNames } from './image-names.ts'

/** A layer as it is stored: `digest` names the blob (compressed or not), `diffId` the tar in it. */
export interface StoredLayer {
  readonly diffId: Digest
  readonly digest: Digest
  readonly mediaType: string
  readonly sizeBytes: number
}

export interface ImageRecord {
  readonly id: Digest
  readonly layers: readonly StoredLayer[]
  /** Compressed forms made for pushes to other registries, by position in `layers`. */
  readonly compressed?: readonly StoredLayer[]
  readonly manifestDigest?: Digest
  readonly parentId?: Digest
  readonly lastTaggedAtMs?: number
}

export interface KnownImage {
  readonly record: ImageRecord
  readonly config: ImageConfig
}

const formatVersion = 1

export class ImageRecords {
  readonly names: ImageNames
  readonly #root: string
  readonly #images: Map<Digest, KnownImage>

  private constructor(root: string, images: Map<Digest, KnownImage>, names: ImageNames) {
    this.#root = root
    this.#images = images
    this.names = names
  }

  static async open(options: { readonly root: string; readonly blobs: BlobReader; readonly logger: Logger }): Promise<ImageRecords> {
    await mkdir(join(options.root, 'i'), { recursive: true, mode: 0o700 })
    for (const folder of [options.root, join(options.root, 'i')]) await sweepUnfinished(folder)
    const images = new Map<Digest, KnownImage>()
    const digestNames = new Map<string, Digest>()
    for (const file of await readdir(join(options.root, 'i'))) {
      const state = file.endsWith('.json') ? await readState(join(options.root, 'i', file), formatVersion) : undefined
      const record = parseRecord(state)
      const config = record === undefined ? undefined : await readConfig(options, record.id)
      if (record === undefined || config === undefined) continue
      images.set(record.id, { record, config })
      for (const name of digestNamesOf(state)) digestNames.set(name, record.id)
    }
    return new ImageRecords(options.root, images, await ImageNames.open(options.root, { known: (id) => images.has(id), digestNames }))
  }

  get(id: Digest): KnownImage | undefined {
    return this.#images.get(id)
  }

  all(): readonly KnownImage[] {
    return [...this.#images.values()]
  }

  /** What is written so already is not written again: a build of known steps gives a known image. */
  async put(image: KnownImage): Promise<void> {
    const before = this.#images.get(image.record.id)?.record
    if (!isDeepStrictEqual(before, image.record)) await writeState(this.#pathOf(image.record.id), { formatVersion, ...image.record })
    this.#images.set(image.record.id, image)
  }

  async delete(id: Digest): Promise<void> {
    this.#images.delete(id)
    await unlink(this.#pathOf(id))
  }

  #pathOf(id: Digest): string {
    return join(this.#root, 'i', `${digestHex(id)}.json`)
  }
}

async function readConfig(options: { readonly blobs: BlobReader; readonly logger: Logger }, id: Digest): Promise<ImageConfig | undefined> {
  try {
    return parseImageConfig(await options.blobs.read(id, { maxBytes: maxConfigBytes }))
  } catch (error) {
    options.logger.warn({ image: id, error }, 'an image is dropped: its configuration cannot be read')
    return undefined
  }
}

function parseRecord(state: Readonly<Record<string, unknown>> | undefined): ImageRecord | undefined {
  if (state === undefined || typeof state['id'] !== 'string' || !isDigest(state['id'])) return undefined
  const layers = parseLayers(state['layers'])
  const compressed = parseLayers(state['compressed'])
  const { manifestDigest, parentId, lastTaggedAtMs } = state
  if (layers === undefined) return undefined
  return {
    id: state['id'],
    layers,
    ...(compressed === undefined ? {} : { compressed }),
    ...(typeof manifestDigest === 'string' && isDigest(manifestDigest) ? { manifestDigest } : {}),
    ...(typeof parentId === 'string' && isDigest(parentId) ? { parentId } : {}),
    ...(typeof lastTaggedAtMs === 'number' ? { lastTaggedAtMs } : {}),
  }
}

/** Where the first version of `names.json` kept them. */
function digestNamesOf(state: Readonly<Record<string, unknown>> | undefined): readonly string[] {
  const names = state?.['repoDigests']
  return Array.isArray(names) ? names.filter((name): name is string => typeof name === 'string') : []
}

function parseLayers(value: unknown): readonly StoredLayer[] | undefined {
  if (!Array.isArray(value)) return undefined
  const layers = value.map(parseLayer)
  return layers.every((layer) => layer !== undefined) ? layers : undefined
}

function parseLayer(value: unknown): StoredLayer | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const diffId = 'diffId' in value ? value.diffId : undefined
  const digest = 'digest' in value ? value.digest : undefined
  const mediaType = 'mediaType' in value ? value.mediaType : undefined
  const sizeBytes = 'sizeBytes' in value ? value.sizeBytes : undefined
  if (typeof diffId !== 'string' || !isDigest(diffId) || typeof digest !== 'string' || !isDigest(digest)) return undefined
  if (typeof mediaType !== 'string' || typeof sizeBytes !== 'number') return undefined
  return { diffId, digest, mediaType, sizeBytes }
}
