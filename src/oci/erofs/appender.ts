/** Writes a file from front to back in large pieces; synchronous, for confined jobs. */
import { writeSync } from 'node:fs'
import { roundUp } from './format.ts'

const bufferBytes = 1024 * 1024

export class Appender {
  readonly #descriptor: number
  readonly #buffer = Buffer.allocUnsafe(bufferBytes)
  #filled = 0
  #flushed: number

  constructor(descriptor: number, start: number) {
    this.#descriptor = descriptor
    this.#flushed = start
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.#flushed + this.#filled
  }

  append(bytes: Uint8Array): void {
    if (bytes.length >= bufferBytes / 4) {
      this.flush()
      this.writeAt(bytes, this.#flushed)
      this.#flushed += bytes.length
      return
    }
    if (this.#filled + bytes.length > bufferBytes) this.flush()
    this.#buffer.set(bytes, this.#filled)
    this.#filled += bytes.length
  }

  /** Zeros up to the next multiple of `unit`, at most a block. */
  align(unit: number): void {
    this.fillTo(roundUp(this.position, unit))
  }

  /** Zeros up to `position`, at most a buffer full of them. */
  fillTo(position: number): void {
    const missing = position - this.position
    if (this.#filled + missing > bufferBytes) this.flush()
    this.#buffer.fill(0, this.#filled, this.#filled + missing)
    this.#filled += missing
  }

  /** Leaves a hole of the file system's. */
  skip(bytes: number): void {
    this.flush()
    this.#flushed += bytes
  }

  /** Beside the order; nothing that waits in the buffer is there yet. */
  writeAt(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done, bytes.length - done, position + done)
  }

  flush(): void {
    this.writeAt(this.#buffer.subarray(0, this.#filled), this.#flushed)
    this.#flushed += this.#filled
    this.#filled = 0
  }
}
