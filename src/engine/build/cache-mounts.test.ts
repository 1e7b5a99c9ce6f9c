/** A cache mount is listed with what it takes, and goes only when nobody has it. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, linkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { CacheMounts, type CacheMount } from './cache-mounts.ts'

let root: string
let mounts: CacheMounts

before(() => {
  root = mkdtempSync(join(tmpdir(), 'mounts-'))
  mounts = new CacheMounts(root, systemClock)
})
after(() => rmSync(root, { recursive: true }))

const mount = (id: string, sharing: CacheMount['sharing']): CacheMount => ({ type: 'cache', target: `/${id}`, id, source: '/', readonly: false, sharing, mode: 0o755, uid: 0, gid: 0 })

test('what a cache mount takes is counted once for each file, whoever opens it, and again after each use', async () => {
  const { path, release } = await mounts.acquire(mount('sized', 'shared'), 'exec true')
  writeFileSync(join(path, 'a'), '12345')
  linkSync(join(path, 'a'), join(path, 'b'))
  const before = (await mounts.usage()).map(({ name: _, createdAtMs, usedAtMs, ...facts }) => ({ ...facts, isNow: createdAtMs === usedAtMs }))
  assert.deepEqual(before, [{ id: 'sized', description: 'cached mount /sized from exec true with id "/sized"', usageCount: 1, sizeBytes: 5, inUse: true, isNow: true }])
  release()
  assert.equal((await mounts.usage())[0]?.sizeBytes, 5)
  const again = await mounts.acquire(mount('sized', 'shared'), 'exec false')
  assert.deepEqual([again.path, again.isNew], [path, false])
  writeFileSync(join(path, 'c'), '678')
  again.release()
  const [sized] = await new CacheMounts(root, systemClock).usage()
  assert.deepEqual([sized?.sizeBytes, sized?.usageCount, sized?.inUse, sized?.description], [8, 2, false, 'cached mount /sized from exec true with id "/sized"'])
  truncateSync(`${path}.json`, 3)
  assert.deepEqual((await mounts.usage()).map(({ sizeBytes, usageCount }) => [sizeBytes, usageCount]), [[8, 1]], 'a torn record hides nothing')
  assert.ok(await mounts.remove(sized?.name ?? ''))
  assert.deepEqual(readdirSync(root), [])
})

test('what somebody has, or waits for, stays; who comes while it goes gets a fresh one', async () => {
  const first = await mounts.acquire(mount('locked', 'locked'), 'exec 1')
  const second = mounts.acquire(mount('locked', 'locked'), 'exec 2')
  const [{ name } = { name: '' }] = await mounts.usage()
  assert.equal(await mounts.remove(name), false)
  first.release()
  assert.equal(await mounts.remove(name), false)
  const { path, release } = await second
  writeFileSync(join(path, 'left'), '')
  release()
  const removal = mounts.remove(name)
  const third = await mounts.acquire(mount('locked', 'locked'), 'exec 3')
  assert.ok(await removal)
  assert.deepEqual([third.isNew, third.path, existsSync(path), readdirSync(path)], [true, path, true, []])
  third.release()
  assert.deepEqual(await Promise.all((await mounts.usage()).map((usage) => mounts.remove(usage.name))), [true])
})
