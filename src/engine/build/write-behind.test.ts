/** Bytes arrive in the file in their order, and a disk that takes no more is told of. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { WriteBehind } from './write-behind.ts'

async function written(path: string, pieces: readonly Uint8Array[]): Promise<void> {
  const fd = openSync(path, 'w')
  try {
    await using file = new WriteBehind(fd)
    for (const piece of pieces) await file.append(piece)
    await file.end()
  } finally {
    closeSync(fd)
  }
}

test('pieces of any size stand one after another', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wb-'))
  try {
    const path = join(folder, 'file')
    for (const sizes of [[], [1], [1 << 20], [(3 << 20) + 7, 1, 65_536], Array.from({ length: 100 }, (_, index) => 30_000 + index)]) {
      const pieces = sizes.map((size) => randomBytes(size))
      await written(path, pieces)
      assert.ok(readFileSync(path).equals(Buffer.concat(pieces)), sizes.join())
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a full disk is told of, by the next piece or at the end', async () => {
  for (const count of [1, 8]) await assert.rejects(written('/dev/full', Array.from({ length: count }, () => Buffer.alloc(1 << 19))), { code: 'ENOSPC' })
})
