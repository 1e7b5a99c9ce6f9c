/** Blocks compressed side by side are one gzip member, whatever the pieces were. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { gzipBlocks } from './gzip-blocks.ts'

async function compressed(content: Buffer, pieceBytes: number): Promise<Buffer> {
  const pieces = async function* (): AsyncGenerator<Buffer> {
    for (let at = 0; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes)
  }
  return Buffer.concat(await Array.fromAsync(gzipBlocks(pieces(), { level: 6 })))
}

test('what was compressed in blocks comes out as it was, the same from any pieces, and hardly larger than in one go', async () => {
  const text = Buffer.from(Array.from({ length: 60_000 }, (_, index) => `line ${index % 977} of ${(index * index) % 7919}\n`).join(''))
  for (const content of [Buffer.alloc(0), Buffer.from('a'), text.subarray(0, 512 * 1024), text, Buffer.concat([text, randomBytes(700_000), text])]) {
    const whole = await compressed(content, 1 << 20)
    assert.deepEqual(gunzipSync(whole), content)
    assert.deepEqual(await compressed(content, 70_001), whole)
    assert.ok(whole.length < gzipSync(content).length * 1.02 + 32)
    assert.equal(spawnSync('gzip', ['-t'], { input: whole }).status, 0)
  }
})

test('a source that fails ends it with its error', async () => {
  const failing = async function* (): AsyncGenerator<Buffer> {
    yield randomBytes(2_000_000)
    throw new Error('the disk went away')
  }
  await assert.rejects(Array.fromAsync(gzipBlocks(failing(), { level: 1 })), /the disk went away/)
})
