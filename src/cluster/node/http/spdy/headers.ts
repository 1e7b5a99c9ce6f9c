/** Header blocks of SPDY/3: name-value pairs, compressed in one context per direction for the life of the connection. */
import type { Deflate, Inflate } from 'node:zlib'
import { constants, createDeflate, createInflate } from 'node:zlib'
import { Fault, isFault } from '#base/fault.ts'
import { headerDictionary } from './dictionary.ts'

export type SpdyHeaders = ReadonlyMap<string, string>

const longestBlock = 64 * 1024

/** Blocks must be decoded in their order, one after the other: the context is shared. After a block that is refused there is no other. */
export class HeaderReader implements Disposable {
  readonly #inflate: Inflate = createInflate({ dictionary: headerDictionary })
  readonly #output = outputOf(this.#inflate)
  readonly #broken: Promise<never>

  constructor() {
    const broken = Promise.withResolvers<never>()
    this.#broken = broken.promise
    // Those who read are told; between blocks there is nobody to tell.
    this.#broken.catch((error: unknown) => error)
    this.#inflate.once('error', (error) => broken.reject(isFault(error) ? error : new Fault('invalidArgument', `a SPDY header block cannot be decompressed: ${error.message}`, { cause: error })))
  }

  async read(block: Buffer): Promise<SpdyHeaders> {
    const written = new Promise<void>((resolve) => this.#inflate.write(block, (error) => (error === null || error === undefined ? resolve() : undefined)))
    await Promise.race([written, this.#broken])
    return parseHeaders(this.#output())
  }

  [Symbol.dispose](): void {
    this.#inflate.destroy()
  }
}

export class HeaderWriter implements Disposable {
  readonly #deflate: Deflate = createDeflate({ dictionary: headerDictionary })
  readonly #output = outputOf(this.#deflate)

  /** Ends with an empty stored block (a sync flush), which readers wait for. */
  async write(headers: SpdyHeaders): Promise<Buffer> {
    this.#deflate.write(formatHeaders(headers))
    await new Promise<void>((resolve) => this.#deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()))
    return this.#output()
  }

  [Symbol.dispose](): void {
    this.#deflate.destroy()
  }
}

/** Collects what a compressor puts out; the function answers it and begins anew. */
function outputOf(stream: Inflate | Deflate): () => Buffer {
  const chunks: Buffer[] = []
  let length = 0
  stream.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length > longestBlock) stream.destroy(tooLong())
    else chunks.push(chunk)
  })
  return () => {
    if (length > longestBlock) throw tooLong()
    length = 0
    return Buffer.concat(chunks.splice(0))
  }
}

function tooLong(): Fault {
  return new Fault('tooLarge', `a SPDY header block may have at most ${longestBlock} bytes`)
}

export function parseHeaders(plain: Buffer): SpdyHeaders {
  if (plain.length > longestBlock) throw tooLong()
  const headers = new Map<string, string>()
  let at = 0
  const number = (): number => {
    if (at + 4 > plain.length) throw new Fault('invalidArgument', 'a SPDY header block ends too early')
    at += 4
    return plain.readUInt32BE(at - 4)
  }
  const text = (): string => {
    const length = number()
    if (at + length > plain.length) throw new Fault('invalidArgument', 'a SPDY header block ends too early')
    at += length
    return plain.toString('utf8', at - length, at)
  }
  for (let left = number(); left > 0; left -= 1) {
    const name = text()
    headers.set(name.toLowerCase(), text())
  }
  return headers
}

export function formatHeaders(headers: SpdyHeaders): Buffer {
  const parts: Buffer[] = [uint32(headers.size)]
  for (const [name, value] of headers) for (const text of [name, value]) parts.push(uint32(Buffer.byteLength(text)), Buffer.from(text, 'utf8'))
  return Buffer.concat(parts)
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
