/** Streams out of their compression, which is told or recognised by its first bytes; broken streams are `invalidArgument`. */
import { pipeline, Readable } from 'node:stream'
import type { Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { unreachable } from '#base/assert.ts'
import { Fault } from '#base/fault.ts'
import type { LayerCompression } from '../descriptor.ts'

const outputChunkBytes = 256 * 1024

export async function* decompress(source: AsyncIterable<Uint8Array>, compression: LayerCompression | 'detect'): AsyncGenerator<Uint8Array> {
  if (compression !== 'detect') return yield* inflate(source, compression)
  const iterator = source[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  let ended = false
  while (head.length < 6 && !ended) {
    const step = await iterator.next()
    if (step.done === true) ended = true
    else head = head.length === 0 ? Buffer.from(step.value) : Buffer.concat([head, step.value])
  }
  yield* inflate(rejoin(head, iterator), recognise(head))
}

async function* rejoin(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (head.length > 0) yield head
    for (let step = await rest.next(); step.done !== true; step = await rest.next()) yield step.value
  } finally {
    await rest.return?.()
  }
}

export function recognise(head: Uint8Array): LayerCompression {
  const hex = Buffer.from(head.subarray(0, 6)).toString('hex')
  if (hex.startsWith('1f8b')) return 'gzip'
  if (hex.startsWith('28b52ffd')) return 'zstd'
  const foreign = hex.startsWith('425a68') ? 'bzip2' : hex.startsWith('fd377a585a00') ? 'xz' : undefined
  if (foreign !== undefined) throw new Fault('unsupportedMediaType', `the archive is compressed with ${foreign}: expected plain tar, gzip or zstd`)
  return 'none'
}

async function* inflate(source: AsyncIterable<Uint8Array>, compression: LayerCompression): AsyncGenerator<Uint8Array> {
  switch (compression) {
    case 'none':
      return yield* source
    case 'gzip':
      return yield* through(source, createGunzip({ chunkSize: outputChunkBytes }), compression)
    case 'zstd':
      return yield* through(source, createZstdDecompress({ chunkSize: outputChunkBytes }), compression)
    default:
      return unreachable(compression)
  }
}

async function* through(source: AsyncIterable<Uint8Array>, inflater: Transform, name: string): AsyncGenerator<Uint8Array> {
  let sourceError: unknown
  const watched = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* source
    } catch (error) {
      sourceError = error
      throw error
    }
  }
  // Its callback must exist; the error itself surfaces from the iteration below.
  pipeline(Readable.from(watched(), { objectMode: false, highWaterMark: outputChunkBytes }), inflater, (error) => void error)
  try {
    yield* inflater
  } catch (error) {
    if (sourceError !== undefined) throw sourceError
    throw new Fault('invalidArgument', `the ${name} stream is damaged or cut off: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
