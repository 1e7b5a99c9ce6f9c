/** Archives arrive plain or compressed; the first bytes tell. gzip and zstd are read by Node, bzip2 and xz by their own programs. */
import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { present } from '#base/assert.ts'
import { Fault } from '#base/fault.ts'
import type { Processes } from '#linux/contract/processes.ts'

export type Compression = 'none' | 'gzip' | 'bzip2' | 'xz' | 'zstd'

export function compressionOf(head: Buffer): Compression {
  const starts = (...bytes: number[]): boolean => bytes.every((byte, index) => head[index] === byte)
  if (starts(0x1f, 0x8b, 0x08)) return 'gzip'
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2'
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz'
  return starts(0x28, 0xb5, 0x2f, 0xfd) ? 'zstd' : 'none'
}

/** True when the bytes (at least 512) begin a tar header: its checksum fits (POSIX ustar). */
export function looksLikeTar(head: Buffer): boolean {
  if (head.length < 512) return false
  const stored = Number.parseInt(head.toString('latin1', 148, 156).replace(/[\0 ]+$/, '').trim(), 8)
  let sum = 0
  for (let index = 0; index < 512; index += 1) sum += index >= 148 && index < 156 ? 32 : (head[index] ?? 0)
  return stored === sum && sum !== 8 * 32
}

/** Whoever reads takes what is at hand together; a client's chunks have 64 KiB at most. */
const chunksAhead = 64

/** `what` names the stream in the fault of a broken one. */
export async function decompressed(source: Readable, what: string, processes: Processes): Promise<Readable> {
  const chunks: Buffer[] = []
  let length = 0
  const iterator: AsyncIterator<Buffer> = source[Symbol.asyncIterator]()
  while (length < 6) {
    const step = await iterator.next()
    if (step.done === true) break
    chunks.push(step.value)
    length += step.value.length
  }
  async function* whole(): AsyncGenerator<Buffer> {
    yield* chunks
    for (let step = await iterator.next(); step.done !== true; step = await iterator.next()) yield step.value
  }
  return expand(Readable.from(whole(), { highWaterMark: chunksAhead }), compressionOf(Buffer.concat(chunks)), what, processes)
}

export async function expand(source: Readable, compression: Compression, what: string, processes: Processes): Promise<Readable> {
  switch (compression) {
    case 'none':
      return source
    case 'gzip':
    case 'zstd': {
      const unpacker = compression === 'gzip' ? createGunzip() : createZstdDecompress()
      source.on('error', (error) => unpacker.destroy(error))
      const output = source.pipe(unpacker)
      return Readable.from(translated(output, `${what} is damaged`), { objectMode: false })
    }
    case 'bzip2':
    case 'xz': {
      const child = await processes.start([compression, '-dc'], { stdio: ['pipeIn', 'pipeOut', 'null'] })
      const input = present(child.stdio[0], 'the input of the unpacking program')
      const output = present(child.stdio[1], 'the output of the unpacking program')
      source.on('error', (error) => input.destroy(error))
      source.pipe(input)
      return Readable.from(checked(output, child.exited, what), { objectMode: false })
    }
  }
}

async function* translated(source: Readable, message: string): AsyncGenerator<Buffer> {
  try {
    yield* source
  } catch (error) {
    throw error instanceof Fault ? error : new Fault('invalidArgument', `${message}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

async function* checked(output: Readable, exited: Promise<{ readonly exitCode: number | undefined }>, what: string): AsyncGenerator<Buffer> {
  yield* output
  const { exitCode } = await exited
  if (exitCode !== 0) throw new Fault('invalidArgument', `${what} is damaged: it cannot be unpacked`)
}
