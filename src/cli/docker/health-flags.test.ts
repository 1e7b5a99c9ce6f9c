/** Health flags as a creation's body. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { healthBody, logBody, parseDurationNs } from './health-flags.ts'

test('flags become a health check, and what follows its failure', () => {
  assert.deepEqual(healthBody({}), {})
  assert.deepEqual(healthBody({ healthCmd: 'x', healthInterval: '1m30s', healthRetries: '2', healthOnFailure: 'restart' }), { Healthcheck: { Test: ['CMD-SHELL', 'x'], Interval: 90e9, Retries: 2 }, HealthcheckOnFailureAction: 'restart' })
  assert.deepEqual(healthBody({ healthcheck: false }), { Healthcheck: { Test: ['NONE'] } })
  assert.throws(() => healthBody({ healthcheck: false, healthCmd: 'x', healthRetries: '2' }), /conflicts/)
})

test('durations have units', () => {
  assert.equal(parseDurationNs('1.5s'), 1_500_000_000)
  assert.throws(() => parseDurationNs('5'), /invalid duration/)
})

test('log options are split at the first equals sign', () => {
  assert.deepEqual(logBody({ logOpt: ['max-size=1m', 'tag=a=b'] }), { Type: '', Config: { 'max-size': '1m', tag: 'a=b' } })
})
