/**
 * Cuts a stream of bytes into chunks and hands them on one after another: while one is being stored the next is gathered, so that at
 * most two are in memory.
 */
import type { Hash } from 'node:crypto'

/** Of this size chunks are stored. */
export const chunkBytes = 8 * 1024 * 1024

/** Stores a chunk; `upTo` is the hash of everything up to its end, where there is one. */
export type StoreChunk = (bytes: Buffer, upTo: Hash | undefined) => Promise<void>

export class Chunker {
  readonly #store: StoreChunk
  readonly #hash: Hash | undefined
  #pieces: Uint8Array[] = []
  #gatheredBytes = 0
  #storing: Promise<void> = Promise.resolve()
  #takenBytes = 0

  /** `hash` runs along with the bytes. */
  constructor(store: StoreChunk, hash: Hash | undefined) {
    this.#store = store
    this.#hash = hash
  }

  get takenBytes(): number {
    return this.#takenBytes
  }

  /** Rejects with what storing an earlier chunk has failed with. */
  async take(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + chunkBytes - this.#gatheredBytes)
      this.#hash?.update(piece)
      // The source may use its memory again.
      this.#pieces.push(Buffer.from(piece))
      this.#gatheredBytes += piece.length
      this.#takenBytes += piece.length
      at += piece.length
      if (this.#gatheredBytes === chunkBytes) await this.#cut()
    }
  }

  /** Stores what is left. */
  async end(): Promise<void> {
    if (this.#gatheredBytes > 0) await this.#cut()
    await this.#storing
  }

  async #cut(): Promise<void> {
    const chunk = Buffer.concat(this.#pieces, this.#gatheredBytes)
    const upTo = this.#hash?.copy()
    this.#pieces = []
    this.#gatheredBytes = 0
    await this.#storing
    this.#storing = this.#store(chunk, upTo)
    // It is awaited with the next chunk; a failure until then is not unhandled.
    this.#storing.catch((error: unknown) => error)
  }
}
