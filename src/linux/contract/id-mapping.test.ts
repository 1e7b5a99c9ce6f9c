/** Ids from one side to the other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { containerIdOf, hostIdOf, idMapText, isIdentity, parseIdMap } from './id-mapping.ts'

test('ids are found on either side of several ranges, or not at all; the text is the kernel\'s', () => {
  const ranges = [{ containerId: 0, hostId: 1000, size: 10 }, { containerId: 10, hostId: 5000, size: 5 }]
  assert.deepEqual([0, 9, 10, 14, 15].map((id) => hostIdOf(ranges, id)), [1000, 1009, 5000, 5004, undefined])
  assert.deepEqual([1000, 1009, 5004, 999, 5005].map((id) => containerIdOf(ranges, id)), [0, 9, 14, undefined, undefined])
  assert.equal(idMapText(ranges), '0 1000 10\n10 5000 5\n')
  assert.deepEqual(parseIdMap('         0       1000         10\n        10       5000          5\n'), ranges)
  const all = parseIdMap('         0          0 4294967295\n')
  assert.deepEqual([isIdentity({ uids: all, gids: all }), isIdentity({ uids: all, gids: ranges })], [true, false])
})
