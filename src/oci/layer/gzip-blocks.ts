/**
 * gzip (RFC 1952) on several threads: blocks are compressed side by side in libuv's pool, each with the end of the one before as its
 * dictionary, so that they make one member as one thread would write it. What comes out depends on the bytes alone.
 */
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { constants, crc32, deflateRaw } from 'node:zlib'

const deflateBlock = promisify(deflateRaw)

/** Large enough that cutting costs nothing in size. */
const blockBytes = 512 * 1024
/** How far back deflate looks. */
const windowBytes = 32 * 1024
/** Without name and time; the system is not told. */
const head = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])
/** An empty block that says it is the last. */
const lastBlock = Buffer.from([0x03, 0x00])

export async function* gzipBlocks(source: AsyncIterable<Uint8Array>, options: { readonly level: number }): AsyncGenerator<Buffer> {
  yield head
  const atWork: Promise<Buffer>[] = []
  let crc = 0
  let size = 0
  let before: Buffer | undefined
  try {
    for await (const block of blocksOf(source)) {
      crc = crc32(block, crc)
      size += block.length
      const compressing = deflateBlock(block, { level: options.level, finishFlush: constants.Z_SYNC_FLUSH, ...(before === undefined ? {} : { dictionary: before.subarray(-windowBytes) }) })
      before = block
      if (atWork.push(compressing) > availableParallelism()) yield await next(atWork)
    }
    while (atWork.length > 0) yield await next(atWork)
  } finally {
    await Promise.allSettled(atWork)
  }
  const tail = Buffer.alloc(8)
  tail.writeUInt32LE(crc, 0)
  tail.writeUInt32LE(size % 2 ** 32, 4)
  yield Buffer.concat([lastBlock, tail])
}

async function next(atWork: Promise<Buffer>[]): Promise<Buffer> {
  const first = atWork.shift()
  return first === undefined ? Buffer.alloc(0) : await first
}

async function* blocksOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + blockBytes - length)
      parts.push(part)
      length += part.length
      at += part.length
      if (length < blockBytes) continue
      yield Buffer.concat(parts)
      parts = []
      length = 0
    }
  }
  if (length > 0) yield Buffer.concat(parts)
}
