/** Addresses and prefixes of both families: text to number and back, and what overlaps what. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { firstFree, formatIp, formatIpPrefix, holds, overlapping, parseIp, parsePrefix, requireIpPrefix } from './ip.ts'

test('addresses are written the shortest usual way', () => {
  const written = (text: string): string | undefined => {
    const address = parseIp(text)
    return address === undefined ? undefined : formatIp(address)
  }
  assert.equal(written('fd00:0:0:0::0001'), 'fd00::1')
  assert.equal(written('::'), '::')
  assert.equal(written('2001:db8:0:1:0:0:0:1'), '2001:db8:0:1::1')
  assert.equal(written('1:0:2:3:4:5:6:7'), '1:0:2:3:4:5:6:7')
  assert.equal(written('::ffff:10.0.0.1'), '::ffff:a00:1')
  assert.equal(written('10.200.0.1'), '10.200.0.1')
  for (const wrong of ['', '10.0.0', '10.0.0.256', 'fe80::1%eth0', '1::2::3', 'x']) assert.equal(written(wrong), undefined)
})

test('every number of either family is read back from its text', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.bigInt(0n, (1n << 128n) - 1n), (six, value) => {
      const address = six ? { family: 6 as const, value } : { family: 4 as const, value: value & 0xffffffffn }
      assert.deepEqual(parseIp(formatIp(address)), address)
    }),
  )
})

test('prefixes lose their host bits, and families never overlap', () => {
  assert.equal(formatIpPrefix(requireIpPrefix('fd00:1::5/64', 'subnet')), 'fd00:1::/64')
  assert.equal(parsePrefix('10.0.0.0/33'), undefined)
  assert.equal(parsePrefix('10.0.0.0/8/8'), undefined)
  assert.ok(overlapping(requireIpPrefix('fd00::/16', ''), requireIpPrefix('fd00:1::/64', '')))
  assert.ok(!overlapping(requireIpPrefix('0.0.0.0/0', ''), requireIpPrefix('::/0', '')))
  assert.ok(holds(requireIpPrefix('10.1.0.0/16', ''), { family: 4, value: 0x0a01ffffn }))
  const free = firstFree(requireIpPrefix('fd00:9::/48', ''), 64, [requireIpPrefix('fd00:9::/63', '')])
  assert.equal(free === undefined ? '' : formatIpPrefix(free), 'fd00:9:0:2::/64')
})
