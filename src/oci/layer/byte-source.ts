/** Pulls exact amounts out of a stream of chunks without copying more than it must. */

export class ByteSource {
  readonly #iterator: AsyncIterator<Uint8Array>
  #chunk: Buffer = Buffer.alloc(0)
  #at = 0
  #ended = false

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]()
  }

  async #more(): Promise<boolean> {
    while (!this.#ended && this.#at === this.#chunk.length) {
      const step = await this.#iterator.next()
      if (step.done === true) this.#ended = true
      else {
        this.#chunk = Buffer.isBuffer(step.value) ? step.value : Buffer.from(step.value.buffer, step.value.byteOffset, step.value.byteLength)
        this.#at = 0
      }
    }
    return this.#at < this.#chunk.length
  }

  /** Exactly `length` bytes when they are at hand, without waiting: most headers and small files are. */
  takeNow(length: number): Buffer | undefined {
    if (this.#chunk.length - this.#at < length) return undefined
    const part = this.#chunk.subarray(this.#at, this.#at + length)
    this.#at += length
    return part
  }

  /** Throws `length` bytes away when they are at hand. */
  skipNow(length: number): boolean {
    if (this.#chunk.length - this.#at < length) return false
    this.#at += length
    return true
  }

  /** Up to `limit` bytes, whatever is at hand; undefined at the end. */
  async some(limit: number): Promise<Buffer | undefined> {
    if (this.#at === this.#chunk.length && !(await this.#more())) return undefined
    const end = Math.min(this.#chunk.length, this.#at + limit)
    const part = this.#chunk.subarray(this.#at, end)
    this.#at = end
    return part
  }

  /** Exactly `length` bytes, or fewer when the source ends before. */
  async take(length: number): Promise<Buffer> {
    const whole = this.takeNow(length)
    if (whole !== undefined) return whole
    const parts: Buffer[] = []
    let wanted = length
    while (wanted > 0) {
      const part = await this.some(wanted)
      if (part === undefined) break
      parts.push(part)
      wanted -= part.length
    }
    return Buffer.concat(parts)
  }

  /** Throws `length` bytes away; false when the source ends before. */
  async skip(length: number): Promise<boolean> {
    let wanted = length
    while (wanted > 0) {
      const part = await this.some(wanted)
      if (part === undefined) return false
      wanted -= part.length
    }
    return true
  }

  /** Reads to the end, so that a hash over the source sees every byte. Returns whether only zero bytes were left. */
  async drain(): Promise<boolean> {
    let zero = true
    for (;;) {
      const part = await this.some(1 << 20)
      if (part === undefined) return zero
      if (zero) zero = part.every((byte) => byte === 0)
    }
  }

  async close(): Promise<void> {
    await this.#iterator.return?.()
  }
}
