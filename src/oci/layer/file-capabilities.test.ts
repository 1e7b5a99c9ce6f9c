/** Capabilities of files as an archive has them, and as a user namespace wants them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutRootId, withRootId } from './file-capabilities.ts'

test('the root that a capability is bound to is put in and taken out; what is no capability of these forms stays', () => {
  // cap_net_raw+ep, cap_setfcap+p as setcap(8) writes them: revision and flag, then permitted and inheritable twice.
  const plain = Buffer.from('0100000200200000000000000080000000000000', 'hex')
  const bound = withRootId(plain, 300_000)
  assert.equal(bound.toString('hex'), `01000003${plain.toString('hex').slice(8)}e0930400`)
  assert.deepEqual(withoutRootId(bound), plain)
  assert.deepEqual(withRootId(bound, 1), bound)
  for (const other of [Buffer.alloc(0), Buffer.from('0100000100200000ffffffff', 'hex'), plain]) assert.deepEqual(withoutRootId(other), other)
})
