/** Health: settings, what probes make of it, the rhythm of the monitor. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { virtualClock } from '#sim/clock.ts'
import type { ContainerHealth } from '../contract/containers.ts'
import { afterProbe, durationText, healthcheckOf, HealthMonitor, startingHealth, type ProbeResult } from './health.ts'

const probe = (exitCode: number): ProbeResult => ({ startedAtNs: 0n, endedAtNs: 1n, exitCode, output: '' })

test('own settings win over the image’s, and NONE turns the check off', () => {
  const image = { Healthcheck: { Test: ['CMD-SHELL', 'curl x'], Interval: 5e9, Retries: 7 } }
  assert.deepEqual(healthcheckOf({ Interval: 1e9 }, image), { command: ['/bin/sh', '-c', 'curl x'], intervalMs: 1000, timeoutMs: 30_000, startPeriodMs: 0, startIntervalMs: 1000, retries: 7 })
  assert.equal(healthcheckOf({ Test: ['NONE'] }, image), undefined)
  assert.equal(healthcheckOf(undefined, {}), undefined)
})

test('retries failures in a row make it unhealthy, one success heals, the start period forgives', () => {
  const rules = { retries: 2, inStartPeriod: false }
  const once = afterProbe(startingHealth, probe(1), rules)
  assert.equal(once.status, 'starting')
  const twice = afterProbe(once, probe(1), rules)
  assert.equal(twice.status, 'unhealthy')
  assert.equal(afterProbe(twice, probe(0), rules).status, 'healthy')
  assert.equal(afterProbe(startingHealth, probe(1), { ...rules, inStartPeriod: true }).failingStreak, 0)
})

test('probes keep their interval, and none runs after the stop', async () => {
  const clock = virtualClock()
  const seen: string[] = []
  let exitCode = 0
  const monitor = new HealthMonitor({ clock, probe: async () => probe(exitCode), onHealth: (_id, health: ContainerHealth) => seen.push(health.status) })
  monitor.start('c', { command: ['x'], intervalMs: 1000, timeoutMs: 1000, startPeriodMs: 0, startIntervalMs: 5000, retries: 2 }, { health: startingHealth, startedAtNs: clock.nowNs() })
  await clock.advance(1500)
  exitCode = 1
  await clock.advance(2000)
  assert.deepEqual(seen, ['healthy', 'healthy', 'unhealthy'])
  monitor.stop('c')
  await clock.advance(10_000)
  assert.equal(seen.length, 3)
})

test('in the start period the start interval holds, until the first success', async () => {
  const clock = virtualClock()
  const at: number[] = []
  let exitCode = 1
  const monitor = new HealthMonitor({
    clock,
    onHealth: () => undefined,
    probe: async () => {
      at.push(clock.monotonicMs())
      return probe(exitCode)
    },
  })
  monitor.start('c', { command: ['x'], intervalMs: 10_000, timeoutMs: 1000, startPeriodMs: 60_000, startIntervalMs: 2000, retries: 1 }, { health: startingHealth, startedAtNs: clock.nowNs() })
  await clock.advance(5000)
  exitCode = 0
  await clock.advance(12_000)
  assert.deepEqual(at, [2000, 4000, 6000, 16_000])
  monitor.close()
})

test('durations are shown as Go prints them', () => {
  assert.deepEqual([500, 1500, 30_000, 90_000, 3_600_000].map(durationText), ['500ms', '1.5s', '30s', '1m30s', '1h0m0s'])
})
