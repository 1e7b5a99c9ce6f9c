/** Chunks that travel to a worker in one message. */

/** Chunks shorter than this are put together: handing one over costs more than copying it. */
const smallBytes = 16 * 1024

export class Parcel {
  /** Nobody else reads what is added. */
  readonly #isOurs: boolean
  readonly #chunks: Uint8Array<ArrayBuffer>[] = []
  #small: Uint8Array[] = []
  length = 0

  constructor(isOurs: boolean) {
    this.#isOurs = isOurs
  }

  add(chunk: Uint8Array): void {
    this.length += chunk.length
    if (chunk.length < smallBytes) return void this.#small.push(chunk)
    this.#gather()
    this.#chunks.push(this.#owned(chunk))
  }

  #gather(): void {
    if (this.#small.length === 0) return
    const together = new Uint8Array(this.#small.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const chunk of this.#small) {
      together.set(chunk, at)
      at += chunk.length
    }
    this.#small = []
    this.#chunks.push(together)
  }

  /**
   * What can be handed over: the chunk itself where nobody else reads it, so that V8 forgets it at once (what waits to be collected makes it
   * collect the whole heap again and again); else a copy, for the structured clone would copy twice.
   */
  #owned(chunk: Uint8Array): Uint8Array<ArrayBuffer> {
    const { buffer } = chunk
    const isWhole = this.#isOurs && buffer instanceof ArrayBuffer && buffer.byteLength === chunk.byteLength
    return isWhole ? new Uint8Array(buffer) : new Uint8Array(chunk)
  }

  close(): readonly Uint8Array<ArrayBuffer>[] {
    this.#gather()
    return this.#chunks
  }
}
