/**
 * Bytes that go into an open file and are hashed on their way, in whichever thread they arise: the kernel writes while the hash runs,
 * and the disk takes what is written while more comes, so that little is left for the sync at the end.
 */
import { createHash } from 'node:crypto'
import { fdatasync, write } from 'node:fs'
import { promisify } from 'node:util'
import { digestFromHex, type Digest } from '../digest.ts'
import { asDiskFault } from './disk-fault.ts'

/** What was written, whole. */
export interface Filled {
  /** sha256. */
  readonly digest: Digest
  readonly sizeBytes: number
}

const writeAt = promisify(write)
const syncData = promisify(fdatasync)
/** Shorter files wait for the sync of whoever makes them last. */
const syncEveryBytes = 32 * 1024 * 1024

export class HashedFile implements AsyncDisposable {
  readonly #fd: number
  readonly #hash = createHash('sha256')
  #offset = 0
  #syncedTo = 0
  #syncing: Promise<void> | undefined
  #failed: unknown
  #writing: Promise<void> | undefined

  /** The file is open for writing, and empty. */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** Nobody may change the bytes before this has resolved. */
  async append(bytes: Uint8Array): Promise<void> {
    const position = this.#offset
    this.#offset += bytes.length
    this.#writing = this.#write(bytes, position)
    this.#hash.update(bytes)
    await this.#writing
    if (this.#syncing === undefined && this.#offset - this.#syncedTo >= syncEveryBytes) this.#syncing = this.#sync()
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) done += (await writeAt(this.#fd, bytes, done, bytes.length - done, position + done)).bytesWritten
    } catch (error) {
      throw asDiskFault(error)
    }
  }

  async #sync(): Promise<void> {
    this.#syncedTo = this.#offset
    try {
      await syncData(this.#fd)
    } catch (error) {
      this.#failed = asDiskFault(error)
    }
    this.#syncing = undefined
  }

  /** When all was appended. */
  async end(): Promise<Filled> {
    await this.#syncing
    if (this.#failed !== undefined) throw this.#failed
    return { digest: digestFromHex(this.#hash.digest('hex')), sizeBytes: this.#offset }
  }

  /** The descriptor is nobody else's before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([this.#writing, this.#syncing])
  }
}
