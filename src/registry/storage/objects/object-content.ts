/**
 * Blobs in an object storage. Bytes are taken in as chunks, objects of at most 8 MiB; a blob is a small object that names its chunks
 * in order. So an upload is never copied, memory stays flat however large a blob is, and it becomes visible by one write.
 *
 *     blobs/<algorithm>/<hex>   {"formatVersion": 1, "token": …, "chunks": [{"id", "sizeBytes"}]}; the token changes with every write
 *     chunks/<id>               bytes
 *
 * Chunks are only ever deleted by who has claimed them and found them of no use, and by `sweep`, when they are old and neither an
 * upload nor a blob names them: a blob that is removed leaves its chunks to the next sweep, and whoever reads it may finish.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import { uuid4 } from '#base/random.ts'
import { Gate } from '#base/task.ts'
import type { BlobStat } from '#oci/blobs/contract.ts'
import { pump } from '#oci/blobs/pump.ts'
import type { Digest, DigestAlgorithm } from '#oci/digest.ts'
import { digestAlgorithm, digestFromHex, isDigest } from '#oci/digest.ts'
import { asObject, countAt, optionalList, stringAt } from '#oci/json.ts'
import type { Content, Segment, TakeInOptions } from '../contract.ts'
import { Chunker } from './chunker.ts'
import type { ObjectStore } from './contract.ts'
import { Hashes } from './hashes.ts'
import type { RemovalParts } from './removal.ts'
import { outlives, removeUnchanged } from './removal.ts'

const formatVersion = 1
/** Blobs whose chunks are looked up at a time. */
const readsAtOnce = 8
const maxAttempts = 20

interface Blob extends BlobStat {
  readonly etag: string
  readonly chunks: readonly Segment[]
}

export class ObjectContent implements Content {
  readonly #parts: RemovalParts
  readonly #hashes = new Hashes()

  constructor(parts: RemovalParts) {
    this.#parts = parts
  }

  get #objects(): ObjectStore {
    return this.#parts.objects
  }

  path(): undefined {
    return undefined
  }

  async stat(digest: Digest): Promise<BlobStat | undefined> {
    return await this.#find(digest)
  }

  async #find(digest: Digest): Promise<Blob | undefined> {
    const found = await this.#objects.get(keyOf(digest))
    if (found === undefined) return undefined
    const chunks = parseChunks(found.body, digest)
    return { digest, chunks, etag: found.etag, committedAtMs: found.writtenAtMs, sizeBytes: sizeOf(chunks) }
  }

  async open(digest: Digest, range: { readonly start?: number; readonly end?: number } = {}): Promise<Readable> {
    const blob = await this.#find(digest)
    if (blob === undefined) throw new Fault('notFound', `blob ${digest} is not here`, { details: { reason: 'BLOB_UNKNOWN' } })
    const start = range.start ?? 0
    const end = range.end ?? blob.sizeBytes
    if (start < 0 || start > end || end > blob.sizeBytes) throw new Fault('rangeNotSatisfiable', `blob ${digest}: bytes ${start} to ${end} are not inside its ${blob.sizeBytes} bytes`)
    return Readable.from(this.#bytes(blob.chunks, { start, end }), { objectMode: false })
  }

  async *#bytes(chunks: readonly Segment[], range: { readonly start: number; readonly end: number }): AsyncGenerator<Uint8Array> {
    let at = 0
    for (const { id, sizeBytes } of chunks) {
      const start = Math.max(0, range.start - at)
      const end = Math.min(sizeBytes, range.end - at)
      at += sizeBytes
      if (start >= end) continue
      const body = await this.#objects.open(chunkKey(id), { start, end })
      if (body === undefined) throw new Fault('notFound', `chunk ${id} is not here any more`, { details: { reason: 'BLOB_UNKNOWN' } })
      yield* body
    }
  }

  async read(digest: Digest, options: { readonly maxBytes: number }): Promise<Buffer> {
    const parts: Buffer[] = []
    let length = 0
    for await (const part of await this.open(digest)) {
      const bytes: Buffer = part
      length += bytes.length
      if (length > options.maxBytes) throw new Fault('tooLarge', `blob ${digest} holds more than the ${options.maxBytes} bytes that are read here`)
      parts.push(bytes)
    }
    return Buffer.concat(parts, length)
  }

  async *list(): AsyncGenerator<Pick<BlobStat, 'digest' | 'committedAtMs'>> {
    for await (const found of this.#objects.list('blobs/')) {
      const digest = found.key.slice('blobs/'.length).replace('/', ':')
      if (!found.isPrefix && isDigest(digest)) yield { digest, committedAtMs: found.writtenAtMs }
    }
  }

  async keep(digest: Digest): Promise<boolean> {
    return (await this.#keep(digest)) !== undefined
  }

  async #keep(digest: Digest): Promise<Blob | undefined> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const blob = await this.#find(digest)
      if (blob === undefined) return undefined
      const renewed = await this.#objects.put(keyOf(digest), this.#document(blob.chunks), { etag: blob.etag })
      if (renewed && (await outlives(this.#parts, keyOf(digest)))) return blob
    }
    throw new Fault('unavailable', `blob ${digest} was written by others ${maxAttempts} times in a row`)
  }

  async remove(digest: Digest, options: { readonly committedBeforeMs: number }): Promise<number | undefined> {
    const blob = await this.#find(digest)
    if (blob === undefined || blob.committedAtMs >= options.committedBeforeMs) return undefined
    return (await removeUnchanged(this.#parts, keyOf(digest), blob.etag)) ? blob.sizeBytes : undefined
  }

  async takeIn(source: AsyncIterable<Uint8Array>, options: TakeInOptions): Promise<void> {
    const { algorithm = 'sha256' } = options
    const before = this.#hashes.after(options.after, algorithm)
    let sizeBytes = before?.sizeBytes ?? 0
    const chunker = new Chunker(async (bytes, upTo) => {
      const segment = { id: uuid4(this.#parts.random), sizeBytes: bytes.length }
      await this.#objects.put(chunkKey(segment.id), bytes)
      try {
        await options.claim(segment)
      } catch (error) {
        await this.discard(segment)
        throw error
      }
      sizeBytes += bytes.length
      if (upTo !== undefined) this.#hashes.remember(segment, { hash: upTo, algorithm, sizeBytes })
    }, before?.hash)
    try {
      await pump(source, {
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        take: async (pieces) => {
          for (const bytes of pieces) {
            if (options.maxBytes !== undefined && chunker.takenBytes + bytes.length > options.maxBytes) {
              throw new Fault('tooLarge', `more than the ${options.maxBytes} bytes allowed were sent`, { details: { reason: 'SIZE_INVALID' } })
            }
            await chunker.take(bytes)
          }
        },
      })
    } finally {
      await chunker.end()
    }
  }

  async assemble(segments: readonly Segment[], { expect }: { readonly expect: Digest }): Promise<BlobStat> {
    const digest = await this.#digest(segments, digestAlgorithm(expect))
    const sizeBytes = sizeOf(segments)
    if (digest !== expect) throw new Fault('invalidArgument', `the ${sizeBytes} bytes received have the digest ${digest}, not ${expect} as promised`, { details: { reason: 'DIGEST_INVALID' } })
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const known = await this.#keep(expect)
      if (known !== undefined) await this.#discardOthers(segments, known)
      else if (!(await this.#objects.put(keyOf(expect), this.#document(segments), { absent: true })) || !(await outlives(this.#parts, keyOf(expect)))) continue
      const stat = await this.stat(expect)
      if (stat === undefined) continue
      for (const segment of segments) this.#hashes.forget(segment)
      return stat
    }
    throw new Fault('unavailable', `blob ${expect} came and went ${maxAttempts} times in a row`)
  }

  /** Another request may have made the blob of these very segments. */
  async #discardOthers(segments: readonly Segment[], blob: Blob): Promise<void> {
    const used = new Set(blob.chunks.map(({ id }) => id))
    for (const segment of segments) if (!used.has(segment.id)) await this.discard(segment)
  }

  async #digest(segments: readonly Segment[], algorithm: DigestAlgorithm): Promise<Digest> {
    const known = this.#hashes.after(segments.at(-1), algorithm)
    if (known?.sizeBytes === sizeOf(segments)) return digestFromHex(known.hash.digest('hex'), algorithm)
    const hash: Hash = createHash(algorithm)
    let length = 0
    try {
      for await (const bytes of this.#bytes(segments, { start: 0, end: sizeOf(segments) })) {
        hash.update(bytes)
        length += bytes.length
      }
    } catch (error) {
      throw error instanceof Fault && error.code === 'notFound' ? lost(error) : error
    }
    if (length !== sizeOf(segments)) throw lost(undefined)
    return digestFromHex(hash.digest('hex'), algorithm)
  }

  async discard(segment: Segment): Promise<void> {
    this.#hashes.forget(segment)
    await this.#objects.delete(chunkKey(segment.id))
  }

  async sweep(options: { readonly writtenBeforeMs: number; readonly used: ReadonlySet<string> }): Promise<number> {
    const candidates = new Map<string, number>()
    for await (const found of this.#objects.list('chunks/')) {
      const id = found.key.slice('chunks/'.length)
      if (!found.isPrefix && found.writtenAtMs < options.writtenBeforeMs && !options.used.has(id)) candidates.set(id, found.sizeBytes)
    }
    if (candidates.size === 0) return 0
    // A blob is written before its upload is forgotten, and `used` was read before this: what is between them is in one or both.
    const gate = new Gate(readsAtOnce)
    const blobs = await Array.fromAsync(this.list())
    await Promise.all(blobs.map(({ digest }) => gate.run(async () => {
      for (const { id } of (await this.#find(digest))?.chunks ?? []) candidates.delete(id)
    })))
    await Promise.all([...candidates.keys()].map((id) => gate.run(() => this.#objects.delete(chunkKey(id)))))
    return [...candidates.values()].reduce((sum, sizeBytes) => sum + sizeBytes, 0)
  }

  #document(chunks: readonly Segment[]): Buffer {
    return Buffer.from(JSON.stringify({ formatVersion, token: uuid4(this.#parts.random), chunks: chunks.map(({ id, sizeBytes }) => ({ id, sizeBytes })) }))
  }
}

function keyOf(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`
}

function chunkKey(id: string): string {
  return `chunks/${id}`
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

function lost(cause: unknown): Fault {
  return new Fault('notFound', 'a part of the upload is not here any more', { cause, details: { reason: 'BLOB_UPLOAD_UNKNOWN' } })
}

function parseChunks(bytes: Buffer, digest: Digest): readonly Segment[] {
  const node = asObject(parseJson(bytes, `blob ${digest}`), `blob ${digest}`)
  const version = countAt(node, 'formatVersion')
  if (version > formatVersion) throw new Fault('preconditionFailed', `blob ${digest} was written by a newer Berth (formatVersion ${version}, this one knows ${formatVersion}): start that version`)
  return optionalList(node, 'chunks', (item, path) => {
    const chunk = asObject(item, path)
    return { id: stringAt(chunk, 'id'), sizeBytes: countAt(chunk, 'sizeBytes') }
  }) ?? []
}
