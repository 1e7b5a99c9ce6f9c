/** Recognising compressions, and streams that break off. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { isFault } from '#base/fault.ts'
import { inChunks } from './archive-samples.ts'
import { decompress } from './decompress.ts'

const text = Buffer.from('layer '.repeat(50_000))

async function textOf(bytes: Buffer, chunk?: number): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(decompress(inChunks(bytes, chunk), 'detect')))
}

test('gzip, zstd and plain streams are recognised, also in tiny chunks', async () => {
  for (const bytes of [text, gzipSync(text), zstdCompressSync(text), Buffer.alloc(0), Buffer.from('ab')]) {
    const expected = bytes.length < 3 ? bytes : text
    assert.deepEqual(await textOf(bytes), expected)
    assert.deepEqual(await textOf(bytes, bytes.length > 10_000 ? 4096 : 1), expected)
  }
  assert.deepEqual(await textOf(Buffer.concat([gzipSync('a'), gzipSync('b')])), Buffer.from('ab'))
})

test('zstd:chunked is read: frames one after another, between and behind them frames that readers skip', async () => {
  const skipped = (bytes: number): Buffer => {
    const frame = Buffer.alloc(8 + bytes, 7)
    frame.writeUInt32LE(0x184d2a50, 0)
    frame.writeUInt32LE(bytes, 4)
    return frame
  }
  const chunked = Buffer.concat([zstdCompressSync(text), zstdCompressSync('b'), skipped(40), zstdCompressSync('c'), skipped(64), skipped(0)])
  for (const size of [1, 1000, chunked.length]) assert.deepEqual(await textOf(chunked, size), Buffer.concat([text, Buffer.from('bc')]))
})

test('a cut or damaged stream and foreign compressions are refused', async () => {
  const gzip = gzipSync(text)
  await assert.rejects(textOf(gzip.subarray(0, gzip.length - 20)), (error) => isFault(error, 'invalidArgument') && /cut off/.test(error.message))
  await assert.rejects(textOf(zstdCompressSync(text).subarray(0, 20)), (error) => isFault(error, 'invalidArgument'))
  await assert.rejects(textOf(Buffer.from('BZh91AY&SY')), (error) => isFault(error, 'unsupportedMediaType'))
})

test('an error of the source stays what it was', async () => {
  const failing = async function* (): AsyncGenerator<Buffer> {
    yield gzipSync(text).subarray(0, 50)
    throw new SourceError('went away')
  }
  await assert.rejects(Array.fromAsync(decompress(failing(), 'gzip')), SourceError)
})

class SourceError extends Error {}
