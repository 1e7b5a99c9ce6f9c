/**
 * Blob uploads between requests, kept in storage alone: any registry over the same storage goes on where another ended. An
 * upload is a row of segments, each claimed by the offset at which it starts; of two requests that write at the same offset, at
 * whichever registries, one is refused.
 *
 *     <repository>/_uploads/<id>/begun     the digest's algorithm, where it was said
 *     <repository>/_uploads/<id>/<start>   a segment: its id and size
 */
import { uuid4 } from '#base/random.ts'
import type { Random } from '#base/random.ts'
import { Fault, isFault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import { Gate, KeyedSerial } from '#base/task.ts'
import type { BlobStat } from '#oci/blobs/contract.ts'
import type { Digest, DigestAlgorithm } from '#oci/digest.ts'
import { asObject, countAt, optionalString, stringAt } from '#oci/json.ts'
import { folderOf } from './repositories.ts'
import type { RegistryStorage, Segment, TakeInOptions } from './storage/contract.ts'

/** Starts are written with so many digits that they sort as numbers do. */
const startDigits = 16
/** Segments remembered, of all uploads: a gigabyte in chunks of a megabyte fits four times. */
const maxSeen = 4096
/** Records of one upload read at a time. */
const readsAtOnce = 16

export interface UploadsParts {
  readonly storage: RegistryStorage
  readonly random: Random
}

/** One upload as a request addresses it. */
export interface UploadKey {
  readonly repository: string
  readonly id: string
}

/** Bytes that a request brings. */
export interface Chunk {
  readonly source: AsyncIterable<Uint8Array>
  /** Where the client says it starts: anything but the end of the upload is `rangeNotSatisfiable`, with `details.offset`. */
  readonly start?: number
  readonly signal?: AbortSignal
  /** At most so many bytes more. */
  readonly maxBytes?: number
  /** Nobody else needs the source's pieces. */
  readonly isGiven?: boolean
}

interface Upload {
  readonly algorithm: DigestAlgorithm
  readonly segments: readonly Segment[]
  readonly offset: number
}

export class Uploads {
  readonly #parts: UploadsParts
  readonly #serial = new KeyedSerial<string>()
  /** Segments by upload and start, as far as we have seen them: what is claimed does not change. */
  readonly #seen = new Map<string, Segment>()

  constructor(parts: UploadsParts) {
    this.#parts = parts
  }

  async begin(repository: string, algorithm: DigestAlgorithm = 'sha256'): Promise<string> {
    const id = uuid4(this.#parts.random)
    await this.#parts.storage.records.write(`${folder({ repository, id })}/begun`, JSON.stringify({ algorithm }), { durable: false })
    return id
  }

  /** Bytes that have arrived. `notFound` for an unknown upload, here and below. */
  async offset(key: UploadKey): Promise<number> {
    return (await this.#read(key)).offset
  }

  /** Adds a chunk and answers the new offset. When its source fails, what arrived counts. */
  async append(key: UploadKey, chunk: Chunk): Promise<number> {
    return await this.#serial.run(key.id, async () => {
      const upload = await this.#read(key)
      mustStartAt(chunk, upload.offset)
      return await this.#takeIn(key, upload, chunk)
    })
  }

  async #takeIn(key: UploadKey, upload: Upload, chunk: Chunk): Promise<number> {
    const { content, records } = this.#parts.storage
    let { offset } = upload
    await content.takeIn(chunk.source, {
      ...options(upload, chunk),
      claim: async (segment) => {
        const path = `${folder(key)}/${String(offset).padStart(startDigits, '0')}`
        if (!(await records.create(path, JSON.stringify(segment), { durable: false }))) throw outOfOrder(`another request has written at ${offset}`, (await this.#read(key)).offset)
        this.#see(`${key.id}/${offset}`, segment)
        offset += segment.sizeBytes
      },
    })
    return offset
  }

  /**
   * Ends an upload: what `chunk` brings is its last part, and the whole becomes a blob, which `link` makes visible before the upload is
   * forgotten. With another digest than `expect` nothing is kept (`DIGEST_INVALID`).
   */
  async finish(key: UploadKey, chunk: Chunk | undefined, wish: { readonly expect: Digest; readonly link: (blob: BlobStat) => Promise<void> }): Promise<void> {
    await this.#serial.run(key.id, async () => {
      const upload = await this.#read(key)
      if (chunk !== undefined) mustStartAt(chunk, upload.offset)
      const last = await this.#last(upload, chunk)
      try {
        await wish.link(await this.#parts.storage.content.assemble([...upload.segments, ...last], wish))
      } catch (error) {
        for (const segment of last) await this.#parts.storage.content.discard(segment)
        if (isFault(error, 'invalidArgument')) await this.#discard(key, upload)
        throw error
      }
      await this.#forget(key)
    })
  }

  /** The last chunk's segments, which no other request needs to know of. */
  async #last(upload: Upload, chunk: Chunk | undefined): Promise<readonly Segment[]> {
    const taken: Segment[] = []
    if (chunk === undefined) return taken
    const { content } = this.#parts.storage
    try {
      await content.takeIn(chunk.source, { ...options(upload, chunk), claim: async (segment) => void taken.push(segment) })
      return taken
    } catch (error) {
      for (const segment of taken) await content.discard(segment)
      throw error
    }
  }

  async cancel(key: UploadKey): Promise<void> {
    await this.#serial.run(key.id, async () => this.#discard(key, await this.#read(key)))
  }

  async #discard(key: UploadKey, upload: Upload): Promise<void> {
    // The records first: who still finds a segment's record must find its bytes.
    await this.#forget(key)
    for (const segment of upload.segments) await this.#parts.storage.content.discard(segment)
  }

  async #forget(key: UploadKey): Promise<void> {
    const { records } = this.#parts.storage
    const names: string[] = []
    for await (const { name } of records.list(folder(key))) names.push(name)
    // `begun` is the greatest name, and the upload is there as long as it is: it goes first.
    for (const name of names.toReversed()) await records.remove(`${folder(key)}/${name}`)
  }

  async #read(key: UploadKey): Promise<Upload> {
    const { records } = this.#parts.storage
    const begun = isUploadId(key.id) ? await records.read(`${folder(key)}/begun`) : undefined
    if (begun === undefined) throw unknownUpload(key.id)
    const starts: string[] = []
    for await (const { name } of records.list(folder(key))) if (name.length === startDigits) starts.push(name)
    const gate = new Gate(readsAtOnce)
    const read = await Promise.all(starts.map((start) => gate.run(() => this.#segment(key, start))))
    const segments: Segment[] = []
    let offset = 0
    for (const [index, segment] of read.entries()) {
      // What stands after a gap was claimed by a request that did not see what we see: it does not count.
      if (segment === undefined || Number(starts[index]) !== offset) break
      segments.push(segment)
      offset += segment.sizeBytes
    }
    const algorithm = optionalString(asObject(parseJson(begun, 'upload'), 'upload'), 'algorithm')
    return { algorithm: algorithm === 'sha512' ? algorithm : 'sha256', segments, offset }
  }

  async #segment(key: UploadKey, start: string): Promise<Segment | undefined> {
    const name = `${key.id}/${Number(start)}`
    const seen = this.#seen.get(name)
    if (seen !== undefined) return seen
    const bytes = await this.#parts.storage.records.read(`${folder(key)}/${start}`)
    if (bytes === undefined) return undefined
    const segment = parseSegment(bytes)
    this.#see(name, segment)
    return segment
  }

  #see(name: string, segment: Segment): void {
    this.#seen.set(name, segment)
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > maxSeen && oldest !== undefined) this.#seen.delete(oldest)
  }

  // ---- for the collector ----

  /** Uploads of a repository that nobody has touched since `touchedBeforeMs` are given up; answers the segments of the others. */
  async sweep(repository: string, touchedBeforeMs: number): Promise<readonly Segment[]> {
    const { records } = this.#parts.storage
    const used: Segment[] = []
    const ids: { readonly id: string; readonly isFolder: boolean }[] = []
    for await (const { name, isFolder } of records.list(`${folderOf(repository)}/_uploads`)) ids.push({ id: name, isFolder })
    for (const { id, isFolder } of ids) {
      const key = { repository, id }
      // A version before this one marked an upload with a record instead of a folder.
      if (!isFolder) await records.remove(folder(key))
      else used.push(...(await this.#sweepOne(key, touchedBeforeMs)))
    }
    return used
  }

  async #sweepOne(key: UploadKey, touchedBeforeMs: number): Promise<readonly Segment[]> {
    const { records } = this.#parts.storage
    let touchedAtMs = 0
    for await (const entry of records.list(folder(key))) touchedAtMs = Math.max(touchedAtMs, (await entry.stat())?.writtenAtMs ?? 0)
    try {
      const upload = await this.#read(key)
      if (touchedAtMs >= touchedBeforeMs) return upload.segments
      await this.#discard(key, upload)
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      // It has ended meanwhile, or a crash has left part of its records.
      if (touchedAtMs < touchedBeforeMs) await this.#forget(key)
    }
    return []
  }
}

function folder(key: UploadKey): string {
  return `${folderOf(key.repository)}/_uploads/${key.id}`
}

function isUploadId(id: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(id)
}

function options(upload: Upload, chunk: Chunk): Omit<TakeInOptions, 'claim'> {
  const after = upload.segments.at(-1)
  return {
    algorithm: upload.algorithm,
    ...(after === undefined ? {} : { after }),
    ...(chunk.signal === undefined ? {} : { signal: chunk.signal }),
    ...(chunk.maxBytes === undefined ? {} : { maxBytes: chunk.maxBytes }),
    ...(chunk.isGiven === undefined ? {} : { isGiven: chunk.isGiven }),
  }
}

function parseSegment(bytes: Buffer): Segment {
  const node = asObject(parseJson(bytes, 'segment of an upload'), 'segment')
  return { id: stringAt(node, 'id'), sizeBytes: countAt(node, 'sizeBytes') }
}

function mustStartAt(chunk: Chunk, offset: number): void {
  if (chunk.start !== undefined && chunk.start !== offset) throw outOfOrder(`the chunk starts at ${chunk.start}, but ${offset} bytes are here`, offset)
}

function outOfOrder(message: string, offset: number): Fault {
  return new Fault('rangeNotSatisfiable', message, { details: { offset } })
}

function unknownUpload(id: string): Fault {
  return new Fault('notFound', `there is no upload '${id.slice(0, 200)}' in this repository: begin one with POST`, { details: { reason: 'BLOB_UPLOAD_UNKNOWN' } })
}
