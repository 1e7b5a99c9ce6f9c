/** The scheduler in virtual time, against the real API core. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import type { ControlPlane } from '#sim/control-plane.ts'
import { startControlPlane } from '#sim/control-plane.ts'
import { Event } from '../api/core/v1/event.ts'
import type { SubmittedNode } from '../api/core/v1/node.ts'
import { Node } from '../api/core/v1/node.ts'
import type { SubmittedPod } from '../api/core/v1/pod.ts'
import { Pod } from '../api/core/v1/pod.ts'
import { Informers } from '../client/informers.ts'
import type { Client } from '../contract/client.ts'
import { Scheduler } from './scheduler.ts'

interface World extends ControlPlane {
  readonly scheduler: Scheduler
}

async function withScheduler(nodes: readonly SubmittedNode[], tell: (world: World) => Promise<void>, wrap: (client: Client) => Client = (client) => client): Promise<void> {
  await using plane = await startControlPlane()
  const { client, clock, random } = plane
  for (const node of nodes) await addNode(client, node)
  await using informers = new Informers({ client, clock, log: silentLogger })
  await using scheduler = new Scheduler({ client: wrap(client), informers, clock, random: random.fork('scheduler'), log: silentLogger })
  await clock.settle()
  await tell(Object.assign(plane, { scheduler }))
}

async function addNode(client: Client, node: SubmittedNode): Promise<void> {
  const created = await client.create(Node, node)
  await client.update(Node, { ...created, status: { ...created.status, ...node.status } }, { subresource: 'status' })
}

function node(name: string, options: { readonly cpu?: string; readonly memory?: string; readonly pods?: string; readonly labels?: Record<string, string>; readonly spec?: SubmittedNode['spec'] } = {}): SubmittedNode {
  const { cpu = '4', memory = '8Gi', pods = '110', labels = {}, spec = {} } = options
  return { metadata: { name, labels }, spec, status: { allocatable: { cpu, memory, pods }, capacity: { cpu, memory, pods } } }
}

function pod(name: string, requests: Record<string, string> = {}, spec: Partial<NonNullable<SubmittedPod['spec']>> = {}): SubmittedPod {
  return { metadata: { namespace: 'default', name }, spec: { containers: [{ name: 'main', image: 'x', resources: { requests } }], ...spec } }
}

const placeOf = async ({ client }: ControlPlane, name: string): Promise<string> => (await client.get(Pod, { namespace: 'default', name })).spec.nodeName ?? ''
const whyOf = async ({ client }: ControlPlane, name: string): Promise<string> =>
  (await client.get(Pod, { namespace: 'default', name })).status.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False')?.message ?? ''

test('pods fill one node before they begin another, and never beyond what it has', () =>
  withScheduler([node('a'), node('b'), node('c')], async (world) => {
    for (let i = 0; i < 6; i += 1) {
      await world.client.create(Pod, pod(`p${i}`, { cpu: '1500m', memory: '1Gi' }))
      await world.clock.settle()
    }
    const places = await Promise.all([0, 1, 2, 3, 4, 5].map((i) => placeOf(world, `p${i}`)))
    assert.deepEqual([...Map.groupBy(places, (place) => place).values()].map(({ length }) => length), [2, 2, 2])
    assert.equal(places[0], places[1])
    await world.client.create(Pod, pod('late', { cpu: '1500m' }))
    await world.clock.settle()
    assert.equal(await whyOf(world, 'late'), '0/3 nodes are available: 3 Insufficient cpu.')
    const { items } = await world.client.list(Event)
    assert.deepEqual(items.filter(({ involvedObject }) => involvedObject.name === 'late').map(({ type, reason, message }) => [type, reason, message]), [['Warning', 'FailedScheduling', '0/3 nodes are available: 3 Insufficient cpu.']])
  }))

test('each rule says why not; the message counts nodes per reason', () =>
  withScheduler(
    [node('off', { spec: { unschedulable: true } }), node('tainted', { spec: { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] } }), node('small', { cpu: '100m', labels: { disk: 'ssd' } }), node('full', { pods: '0', labels: { disk: 'ssd' } }), node('hdd')],
    async (world) => {
      await world.client.create(Pod, pod('p', { cpu: '200m' }, { nodeSelector: { disk: 'ssd' } }))
      await world.clock.settle()
      const expected = "0/5 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable."
      assert.equal(await whyOf(world, 'p'), expected)
      await world.client.create(Pod, pod('q', {}, { tolerations: [{ key: 'gpu', operator: 'Exists' }], affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['tainted'] }] }] } } } }))
      await world.clock.settle()
      assert.equal(await placeOf(world, 'q'), 'tainted')
    },
  ))

test('two pods that publish one host port go to two nodes, a third waits', () =>
  withScheduler([node('a'), node('b')], async (world) => {
    const spec = { containers: [{ name: 'main', image: 'x', ports: [{ containerPort: 80, hostPort: 8080 }] }] }
    for (const name of ['p0', 'p1', 'p2']) await world.client.create(Pod, pod(name, {}, spec))
    await world.clock.settle()
    assert.deepEqual([await placeOf(world, 'p0'), await placeOf(world, 'p1')].toSorted(), ['a', 'b'])
    assert.equal(await whyOf(world, 'p2'), "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.")
  }))

test('a pod that fits nowhere is tried again when a node comes, or room gets free, after its back-off', () =>
  withScheduler([node('a', { cpu: '1' })], async (world) => {
    await world.client.create(Pod, pod('first', { cpu: '1' }))
    await world.clock.settle()
    await world.client.create(Pod, pod('second', { cpu: '1' }))
    await world.client.create(Pod, pod('third', { cpu: '1' }))
    await world.clock.advance(10_000)
    assert.deepEqual([await placeOf(world, 'second'), await placeOf(world, 'third')], ['', ''])
    await world.client.delete(Pod, { namespace: 'default', name: 'first' }, { gracePeriodSeconds: 0 })
    await world.clock.settle()
    assert.deepEqual([await placeOf(world, 'second'), await placeOf(world, 'third')], ['a', ''])
    await addNode(world.client, node('b'))
    await world.clock.advance(2000)
    assert.equal(await placeOf(world, 'third'), 'b')
  }))

test('higher priority goes first; a gated pod and one of another scheduler stay', () =>
  withScheduler([], async (world) => {
    await world.client.create(Pod, pod('low', { cpu: '1' }))
    await world.client.create(Pod, pod('high', { cpu: '1' }, { priorityClassName: 'system-node-critical' }))
    await world.client.create(Pod, pod('gated', {}, { schedulingGates: [{ name: 'wait' }] }))
    await world.client.create(Pod, pod('other', {}, { schedulerName: 'mine' }))
    await world.clock.settle()
    assert.equal(await whyOf(world, 'low'), 'no nodes available to schedule pods')
    await world.clock.advance(5000)
    await addNode(world.client, node('a', { cpu: '1' }))
    await world.clock.advance(2000)
    assert.deepEqual(await Promise.all(['high', 'low', 'gated', 'other'].map((name) => placeOf(world, name))), ['a', '', '', ''])
    assert.equal(await whyOf(world, 'gated'), 'Scheduling is blocked due to non-empty scheduling gates')
  }))

test('a binding that fails is tried again, and its room is not given away meanwhile', async () => {
  let failures = 2
  const wrap = (client: Client): Client => ({
    ...client,
    async createSubresource(...args) {
      if (failures > 0) {
        failures -= 1
        await client.createSubresource(...args).catch((error: unknown) => assert.ok(isFault(error)))
        throw new Error('the connection broke')
      }
      return client.createSubresource(...args)
    },
  })
  await withScheduler(
    [node('a', { cpu: '1' })],
    async (world) => {
      await world.client.create(Pod, pod('p', { cpu: '1' }))
      await world.client.create(Pod, pod('q', { cpu: '1' }))
      await world.clock.advance(5000)
      assert.deepEqual([await placeOf(world, 'p'), await placeOf(world, 'q')].toSorted(), ['', 'a'])
    },
    wrap,
  )
})

test('replicas of one workload spread, other workloads are packed', () =>
  withScheduler([node('a'), node('b'), node('c')], async (world) => {
    const owned = (name: string, uid: string): SubmittedPod => ({ ...pod(name, { cpu: '100m' }), metadata: { namespace: 'default', name, ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: uid, uid, controller: true }] } })
    for (const name of ['w0', 'w1', 'w2']) await world.client.create(Pod, owned(name, 'web'))
    await world.clock.settle()
    const places = await Promise.all(['w0', 'w1', 'w2'].map((name) => placeOf(world, name)))
    assert.equal(new Set(places).size, 3)
  }))

const zone = (name: string, where: string): SubmittedNode => node(name, { labels: { zone: where, 'kubernetes.io/hostname': name } })
const labelled = (name: string, labels: Record<string, string>, spec: Partial<NonNullable<SubmittedPod['spec']>>): SubmittedPod => ({ ...pod(name, {}, spec), metadata: { namespace: 'default', name, labels } })

test('anti-affinity keeps pods apart, also those that came before; affinity keeps them together', () =>
  withScheduler([zone('a1', 'a'), zone('a2', 'a'), zone('b1', 'b')], async (world) => {
    const apart = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone', labelSelector: { matchLabels: { app: 'db' } } }] } }
    for (const name of ['db0', 'db1', 'db2']) {
      await world.client.create(Pod, labelled(name, { app: 'db' }, { affinity: apart }))
      await world.clock.settle()
    }
    const zones = await Promise.all(['db0', 'db1'].map(async (name) => (await placeOf(world, name))[0]))
    assert.deepEqual(zones.toSorted((a = '', b = '') => a.localeCompare(b)), ['a', 'b'])
    assert.match(await whyOf(world, 'db2'), /^0\/3 nodes are available: 3 node\(s\) didn't (satisfy existing pods anti-affinity rules|match pod anti-affinity rules)\.$/)
    const together = { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'cache' } } }] } }
    await world.client.create(Pod, labelled('near', { app: 'web' }, { affinity: together }))
    await world.clock.settle()
    assert.equal(await whyOf(world, 'near'), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.")
    await world.client.create(Pod, labelled('cache0', { app: 'cache' }, { affinity: together }))
    await world.clock.advance(3000)
    assert.equal(await placeOf(world, 'near'), await placeOf(world, 'cache0'))
    assert.notEqual(await placeOf(world, 'near'), '')
  }))

test('a spread constraint bounds how uneven places may be', () =>
  withScheduler([zone('a1', 'a'), zone('a2', 'a'), zone('b1', 'b'), node('bare')], async (world) => {
    const spec = { topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' as const, labelSelector: { matchLabels: { app: 'web' } } }] }
    for (let i = 0; i < 4; i += 1) {
      await world.client.create(Pod, labelled(`w${i}`, { app: 'web' }, spec))
      await world.clock.settle()
    }
    const zones = await Promise.all([0, 1, 2, 3].map(async (i) => (await placeOf(world, `w${i}`))[0]))
    assert.deepEqual(zones.toSorted((a = '', b = '') => a.localeCompare(b)), ['a', 'a', 'b', 'b'])
    await world.client.patch(Node, { name: 'b1' }, { spec: { unschedulable: true } }, { type: 'merge' })
    await world.clock.settle()
    await world.client.create(Pod, labelled('w4', { app: 'web' }, spec))
    await world.clock.settle()
    await world.client.create(Pod, labelled('w5', { app: 'web' }, spec))
    await world.clock.settle()
    assert.equal((await placeOf(world, 'w4'))[0], 'a')
    assert.equal(await whyOf(world, 'w5'), "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints.")
  }))
