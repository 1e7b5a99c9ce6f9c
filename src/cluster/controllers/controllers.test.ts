/** The controllers besides deployments, in virtual time against the real API core: one story each. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rfc3339Micro, rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { ControlPlane } from '#sim/control-plane.ts'
import { startControlPlane } from '#sim/control-plane.ts'
import { Deployment } from '../api/apps/v1/deployment.ts'
import { ReplicaSet } from '../api/apps/v1/replica-set.ts'
import { Lease } from '../api/coordination/v1/lease.ts'
import { ConfigMap } from '../api/core/v1/config-map.ts'
import { Namespace } from '../api/core/v1/namespace.ts'
import { Node } from '../api/core/v1/node.ts'
import type { SubmittedPod } from '../api/core/v1/pod.ts'
import { Pod } from '../api/core/v1/pod.ts'
import { ServiceAccount } from '../api/core/v1/service-account.ts'
import { Service } from '../api/core/v1/service.ts'
import { EndpointSlice } from '../api/discovery/v1/endpoint-slice.ts'
import { controllerOf } from './ownership.ts'
import { deploymentOf, inDefault, obey, settle } from './story.ts'

async function story(controllers: readonly string[], tell: (plane: ControlPlane) => Promise<void>): Promise<void> {
  await using plane = await startControlPlane({ controllers })
  await tell(plane)
}

const podOf = (name: string, labels: Record<string, string>, spec: Partial<NonNullable<SubmittedPod['spec']>> = {}): SubmittedPod => ({
  metadata: { ...inDefault(name), labels },
  spec: { containers: [{ name: 'main', image: 'x', ports: [{ name: 'http', containerPort: 8080 }] }], ...spec },
})

const isGone = async (promise: Promise<unknown>): Promise<boolean> => promise.then(() => false, (error: unknown) => isFault(error, 'notFound'))

async function setReady({ client, clock }: ControlPlane, name: string, ip: string, ready: boolean): Promise<void> {
  const pod = await client.get(Pod, inDefault(name))
  const condition = { type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: rfc3339Seconds(clock.nowMs()) } as const
  await client.update(Pod, { ...pod, status: { ...pod.status, phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [condition] } }, { subresource: 'status' })
}

test('a ReplicaSet adopts orphans that match, and releases what no longer does', () =>
  story(['replicaset'], async (plane) => {
    const { client, clock } = plane
    await client.create(Pod, podOf('stray', { app: 'web' }))
    await client.create(ReplicaSet, { metadata: inDefault('web'), spec: { replicas: 2, selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'x' }] } } } })
    await clock.advance(100)
    assert.equal(controllerOf(await client.get(Pod, inDefault('stray')))?.name, 'web')
    assert.equal((await client.list(Pod)).items.length, 2)
    await client.patch(Pod, inDefault('stray'), { metadata: { labels: { app: 'other' } } }, { type: 'merge' })
    await clock.advance(100)
    assert.equal(controllerOf(await client.get(Pod, inDefault('stray'))), undefined)
    assert.equal((await client.list(Pod, { labelSelector: 'app=web' })).items.length, 2)
  }))

test('endpoints follow readiness, named ports, termination and labels of the Service', () =>
  story(['endpointslice', 'garbage-collector'], async (plane) => {
    const { client, clock } = plane
    await client.create(Service, { metadata: { ...inDefault('web'), labels: { team: 'blue' } }, spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] } })
    await clock.advance(100)
    const [placeholder] = (await client.list(EndpointSlice)).items
    assert.deepEqual([placeholder?.endpoints, placeholder?.ports], [[], []])
    for (const name of ['a', 'b']) {
      await client.create(Pod, podOf(name, { app: 'web' }))
      await client.createSubresource(Pod, inDefault(name), 'binding', { target: { name: 'node-1' } })
    }
    await setReady(plane, 'a', '10.42.0.2', true)
    await setReady(plane, 'b', '10.42.0.3', false)
    await clock.advance(100)
    const seen = async (): Promise<unknown> =>
      (await client.list(EndpointSlice)).items.map(({ ports, endpoints }) => [ports.map(({ name, port }) => `${name}:${port}`), endpoints.map(({ addresses, conditions }) => [addresses[0], conditions.ready, conditions.serving, conditions.terminating])])
    assert.deepEqual(await seen(), [[['http:8080'], [['10.42.0.2', true, true, false], ['10.42.0.3', false, false, false]]]])
    const [slice] = (await client.list(EndpointSlice)).items
    assert.deepEqual({ ...slice?.metadata.labels }, { team: 'blue', 'kubernetes.io/service-name': 'web', 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' })
    await client.delete(Pod, inDefault('a'))
    await clock.advance(100)
    assert.deepEqual(await seen(), [[['http:8080'], [['10.42.0.2', false, true, true], ['10.42.0.3', false, false, false]]]])
    await client.patch(Service, inDefault('web'), { spec: { publishNotReadyAddresses: true } }, { type: 'merge' })
    await clock.advance(100)
    assert.deepEqual(await seen(), [[['http:8080'], [['10.42.0.2', true, true, true], ['10.42.0.3', true, false, false]]]])
    await client.delete(Service, inDefault('web'))
    await clock.advance(100)
    assert.deepEqual((await client.list(EndpointSlice)).items, [])
  }))

test('more than a hundred endpoints take several slices, and one change touches one slice', () =>
  story(['endpointslice'], async (plane) => {
    const { client, clock } = plane
    await client.create(Service, { metadata: inDefault('web'), spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } })
    for (let i = 0; i < 120; i += 1) {
      await client.create(Pod, podOf(`p${i}`, { app: 'web' }))
      await setReady(plane, `p${i}`, `10.42.1.${i}`, true)
    }
    await clock.advance(100)
    const sizes = async (): Promise<number[]> => (await client.list(EndpointSlice)).items.map(({ endpoints }) => endpoints.length).toSorted((a, b) => a - b)
    assert.deepEqual(await sizes(), [20, 100])
    const versions = new Map((await client.list(EndpointSlice)).items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]))
    await setReady(plane, 'p7', '10.42.1.7', false)
    await clock.advance(100)
    const changed = (await client.list(EndpointSlice)).items.filter(({ metadata }) => versions.get(metadata.name) !== metadata.resourceVersion)
    assert.equal(changed.length, 1)
  }))

test('a namespace goes when it is empty: pods first, then the rest; conditions say what remains', () =>
  story(['namespace', 'serviceaccount', 'deployment', 'replicaset', 'garbage-collector'], async (plane) => {
    const { client, clock } = plane
    await client.create(Namespace, { metadata: { name: 'tenant' } })
    await clock.advance(100)
    const inTenant = (name: string): { namespace: string; name: string } => ({ namespace: 'tenant', name })
    assert.ok((await client.get(ConfigMap, inTenant('kube-root-ca.crt'))).data?.['ca.crt']?.includes('CERTIFICATE'))
    await client.create(Deployment, { ...deploymentOf('web', 'v1'), metadata: inTenant('web') })
    await client.create(ConfigMap, { metadata: { ...inTenant('held'), finalizers: ['example.com/hold'] } })
    await clock.advance(100)
    await obey(plane)
    await client.delete(Namespace, { name: 'tenant' })
    await clock.advance(100)
    // Bound pods take their grace; until they are gone nothing else is touched.
    assert.ok(!(await isGone(client.get(ServiceAccount, inTenant('default')))))
    for (let pass = 0; pass < 5; pass += 1) {
      await obey(plane)
      await clock.advance(100)
    }
    await clock.advance(6000)
    const held = await client.get(Namespace, { name: 'tenant' })
    assert.equal(held.status.phase, 'Terminating')
    const message = held.status.conditions?.find(({ type }) => type === 'NamespaceFinalizersRemaining')?.message
    assert.equal(message, 'Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances')
    assert.deepEqual((await client.list(Pod, { namespace: 'tenant' })).items, [])
    await client.patch(ConfigMap, inTenant('held'), { metadata: { finalizers: null } }, { type: 'merge' })
    await clock.advance(6000)
    assert.ok(await isGone(client.get(Namespace, { name: 'tenant' })))
  }))

test('owners: background deletion follows, foreground deletion waits, orphans stay', () =>
  story(['deployment', 'replicaset', 'garbage-collector'], async (plane) => {
    const { client, clock } = plane
    const counts = async (): Promise<number[]> => [(await client.list(Deployment)).items.length, (await client.list(ReplicaSet)).items.length, (await client.list(Pod)).items.length]
    await client.create(Deployment, deploymentOf('web', 'v1'))
    await settle(plane)
    await client.delete(Deployment, inDefault('web'), { propagationPolicy: 'Foreground' })
    await clock.advance(100)
    assert.deepEqual(await counts(), [1, 1, 3])
    await settle(plane)
    assert.deepEqual(await counts(), [0, 0, 0])
    await client.create(Deployment, deploymentOf('api', 'v1'))
    await settle(plane)
    await client.delete(Deployment, inDefault('api'), { propagationPolicy: 'Orphan' })
    await settle(plane)
    assert.deepEqual(await counts(), [0, 1, 3])
    const [orphan] = (await client.list(ReplicaSet)).items
    assert.equal(orphan?.metadata.ownerReferences?.length ?? 0, 0)
    await client.delete(ReplicaSet, inDefault(orphan?.metadata.name ?? ''), { propagationPolicy: 'Background' })
    await settle(plane)
    assert.deepEqual(await counts(), [0, 0, 0])
  }))

async function addNode({ client, clock }: ControlPlane, name: string): Promise<void> {
  await client.create(Node, { metadata: { name } })
  const now = rfc3339Seconds(clock.nowMs())
  const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: now, lastTransitionTime: now }]
  await client.patch(Node, { name }, { status: { conditions } }, { type: 'merge', subresource: 'status' })
}

/** Renews the leases of `names` every ten seconds for so long. */
async function beat({ client, clock }: ControlPlane, names: readonly string[], forMs: number): Promise<void> {
  for (let passed = 0; passed < forMs; passed += 10_000) {
    for (const name of names) {
      const spec = { holderIdentity: name, renewTime: rfc3339Micro(clock.nowMs()) }
      const ref = { namespace: 'kube-node-lease', name }
      await client.patch(Lease, ref, { spec }, { type: 'merge' }).catch((error: unknown) => {
        if (!isFault(error, 'notFound')) throw error
        return client.create(Lease, { metadata: ref, spec })
      })
    }
    await clock.advance(10_000)
  }
}

const taintsOf = async ({ client }: ControlPlane, name: string): Promise<string[]> => ((await client.get(Node, { name })).spec.taints ?? []).map(({ key, effect }) => `${key}:${effect}`)

test('a silent node is Unknown after 50 s and tainted, its pods leave the ready ones at once and the node after 300 s', () =>
  story(['system-namespaces', 'node-lifecycle', 'taint-eviction'], async (plane) => {
    const { client, clock } = plane
    await clock.advance(100)
    for (const name of ['alive', 'silent']) await addNode(plane, name)
    await client.create(Pod, podOf('p', { app: 'web' }))
    await client.createSubresource(Pod, inDefault('p'), 'binding', { target: { name: 'silent' } })
    await setReady(plane, 'p', '10.42.0.2', true)
    await beat(plane, ['alive', 'silent'], 20_000)
    assert.deepEqual(await taintsOf(plane, 'silent'), [])
    await beat(plane, ['alive'], 70_000)
    const node = await client.get(Node, { name: 'silent' })
    assert.equal(node.status.conditions?.find(({ type }) => type === 'Ready')?.status, 'Unknown')
    assert.deepEqual(await taintsOf(plane, 'silent'), ['node.kubernetes.io/unreachable:NoSchedule', 'node.kubernetes.io/unreachable:NoExecute'])
    assert.deepEqual(await taintsOf(plane, 'alive'), [])
    const unready = await client.get(Pod, inDefault('p'))
    assert.equal(unready.status.conditions?.find(({ type }) => type === 'Ready')?.status, 'False')
    assert.equal(unready.metadata.deletionTimestamp, undefined)
    await beat(plane, ['alive'], 300_000)
    const evicted = await client.get(Pod, inDefault('p'))
    assert.ok(evicted.metadata.deletionTimestamp !== undefined)
    assert.equal(evicted.status.conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason, 'DeletionByTaintManager')
  }))

test('when no node at all is heard of, nobody is evicted: it is we who are cut off', () =>
  story(['system-namespaces', 'node-lifecycle', 'taint-eviction'], async (plane) => {
    const { client, clock } = plane
    await clock.advance(100)
    await addNode(plane, 'only')
    await client.create(Pod, podOf('p', { app: 'web' }))
    await client.createSubresource(Pod, inDefault('p'), 'binding', { target: { name: 'only' } })
    await clock.advance(600_000)
    assert.deepEqual(await taintsOf(plane, 'only'), ['node.kubernetes.io/unreachable:NoSchedule'])
    assert.equal((await client.get(Pod, inDefault('p'))).metadata.deletionTimestamp, undefined)
  }))

test('pods of a node that was deleted are removed after 40 s', () =>
  story(['pod-garbage'], async (plane) => {
    const { client, clock } = plane
    await addNode(plane, 'gone')
    await client.create(Pod, podOf('p', { app: 'web' }))
    await client.createSubresource(Pod, inDefault('p'), 'binding', { target: { name: 'gone' } })
    await clock.advance(100)
    await client.delete(Node, { name: 'gone' })
    await clock.advance(39_000)
    assert.ok(!(await isGone(client.get(Pod, inDefault('p')))))
    await clock.advance(2000)
    assert.ok(await isGone(client.get(Pod, inDefault('p'))))
  }))
