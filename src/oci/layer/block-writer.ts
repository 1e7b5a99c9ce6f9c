/**
 * Gathers bytes into blocks of one size: 20,000 small files do not mean 60,000 messages, and what is read from a file goes straight into
 * the block. While one block is being taken the next is filled, and their memory serves again and again.
 */

const blockBytes = 256 * 1024

export class BlockWriter {
  readonly #take: (block: Uint8Array) => Promise<void>
  /** The one that is filled, and the one that is taken. */
  #filling = Buffer.allocUnsafeSlow(blockBytes)
  #other = Buffer.allocUnsafeSlow(blockBytes)
  #length = 0
  #taking: Promise<void> = Promise.resolve()

  /** A block must not be used any more once its promise has resolved. */
  constructor(take: (block: Uint8Array) => Promise<void>) {
    this.#take = take
  }

  /** Where the next bytes go: at least one byte; undefined when the block is full, and `next` must be awaited first. */
  room(): Buffer | undefined {
    return this.#length === blockBytes ? undefined : this.#filling.subarray(this.#length)
  }

  /** So many bytes were put where `room` said. */
  advance(length: number): void {
    this.#length += length
  }

  /** Hands the block over and begins another. */
  async next(): Promise<void> {
    await this.#taking
    this.#taking = this.#take(this.#filling.subarray(0, this.#length))
    // Who hands over the next block, or ends, is told of a failure; nobody waits before.
    this.#taking.catch((error: unknown) => error)
    const filled = this.#filling
    this.#filling = this.#other
    this.#other = filled
    this.#length = 0
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      if (this.#length === blockBytes) await this.next()
      const part = bytes.subarray(done, done + blockBytes - this.#length)
      this.#filling.set(part, this.#length)
      this.#length += part.length
      done += part.length
    }
  }

  /** Hands over what is left, and waits until all is taken. */
  async end(): Promise<void> {
    if (this.#length > 0) await this.next()
    await this.#taking
  }
}
