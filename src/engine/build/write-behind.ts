/** A file that is written behind its producer: libuv's threads write while this one goes on with the next bytes, a batch at a time. */
import { writev } from 'node:fs'
import { promisify } from 'node:util'

const writeAll = promisify(writev)
const batchBytes = 1024 * 1024

export class WriteBehind implements AsyncDisposable {
  readonly #fd: number
  #batch: Uint8Array[] = []
  #batchBytes = 0
  #offset = 0
  #writing: Promise<void> = Promise.resolve()

  /** The file is open for writing, and empty. */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** Nobody may change the bytes any more. Waits while more than a batch is unwritten. */
  async append(bytes: Uint8Array): Promise<void> {
    this.#batch.push(bytes)
    this.#batchBytes += bytes.length
    if (this.#batchBytes >= batchBytes) await this.#next()
  }

  async #next(): Promise<void> {
    await this.#writing
    const batch = this.#batch
    const [offset, count] = [this.#offset, this.#batchBytes]
    this.#batch = []
    this.#offset += count
    this.#batchBytes = 0
    this.#writing = this.#write(batch, offset, count)
    // Whoever waits next is told; until then it is not unhandled.
    this.#writing.catch((error: unknown) => error)
  }

  async #write(batch: Uint8Array[], offset: number, count: number): Promise<void> {
    let { bytesWritten: done } = await writeAll(this.#fd, batch, offset)
    // A full disk takes a part, and then tells why.
    for (const rest = Buffer.concat(done < count ? batch : []); done < count; ) done += (await writeAll(this.#fd, [rest.subarray(done)], offset + done)).bytesWritten
  }

  /** When all was appended. */
  async end(): Promise<void> {
    await this.#next()
    await this.#writing
  }

  /** The descriptor is nobody else's before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([this.#writing])
  }
}
