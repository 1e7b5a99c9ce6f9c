/** What a pod needs at its hungriest moment. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pod } from '../api/core/v1/pod.ts'
import { podRequests } from './resources.ts'

const container = (cpu: string, restartPolicy?: 'Always'): object => ({ name: 'c', resources: { requests: { cpu } }, restartPolicy })
const requests = (spec: object): number => podRequests({ spec } as unknown as Pod)['cpu'] ?? 0

test('containers add up, init containers run one at a time, sidecars stay', () => {
  assert.equal(requests({ containers: [container('100m'), container('0.2')] }), 300)
  assert.equal(requests({ containers: [container('100m')], initContainers: [container('500m'), container('300m')] }), 500)
  assert.equal(requests({ containers: [container('100m')], initContainers: [container('50m', 'Always'), container('500m')] }), 550)
  assert.equal(requests({ containers: [container('600m')], initContainers: [container('50m', 'Always'), container('500m')] }), 650)
  assert.equal(requests({ containers: [container('1')], overhead: { cpu: '250m' } }), 1250)
})
