/**
 * An ingest of the file-system driver: one file, written in few large steps. The hash runs along with the bytes in bounded steps; one
 * taken up after a crash is hashed again from its file.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { createReadStream, fsync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { present } from '#base/assert.ts'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Digest, DigestAlgorithm } from '../digest.ts'
import { digestAlgorithm, digestFromHex } from '../digest.ts'
import { isAbsence, renew, writtenAtMs } from './condemned.ts'
import type { BlobStat, Ingest, WriteOptions } from './contract.ts'
import { asDiskFault } from './disk-fault.ts'
import type { Filled } from './hashed-file.ts'
import { pump } from './pump.ts'
import type { WriteBack } from './write-back.ts'

/** Hashed at a time, so that the main thread is never held for long. */
const hashStepBytes = 1024 * 1024
/** Unsynced bytes from which on a file is brought to the disk while it grows. */
const writeBackBytes = 16 * 1024 * 1024

/** Of what is here already. */
const throwAwayAfterMs = 1000

export interface IngestParts {
  readonly id: string
  readonly path: string
  readonly handle: FileHandle
  readonly hash: Hash
  readonly offset: number
  readonly blobPath: (digest: Digest) => string
  readonly clock: Clock
  readonly writeBack: WriteBack
  readonly letGo: (released?: { readonly hash: Hash; readonly length: number }) => void
}

export class FileIngest implements Ingest {
  readonly #parts: IngestParts
  #hash: Hash
  #offset: number
  #writing = false
  /** Of bytes that never passed here. */
  #filled: Digest | undefined
  /** Bytes that were there when the last write-back began. */
  #broughtBytes = 0
  #bringing: Promise<void> = Promise.resolve()
  /** True for good when one failed: the kernel tells of it once. */
  #isBringing = false
  #state: 'open' | 'committed' | 'aborted' | 'released' = 'open'

  constructor(parts: IngestParts) {
    this.#parts = parts
    this.#hash = parts.hash
    this.#offset = parts.offset
  }

  get id(): string {
    return this.#parts.id
  }

  get path(): string {
    return this.#parts.path
  }

  get offset(): number {
    return this.#offset
  }

  async write(source: AsyncIterable<Uint8Array>, options: WriteOptions = {}): Promise<number> {
    this.#beginWriting()
    try {
      await pump(source, { ...(options.signal === undefined ? {} : { signal: options.signal }), take: (pieces) => this.#take(pieces, options) })
      return this.#offset
    } finally {
      this.#writing = false
    }
  }

  async fill(writer: (fd: number) => Promise<Filled>): Promise<void> {
    this.#beginWriting()
    try {
      if (this.#offset > 0) throw new Fault('conflict', `ingest '${this.id}' holds bytes already`)
      const { digest, sizeBytes } = await writer(this.#parts.handle.fd)
      this.#filled = digest
      this.#offset = sizeBytes
    } catch (error) {
      await this.#parts.handle.truncate(this.#offset)
      throw error
    } finally {
      this.#writing = false
    }
  }

  #beginWriting(): void {
    this.#mustBeOpen()
    if (this.#writing) throw new Fault('conflict', `ingest '${this.id}' is being written already`)
    if (this.#filled !== undefined) throw new Fault('conflict', `ingest '${this.id}' was filled in one go`)
    this.#writing = true
  }

  async #take(pieces: readonly Uint8Array[], { maxBytes, onGrown, isGiven = false }: WriteOptions): Promise<void> {
    const fitting = maxBytes === undefined ? pieces : fittingPieces(pieces, maxBytes - this.#offset)
    for (const step of stepsOf(fitting)) {
      await this.#append(step)
      onGrown?.(this.#offset)
    }
    if (isGiven) for (const piece of pieces) free(piece)
    if (fitting.length === pieces.length) return
    throw new Fault('tooLarge', `ingest '${this.id}' would grow beyond the ${maxBytes} bytes allowed`, { details: { reason: 'SIZE_INVALID' } })
  }

  async #append(step: readonly Uint8Array[]): Promise<void> {
    const { handle, path } = this.#parts
    // The hash runs while the kernel writes.
    const writing = writeFully(handle, step, this.#offset)
    for (const piece of step) this.#hash.update(piece)
    try {
      await writing
    } catch (error) {
      await handle.truncate(this.#offset)
      this.#hash = (await hashFile(path, 'sha256')).hash
      throw asDiskFault(error)
    }
    this.#offset += bytesOf(step)
    this.#writeBack()
  }

  /** What fails here is told by the commit. */
  #writeBack(): void {
    if (this.#isBringing || this.#offset - this.#broughtBytes < writeBackBytes) return
    const bringing = this.#parts.writeBack.begin(this.#parts.handle)
    if (bringing === undefined) return
    this.#broughtBytes = this.#offset
    this.#isBringing = true
    this.#bringing = bringing.then(() => void (this.#isBringing = false))
    this.#bringing.catch((error: unknown) => error)
  }

  content(): Readable {
    this.#mustBeOpen()
    return this.#offset === 0 ? emptyStream() : createReadStream(this.#parts.path, { end: this.#offset - 1, highWaterMark: 256 * 1024 })
  }

  async commit(options: { readonly expect?: Digest; readonly algorithm?: DigestAlgorithm } = {}): Promise<BlobStat> {
    this.#mustBeOpen()
    if (this.#writing) throw new Fault('conflict', `ingest '${this.id}' is still being written`)
    const algorithm = options.expect === undefined ? (options.algorithm ?? 'sha256') : digestAlgorithm(options.expect)
    const digest = await this.#digest(algorithm)
    if (options.expect !== undefined && options.expect !== digest) {
      throw new Fault('invalidArgument', `the ${this.#offset} bytes received have the digest ${digest}, not ${options.expect} as promised`, { details: { reason: 'DIGEST_INVALID' } })
    }
    const target = this.#parts.blobPath(digest)
    if (await renew(target, this.#parts.clock.nowMs())) await this.#throwAway()
    else {
      await this.#sync()
      await this.#parts.handle.chmod(0o400)
      await rename(this.#parts.path, target).catch((error: unknown) => Promise.reject(isAbsence(error) ? unknownIngest(this.id) : error))
      await syncFolder(join(target, '..'))
      await this.#finish('committed')
    }
    const found = await stat(target, { bigint: true })
    return { digest, sizeBytes: Number(found.size), committedAtMs: writtenAtMs(found) }
  }

  async #sync(): Promise<void> {
    try {
      await this.#bringing
      await this.#parts.handle.sync()
    } catch (error) {
      throw asDiskFault(error)
    }
  }

  async #digest(algorithm: DigestAlgorithm): Promise<Digest> {
    if (algorithm === 'sha256') return this.#filled ?? digestFromHex(this.#hash.copy().digest('hex'))
    const { hash } = await hashFile(this.#parts.path, algorithm)
    return digestFromHex(hash.digest('hex'), algorithm)
  }

  async abort(): Promise<void> {
    if (this.#state === 'open') await this.#finish('aborted')
  }

  /**
   * The file goes a little later: giving many synced blocks back holds up every sync on disks that are told of each (0.4 s for 360 MB), and
   * whoever commits has more to write. Where it does not come to that, an abandoned ingest is left, as after a crash.
   */
  async #throwAway(): Promise<void> {
    this.#state = 'aborted'
    await this.#parts.handle.close()
    const { path, clock, letGo } = this.#parts
    clock.after(throwAwayAfterMs, () => void rm(path, { force: true }).then(() => letGo(), () => letGo()), { background: true })
  }

  async release(): Promise<void> {
    if (this.#state === 'open') await this.#finish('released')
  }

  async #finish(state: 'committed' | 'aborted' | 'released'): Promise<void> {
    this.#state = state
    await this.#parts.handle.close()
    if (state === 'aborted') await rm(this.#parts.path, { force: true })
    this.#parts.letGo(state === 'released' && this.#filled === undefined ? { hash: this.#hash, length: this.#offset } : undefined)
  }

  #mustBeOpen(): void {
    if (this.#state !== 'open') throw new Fault('conflict', `ingest '${this.id}' is ${this.#state}`)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.abort()
  }
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0)
}

/** The first of the pieces, as many as fit into `room` bytes. */
function fittingPieces(pieces: readonly Uint8Array[], room: number): readonly Uint8Array[] {
  let left = room
  const first = pieces.findIndex((piece) => (left -= piece.length) < 0)
  return first < 0 ? pieces : pieces.slice(0, first)
}

/** Together where they are small, in parts where one is large. */
function* stepsOf(pieces: readonly Uint8Array[]): Generator<readonly Uint8Array[]> {
  if (bytesOf(pieces) <= hashStepBytes) return yield pieces
  for (const piece of pieces) for (let at = 0; at < piece.length; at += hashStepBytes) yield [piece.subarray(at, at + hashStepBytes)]
}

/** Pieces that share their memory with others are left to the collector. */
function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}

async function writeFully(handle: FileHandle, pieces: readonly Uint8Array[], position: number): Promise<void> {
  let left = pieces
  for (let at = position; bytesOf(left) > 0; ) {
    const { bytesWritten } = await handle.writev(left, at)
    at += bytesWritten
    left = without(left, bytesWritten)
  }
}

function without(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skip = bytes
  return pieces.flatMap((piece) => {
    const from = Math.min(skip, piece.length)
    skip -= from
    return from === piece.length ? [] : [piece.subarray(from)]
  })
}

export function unknownIngest(id: string): Fault {
  return new Fault('notFound', `there is no ingest '${id}': it was committed, aborted, or never begun`, { details: { reason: 'BLOB_UPLOAD_UNKNOWN' } })
}

export async function hashFile(path: string, algorithm: DigestAlgorithm): Promise<{ hash: Hash; length: number }> {
  const hash = createHash(algorithm)
  let length = 0
  for await (const chunk of createReadStream(path, { highWaterMark: hashStepBytes })) {
    const bytes: Buffer = chunk
    hash.update(bytes)
    length += bytes.length
  }
  return { hash, length }
}

const fsyncDescriptor = promisify(fsync)

async function syncFolder(path: string): Promise<void> {
  await using handle = await open(path, 'r')
  await fsyncDescriptor(present(handle.fd, 'folder descriptor'))
}

export function emptyStream(): Readable {
  return new Readable({
    read() {
      this.push(null)
    },
  })
}
