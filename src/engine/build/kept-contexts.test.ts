/** What is kept between builds is the spool with what is known of its files, once, within its bounds. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { KeptContexts } from './kept-contexts.ts'
import type { KeptFiles } from './tree.ts'

let root: string
let kept: KeptContexts

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'kept-'))
  mkdirSync(join(root, 'work'))
  kept = new KeptContexts(join(root, 'contexts'), systemClock)
  await kept.open()
})
after(() => rmSync(root, { recursive: true }))

const spool = (): string => join(root, 'work/spool')
const held = (): number => readdirSync(join(root, 'contexts')).length

function files(...sizes: readonly number[]): KeptFiles {
  return new Map(sizes.map((sizeBytes, index) => [`f${index}`, { offset: 0, sizeBytes, hash: 'blake2b512:00', modifiedNs: 1n << 60n }]))
}

async function give(key: string, content: string, known = files(content.length)): Promise<void> {
  writeFileSync(spool(), content)
  await kept.give({ key, files: known }, spool())
}

test('the next build of a folder begins with what the last one has spooled, and two at once do not share it', async () => {
  assert.equal((await kept.take('a', spool())).files.size, 0)
  await give('a', 'first')
  await give('a', 'second')
  assert.equal(held(), 1)
  assert.equal((await kept.take('b', spool())).files.size, 0)
  const taken = await kept.take('a', spool())
  assert.deepEqual(taken.files, files('second'.length))
  assert.equal(readFileSync(spool(), 'utf8'), 'second')
  assert.equal((await kept.take('a', join(root, 'work/other'))).files.size, 0)
  await kept.give({ ...taken, files: new Map() }, spool())
  assert.equal(held(), 0)
})

test('what nobody means any more is not kept, nor what a build did not spool, and all of it goes when it is asked to', async () => {
  await give('mostly left over', 'x'.repeat(65 << 20), files(10))
  await give('empty', '', new Map())
  rmSync(spool())
  await kept.give({ key: 'failed', files: files(1) }, spool())
  assert.equal(held(), 0)
  await give('a', 'one')
  await give('b', 'two')
  assert.equal(held(), 2)
  const lent = await kept.take('a', spool())
  const shown = await kept.usage()
  assert.deepEqual(shown.map(({ description, sizeBytes, usageCount, inUse }) => ({ description, sizeBytes, usageCount, inUse })).toSorted((a) => (a.inUse ? -1 : 1)), [
    { description: 'local source for a', sizeBytes: 3, usageCount: 1, inUse: true },
    { description: 'local source for b', sizeBytes: 3, usageCount: 1, inUse: false },
  ])
  assert.deepEqual(await Promise.all(shown.map(({ name }) => kept.remove(name))), shown.map(({ inUse }) => !inUse))
  await kept.give(lent, spool())
  const again = await kept.usage()
  assert.deepEqual(again.map(({ usageCount, inUse }) => [usageCount, inUse]), [[2, false]])
  assert.ok(await kept.remove(again[0]?.name ?? ''))
  assert.equal(held(), 0)
  await give('a', 'one')
  await kept.open()
  assert.equal(held(), 0)
})
