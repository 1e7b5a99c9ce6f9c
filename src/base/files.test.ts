/** What files written to survive a crash leave behind. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sweepUnfinished, writeFileAtomically } from './files.ts'

test('a file is replaced whole, and what a killed writer left beside it is swept', async () => {
  const folder = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'bf-'))
  const path = join(folder, 'state.json')
  await writeFileAtomically(path, 'one')
  await writeFileAtomically(path, 'two')
  assert.equal(readFileSync(path, 'utf8'), 'two')
  writeFileSync(`${path}.0a1b2c3d.tmp`, 'half')
  writeFileSync(join(folder, 'note.tmp'), 'somebody’s')
  await sweepUnfinished(folder)
  assert.deepEqual(readdirSync(folder).sort(), ['note.tmp', 'state.json'])
  rmSync(folder, { recursive: true })
})
