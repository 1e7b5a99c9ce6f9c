/** What Node's fs cannot do, against the real file system. */
import assert from 'node:assert/strict'
import { lstatSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { rawFiles } from './rawFiles.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'r-'))
after(() => rmSync(root, { recursive: true }))

test('device nodes carry type, numbers and the exact mode', () => {
  const path = join(root, 'zero')
  rawFiles.makeNode(path, { type: 'charDevice', mode: 0o666, major: 1, minor: 5 })
  const found = lstatSync(path)
  assert.ok(found.isCharacterDevice())
  assert.equal(found.rdev, (1 << 8) | 5)
  assert.equal(found.mode & 0o7777, 0o666)
  rawFiles.makeNode(join(root, 'big'), { type: 'blockDevice', mode: 0o600, major: 259, minor: 70_000 })
  const big = lstatSync(join(root, 'big')).rdev
  assert.equal((big >> 8) & 0xfff, 259)
  assert.equal((big & 0xff) | ((big >>> 12) & 0xfff00), 70_000)
  assert.throws(() => rawFiles.makeNode(path, { type: 'fifo', mode: 0o600 }), { code: 'EEXIST' })
})

test('binary extended attributes go in and come out, on names that are no UTF-8', () => {
  const path = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe])])
  writeFileSync(path, '')
  const value = Buffer.from([0, 255, 10, 0, 1])
  rawFiles.setXattr(path, 'trusted.berth', value)
  assert.deepEqual(rawFiles.xattrs(path).get('trusted.berth'), value)
  assert.equal(rawFiles.xattrs(root).size, 0)
  assert.throws(() => rawFiles.xattrs(join(root, 'none')), { code: 'ENOENT' })
})

test('times are exact to the nanosecond, also of a symlink and before the epoch', () => {
  const link = join(root, 'link')
  symlinkSync('/', link)
  rawFiles.setTimes(link, 1_234_567_890_123_456_789n, -1n)
  const found = lstatSync(link, { bigint: true })
  assert.equal(found.atimeNs, 1_234_567_890_123_456_789n)
  assert.equal(found.mtimeNs, -1n)
  assert.notEqual(statSync(link, { bigint: true }).mtimeNs, -1n)
  rawFiles.syncFileSystem(root)
})
