/**
 * Cuts a stream of bytes into chunks and hands them on one after another: while one is being stored the next is gathered, so that at
 * most two are in memory.
 */
import type { Hash } from 'node:crypto'

/** Of this size chunks are stored. */
export const chunkBytes = 8 * 1024 * 1024

/** Stores a chunk, whose memory is used again afterwards; `upTo` is the hash of everything up to its end, where there is one. */
export type StoreChunk = (bytes: Buffer, upTo: Hash | undefined) => Promise<void>

export class Chunker {
  readonly #store: StoreChunk
  readonly #hash: Hash | undefined
  #pieces: Uint8Array[] = []
  /** Chunks that have been stored, for the next ones: two of them serve a whole upload. */
  readonly #spare: Buffer[] = []
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
      this.#pieces.push(piece)
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
    const whole = this.#gatheredBytes === chunkBytes ? (this.#spare.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)) : undefined
    const chunk = whole === undefined ? Buffer.concat(this.#pieces, this.#gatheredBytes) : joined(this.#pieces, whole)
    const upTo = this.#hash?.copy()
    this.#pieces = []
    this.#gatheredBytes = 0
    await this.#storing
    this.#storing = this.#store(chunk, upTo).then(() => {
      if (whole !== undefined) this.#spare.push(whole)
    })
    // It is awaited with the next chunk; a failure until then is not unhandled.
    this.#storing.catch((error: unknown) => error)
  }
}

function joined(pieces: readonly Uint8Array[], into: Buffer): Buffer {
  let at = 0
  for (const piece of pieces) {
    into.set(piece, at)
    at += piece.length
  }
  return into
}
