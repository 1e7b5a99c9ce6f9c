/** What `--userns-remap` may say, and what it means. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mappingFor } from './subordinate-ids.ts'

const accounts = {
  passwd: 'root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\ncarol:x:1001:1001::/home/carol:/bin/sh\n',
  group: 'root:x:0:\nbob:x:1000:\n',
  subuid: '# ranges\nbob:200000:1000\ndockremap:300000:65536\nbob:100000:10\n1001:500000:5\n',
  subgid: 'bob:250000:2000\ndockremap:310000:65536\n',
}

test('default is dockremap, others go by name or number, with or without a group; ranges follow one another', () => {
  const dockremap = { uids: [{ containerId: 0, hostId: 300_000, size: 65_536 }], gids: [{ containerId: 0, hostId: 310_000, size: 65_536 }] }
  assert.deepEqual(mappingFor('default', accounts), dockremap)
  const bob = { uids: [{ containerId: 0, hostId: 100_000, size: 10 }, { containerId: 10, hostId: 200_000, size: 1000 }], gids: [{ containerId: 0, hostId: 250_000, size: 2000 }] }
  for (const option of ['bob', 'bob:bob', '1000', '1000:1000']) assert.deepEqual(mappingFor(option, accounts), bob, option)
  assert.equal(mappingFor('root', accounts), undefined)
  assert.equal(mappingFor('0:0', accounts), undefined)
})

test('what is not there is named, with what would be right', () => {
  const refusals: readonly (readonly [string, RegExp])[] = [
    ['a:b:c', /^Invalid user\/group specification in --userns-remap: "a:b:c"$/],
    [':bob', /^Invalid user\/group specification/],
    ['dave', /^Error during uid lookup for "dave": no matching entries in passwd file$/],
    ['77', /^Uid 77 has no entry in \/etc\/passwd/],
    ['bob:staff', /^Error during groupname lookup for "staff"/],
    ['bob:77', /^Gid 77 has no entry in \/etc\/group/],
    ['carol', /^userns-remap: no subgid ranges found for user "carol": add a line such as carol:165536:65536 /],
  ]
  for (const [option, message] of refusals) assert.throws(() => mappingFor(option, accounts), (error) => error instanceof Error && message.test(error.message), option)
  assert.throws(() => mappingFor('default', { ...accounts, subuid: '' }), /no subuid ranges found for user "dockremap"/)
})
