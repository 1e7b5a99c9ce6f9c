/** Which pods go first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pod } from '../../api/core/v1/pod.ts'
import { chooseVictims } from './victims.ts'

const nowMs = Date.parse('2026-01-01T12:00:00Z')

function pod(name: string, options: { readonly node?: string; readonly phase?: 'Pending' | 'Running'; readonly readySince?: string; readonly cost?: string; readonly restarts?: number; readonly created?: string } = {}): Pod {
  const { node = 'n1', phase = 'Running', readySince = '2026-01-01T11:00:00Z', cost, restarts = 0, created = '2026-01-01T10:00:00Z' } = options
  const ready = readySince === '' ? { type: 'Ready', status: 'False' } : { type: 'Ready', status: 'True', lastTransitionTime: readySince }
  return {
    apiVersion: 'v1', kind: 'Pod',
    metadata: { namespace: 'default', name, uid: name, resourceVersion: '1', creationTimestamp: created, ...(cost === undefined ? {} : { annotations: { 'controller.kubernetes.io/pod-deletion-cost': cost } }) },
    spec: { nodeName: node, containers: [] },
    status: { phase, conditions: [ready], containerStatuses: [{ name: 'c', image: '', imageID: '', ready: true, restartCount: restarts }] },
  } as unknown as Pod
}

const first = (...pods: Pod[]): string => chooseVictims(pods, pods, 1, nowMs)[0]?.metadata.name ?? ''

test('each rule decides when those before it do not', () => {
  assert.equal(first(pod('bound'), pod('unbound', { node: '' })), 'unbound')
  assert.equal(first(pod('running', { readySince: '' }), pod('pending', { phase: 'Pending', readySince: '' })), 'pending')
  assert.equal(first(pod('ready'), pod('unready', { readySince: '' })), 'unready')
  assert.equal(first(pod('dear', { cost: '10' }), pod('cheap', { cost: '-3' })), 'cheap')
  assert.equal(first(pod('alone', { node: 'n2' }), pod('a', { node: 'n1' }), pod('b', { node: 'n1' })), 'a')
  assert.equal(first(pod('long-ready'), pod('just-ready', { readySince: '2026-01-01T11:59:50Z' })), 'just-ready')
  assert.equal(first(pod('calm'), pod('restarting', { restarts: 4 })), 'restarting')
  assert.equal(first(pod('old', { created: '2025-12-01T00:00:00Z' }), pod('young', { created: '2026-01-01T10:59:00Z' })), 'young')
})

test('as many as asked for, all when there are no more', () => {
  const pods = ['a', 'b', 'c'].map((name) => pod(name))
  assert.equal(chooseVictims(pods, pods, 2, nowMs).length, 2)
  assert.equal(chooseVictims(pods, pods, 9, nowMs).length, 3)
})
