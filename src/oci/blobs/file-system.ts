/**
 * Blobs as files: `<root>/blobs/<algorithm>/<hex>`, ingests as `<root>/ingests/<id>`. A blob is an ingest that was
 * synced, renamed and whose folder was synced: whole or absent, whatever the instant of a crash.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { mkdir, open, opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { systemClock } from '#base/clock.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Digest, DigestAlgorithm } from '../digest.ts'
import { digestAlgorithm, isDigest } from '../digest.ts'
import { condemnedSuffix, isAbsence, renew, unlessAside, unlinkIf, writtenAtMs } from './condemned.ts'
import type { BlobStat, Blobs, Ingest } from './contract.ts'
import { asDiskFault } from './disk-fault.ts'
import { emptyStream, FileIngest, hashFile, unknownIngest } from './file-ingest.ts'
import { WriteBack } from './write-back.ts'

const ingestIdShape = /^[A-Za-z0-9_-]{1,128}$/
const algorithms: readonly DigestAlgorithm[] = ['sha256', 'sha512']
/** Hashes remembered of ingests that were released. */
const maxReleased = 256

/** Opens (and makes, where needed) a blob store below `root`. Several processes may have it open. */
export async function openFileBlobs(root: string, clock: Clock = systemClock): Promise<Blobs> {
  const blobFolder = join(root, 'blobs')
  const ingestFolder = join(root, 'ingests')
  for (const folder of [...algorithms.map((algorithm) => join(blobFolder, algorithm)), ingestFolder]) await mkdir(folder, { recursive: true, mode: 0o700 })
  return new FileBlobs(blobFolder, ingestFolder, clock)
}

class FileBlobs implements Blobs {
  readonly #blobFolder: string
  readonly #ingestFolder: string
  readonly #clock: Clock
  readonly #held = new Set<string>()
  readonly #writeBack = new WriteBack()
  /** Where the hashes of released ingests stand, so that who takes one up again need not read it. */
  readonly #released = new Map<string, { readonly hash: Hash; readonly length: number }>()

  constructor(blobFolder: string, ingestFolder: string, clock: Clock) {
    this.#blobFolder = blobFolder
    this.#ingestFolder = ingestFolder
    this.#clock = clock
  }

  path(digest: Digest): string {
    const algorithm = digestAlgorithm(digest)
    return join(this.#blobFolder, algorithm, digest.slice(algorithm.length + 1))
  }

  async stat(digest: Digest): Promise<BlobStat | undefined> {
    return await unlessAside(this.path(digest), () => this.#look(digest))
  }

  async #look(digest: Digest): Promise<BlobStat | undefined> {
    try {
      const found = await stat(this.path(digest), { bigint: true })
      return { digest, sizeBytes: Number(found.size), committedAtMs: writtenAtMs(found) }
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  }

  async keep(digest: Digest): Promise<boolean> {
    return await renew(this.path(digest), this.#clock.nowMs())
  }

  async open(digest: Digest, range: { readonly start?: number; readonly end?: number } = {}): Promise<Readable> {
    const handle = await this.#openFile(digest)
    try {
      const { size } = await handle.stat()
      const start = range.start ?? 0
      const end = range.end ?? size
      if (start < 0 || start > end || end > size) throw new Fault('rangeNotSatisfiable', `blob ${digest}: bytes ${start} to ${end} are not inside its ${size} bytes`)
      if (start === end) {
        await handle.close()
        return emptyStream()
      }
      return handle.createReadStream({ start, end: end - 1, highWaterMark: 256 * 1024 })
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  async read(digest: Digest, options: { readonly maxBytes: number }): Promise<Buffer> {
    await using handle = await this.#openFile(digest)
    const { size } = await handle.stat()
    if (size > options.maxBytes) throw new Fault('tooLarge', `blob ${digest} holds ${size} bytes, at most ${options.maxBytes} are read here`)
    return await handle.readFile()
  }

  async #openFile(digest: Digest): Promise<FileHandle> {
    const path = this.path(digest)
    const handle = await unlessAside(path, async () => {
      try {
        return await open(path, 'r')
      } catch (error) {
        if (isAbsence(error)) return undefined
        throw error
      }
    })
    if (handle === undefined) throw new Fault('notFound', `blob ${digest} is not here`, { details: { reason: 'BLOB_UNKNOWN' } })
    return handle
  }

  async *list(): AsyncGenerator<BlobStat> {
    for (const algorithm of algorithms) {
      for await (const entry of await opendir(join(this.#blobFolder, algorithm))) {
        // What a remover that was killed has put aside is a blob again.
        const name = `${algorithm}:${entry.name.endsWith(condemnedSuffix) ? entry.name.slice(0, -condemnedSuffix.length) : entry.name}`
        if (!isDigest(name)) continue
        const found = await this.stat(name)
        if (found !== undefined) yield found
      }
    }
  }

  async remove(digest: Digest, options: { readonly committedBeforeMs?: number } = {}): Promise<number | undefined> {
    let sizeBytes = 0
    const gone = await unlinkIf(this.path(digest), (found) => {
      sizeBytes = Number(found.size)
      return options.committedBeforeMs === undefined || writtenAtMs(found) < options.committedBeforeMs
    })
    return gone ? sizeBytes : undefined
  }

  async begin(options: { readonly id?: string } = {}): Promise<Ingest> {
    const id = options.id ?? randomUUID()
    const path = this.#ingestPath(id)
    try {
      const handle = await open(path, 'wx', 0o600)
      return this.#hold(id, handle, createHash('sha256'), 0)
    } catch (error) {
      throw systemErrorCode(error) === 'EEXIST' ? new Fault('alreadyExists', `ingest '${id}' exists already`) : asDiskFault(error)
    }
  }

  async resume(id: string): Promise<Ingest> {
    const path = this.#ingestPath(id)
    if (this.#held.has(id)) throw new Fault('conflict', `ingest '${id}' is being written by somebody else`)
    this.#held.add(id)
    try {
      const handle = await open(path, 'r+')
      const { size } = await handle.stat()
      const known = this.#released.get(id)
      const { hash, length } = known?.length === size ? known : await hashFile(path, 'sha256')
      this.#released.delete(id)
      return this.#hold(id, handle, hash, length)
    } catch (error) {
      this.#held.delete(id)
      if (systemErrorCode(error) === 'ENOENT') throw unknownIngest(id)
      throw error
    }
  }

  async *abandoned(): AsyncGenerator<{ readonly id: string; readonly sizeBytes: number; readonly touchedAtMs: number }> {
    for await (const entry of await opendir(this.#ingestFolder)) {
      if (this.#held.has(entry.name)) continue
      try {
        const found = await stat(join(this.#ingestFolder, entry.name))
        yield { id: entry.name, sizeBytes: found.size, touchedAtMs: found.mtimeMs }
      } catch (error) {
        if (systemErrorCode(error) !== 'ENOENT') throw error
      }
    }
  }

  #ingestPath(id: string): string {
    if (!ingestIdShape.test(id)) throw new Fault('notFound', `'${id}' is no ingest id: expected 1 to 128 letters, digits, '-' or '_'`, { details: { reason: 'BLOB_UPLOAD_UNKNOWN' } })
    return join(this.#ingestFolder, id)
  }

  #hold(id: string, handle: FileHandle, hash: Hash, offset: number): Ingest {
    this.#held.add(id)
    return new FileIngest({
      id, handle, hash, offset,
      path: join(this.#ingestFolder, id),
      blobPath: (digest) => this.path(digest),
      clock: this.#clock,
      writeBack: this.#writeBack,
      letGo: (released) => {
        this.#held.delete(id)
        if (released !== undefined) this.#remember(id, released)
      },
    })
  }

  #remember(id: string, released: { readonly hash: Hash; readonly length: number }): void {
    this.#released.set(id, released)
    const [oldest] = this.#released.keys()
    if (this.#released.size > maxReleased && oldest !== undefined) this.#released.delete(oldest)
  }
}
