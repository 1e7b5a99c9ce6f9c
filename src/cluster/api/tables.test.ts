/** What `kubectl get` shows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exampleOf } from '#schema/example.ts'
import type { AnyKind, StoredObject } from '#schema/kind.ts'
import { humanDuration, renderTable } from '#schema/table.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { Event } from './core/v1/event.ts'
import { Node } from './core/v1/node.ts'
import type { SubmittedPod } from './core/v1/pod.ts'
import { Pod } from './core/v1/pod.ts'
import { Service } from './core/v1/service.ts'
import { EndpointSlice } from './discovery/v1/endpoint-slice.ts'
import { allKinds } from './index.ts'
import { tableOf } from './tables.ts'

const nowMs = Date.parse('2026-01-01T00:05:00Z')
const line = (kind: AnyKind, object: StoredObject): string =>
  tableOf(kind).columns.map((column) => column.cell(object, { nowMs })).join(' | ')
const header = (kind: AnyKind): string => tableOf(kind).columns.map(({ name, priority }) => (priority === 1 ? `(${name})` : name).toUpperCase()).join(' | ')

test('durations shrink to two units as they grow', () => {
  const cases: readonly (readonly [number, string])[] = [[-5, '<invalid>'], [0, '0s'], [119, '119s'], [120, '2m'], [599, '9m59s'], [3600, '60m'], [10_800, '3h'], [12_060, '3h21m'], [90_000, '25h'], [200_000, '2d7h'], [864_000, '10d'], [70_000_000, '2y80d'], [400_000_000, '12y']]
  for (const [seconds, words] of cases) assert.equal(humanDuration(seconds * 1000), words)
})

const container = { name: 'web', image: 'nginx:1' }
const podLine = (status: SubmittedPod['status'], more: Partial<SubmittedPod> = {}, spec: object = {}): string =>
  line(Pod, exampleOf(Pod, { metadata: { name: 'p' }, spec: { containers: [container], ...spec }, status, ...more })).split(' | ').slice(0, 4).join(' ')
const report = { name: 'web', image: 'nginx:1', imageID: '', ready: false, restartCount: 0 }

test('the status of a pod is what keeps it from running', () => {
  assert.equal(header(Pod), 'NAME | READY | STATUS | RESTARTS | AGE | (IP) | (NODE) | (NOMINATED NODE) | (READINESS GATES)')
  assert.equal(podLine({ phase: 'Pending' }), 'p 0/1 Pending 0')
  assert.equal(podLine({ phase: 'Running', containerStatuses: [{ ...report, ready: true, state: { running: {} } }] }), 'p 1/1 Running 0')
  assert.equal(
    podLine({ phase: 'Running', containerStatuses: [{ ...report, restartCount: 3, state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: { terminated: { exitCode: 1, finishedAt: '2026-01-01T00:04:20Z' } } }] }),
    'p 0/1 CrashLoopBackOff 3 (40s ago)',
  )
  assert.equal(podLine({ phase: 'Succeeded', containerStatuses: [{ ...report, state: { terminated: { exitCode: 0, reason: 'Completed' } } }] }), 'p 0/1 Completed 0')
  assert.equal(podLine({ phase: 'Failed', containerStatuses: [{ ...report, state: { terminated: { exitCode: 137, signal: 9 } } }] }), 'p 0/1 Signal:9 0')
  assert.equal(podLine({ phase: 'Running' }, { metadata: { name: 'p', deletionTimestamp: '2026-01-01T00:00:01Z' } }), 'p 0/1 Terminating 0')
  assert.equal(podLine({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }), 'p 0/1 SchedulingGated 0')
})

test('init containers show how far they are; sidecars count as containers', () => {
  const init = { initContainers: [{ name: 'one', image: 'a' }, { name: 'two', image: 'a' }] }
  const done = { ...report, name: 'one', state: { terminated: { exitCode: 0 } } }
  assert.equal(podLine({ phase: 'Pending', initContainerStatuses: [done, { ...report, name: 'two', state: { running: {} } }] }, {}, init), 'p 0/1 Init:1/2 0')
  assert.equal(podLine({ phase: 'Pending', initContainerStatuses: [{ ...report, name: 'one', restartCount: 1, state: { terminated: { exitCode: 2 } } }] }, {}, init), 'p 0/1 Init:ExitCode:2 1')
  const sidecar = { initContainers: [{ name: 'side', image: 'a', restartPolicy: 'Always' }] }
  assert.equal(podLine({ phase: 'Running', initContainerStatuses: [{ ...report, name: 'side', ready: true, started: true, state: { running: {} } }], containerStatuses: [{ ...report, ready: true, state: { running: {} } }] }, {}, sidecar), 'p 2/2 Running 0')
})

test('deployments, services, nodes, slices and events', () => {
  const deployment = exampleOf(Deployment, {
    metadata: { name: 'web' },
    spec: { replicas: 3, selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } } },
    status: { readyReplicas: 2, updatedReplicas: 3, availableReplicas: 2 },
  })
  assert.equal(header(Deployment), 'NAME | READY | UP-TO-DATE | AVAILABLE | AGE | (CONTAINERS) | (IMAGES) | (SELECTOR)')
  assert.equal(line(Deployment, deployment), 'web | 2/3 | 3 | 2 | 5m | web | nginx:1 | app=web')
  const service = exampleOf(Service, { metadata: { name: 'web' }, spec: { type: 'NodePort', clusterIP: '10.43.0.5', selector: { app: 'web' }, ports: [{ port: 80, nodePort: 30_080 }, { name: 'dns', port: 53, protocol: 'UDP' }] } })
  assert.equal(line(Service, service), 'web | NodePort | 10.43.0.5 | <none> | 80:30080/TCP,53/UDP | 5m | app=web')
  const node = exampleOf(Node, {
    metadata: { name: 'n1', labels: { 'node-role.kubernetes.io/control-plane': '' } },
    spec: { unschedulable: true },
    status: { conditions: [{ type: 'Ready', status: 'True' }], addresses: [{ type: 'InternalIP', address: '10.0.0.1' }], nodeInfo: undefined },
  })
  assert.equal(line(Node, node), 'n1 | Ready,SchedulingDisabled | control-plane | 5m |  | 10.0.0.1 | <none> | <unknown> | <unknown> | <unknown>')
  const slice = exampleOf(EndpointSlice, { metadata: { name: 's' }, addressType: 'IPv4', ports: [{ port: 80 }], endpoints: [{ addresses: ['10.0.0.1', '10.0.0.2'] }, { addresses: ['10.0.0.3'] }, { addresses: ['10.0.0.4'] }] })
  assert.equal(line(EndpointSlice, slice), 's | IPv4 | 80 | 10.0.0.1,10.0.0.2,10.0.0.3 + 1 more... | 5m')
  const event = exampleOf(Event, { metadata: { name: 'e' }, involvedObject: { kind: 'Pod', name: 'p' }, type: 'Normal', reason: 'Pulled', message: 'ready \n', firstTimestamp: '2026-01-01T00:00:00Z', lastTimestamp: '2026-01-01T00:04:00Z', count: 2, source: { component: 'kubelet', host: 'n1' } })
  assert.equal(line(Event, event), '60s | Normal | Pulled | pod/p |  | kubelet, n1 | ready | 5m | 2 | e')
})

test('every kind prints an object of its own', () => {
  for (const kind of allKinds) assert.ok(tableOf(kind).columns.length >= 2, kind.kind)
})

test('a table carries metadata, definitions once, and marks completed pods', () => {
  const pod = exampleOf(Pod, { metadata: { name: 'p' }, spec: { containers: [container] }, status: { phase: 'Succeeded' } })
  const table = renderTable(tableOf(Pod), [pod], { nowMs, includeObject: 'Metadata', listMeta: { resourceVersion: '7' }, withColumns: true })
  const { kind, apiVersion, metadata, columnDefinitions, rows } = JSON.parse(JSON.stringify(table))
  assert.deepEqual([kind, apiVersion, metadata, columnDefinitions.length], ['Table', 'meta.k8s.io/v1', { resourceVersion: '7' }, 9])
  assert.equal(rows[0].object.kind, 'PartialObjectMetadata')
  assert.deepEqual(rows[0].conditions, [{ type: 'Completed', status: 'True', reason: 'Succeeded', message: 'The pod has completed successfully.' }])
  assert.deepEqual(columnDefinitions[0], { name: 'Name', type: 'string', format: 'name', description: 'Name of the object, unique within its namespace.', priority: 0 })
})
