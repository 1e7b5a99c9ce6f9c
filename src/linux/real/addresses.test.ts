/** Addresses between text and bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressBytes, addressText, parsePrefix } from './addresses.ts'

test('every address survives the way to bytes and back', () => {
  fc.assert(fc.property(fc.ipV4(), (address) => assert.equal(addressText(addressBytes(address)), address)))
  fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => assert.deepEqual([...addressBytes(addressText(bytes))], [...bytes])))
})

test('IPv6 is written as RFC 5952 has it', () => {
  for (const [given, written] of [['0:0:0:0:0:0:0:0', '::'], ['0:0:0:0:0:0:0:1', '::1'], ['fd00:0:0:1:0:0:0:1', 'fd00:0:0:1::1'], ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'], ['fe80::', 'fe80::'], ['::ffff:1.2.3.4', '::ffff:102:304']] as const) {
    assert.equal(addressText(addressBytes(given)), written)
  }
})

test('prefixes are checked', () => {
  assert.equal(parsePrefix('10.0.0.0/8').length, 8)
  assert.equal(parsePrefix('fd00::1').length, 128)
  for (const wrong of ['10.0.0.0/33', '10.0.0/8', 'fd00::1/129', 'x', '10.0.0.1/a']) assert.throws(() => parsePrefix(wrong), /read '/)
})
