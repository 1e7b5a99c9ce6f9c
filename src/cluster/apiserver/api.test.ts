/** The API core, over the store in memory and virtual time: what Kubernetes' API conventions promise for any kind, and the strategies of some. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { virtualClock, type VirtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import { Deployment } from '../api/apps/v1/deployment.ts'
import { ConfigMap } from '../api/core/v1/config-map.ts'
import { Event } from '../api/core/v1/event.ts'
import { Namespace } from '../api/core/v1/namespace.ts'
import { Pod, type SubmittedPod } from '../api/core/v1/pod.ts'
import { Secret } from '../api/core/v1/secret.ts'
import { Service } from '../api/core/v1/service.ts'
import { ServiceAccount } from '../api/core/v1/service-account.ts'
import { Event as EventView } from '../api/events/v1/event.ts'
import { allKinds } from '../api/index.ts'
import type { Client, WatchEvent } from '../contract/client.ts'
import type { Store } from '../contract/store.ts'
import { openMemoryStore } from '../store/memory/store.ts'
import { createApi, type Api } from './api.ts'
import { localClient } from './local-client.ts'

interface World {
  readonly api: Api
  readonly client: Client
  readonly clock: VirtualClock
  readonly store: Store
}

async function withWorld(body: (world: World) => Promise<void>, store = openMemoryStore()): Promise<void> {
  const clock = virtualClock()
  const api = await createApi({ store, kinds: allKinds, clock, random: seededRandom(1), log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 30_002] } })
  const client = localClient({ api })
  try {
    await client.create(Namespace, { metadata: { name: 'default' } })
    await client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' } })
    await body({ api, client, clock, store })
  } finally {
    await api.close()
    await store.close()
  }
}

const inDefault = (name: string): { readonly namespace: string; readonly name: string } => ({ namespace: 'default', name })
const configMap = (name: string, data: Record<string, string> = {}): { metadata: { name: string; namespace: string }; data: Record<string, string> } => ({ metadata: inDefault(name), data })
const pod = (name: string, spec: object = {}): SubmittedPod => ({ metadata: inDefault(name), spec: { containers: [{ name: 'main', image: 'busybox:1' }], ...spec } })
const refused = (code: Parameters<typeof isFault>[1], pattern: RegExp = /./) => (error: unknown): boolean => {
  assert.ok(isFault(error, code), `expected ${code}, got ${String(error)}`)
  assert.match(error.message, pattern)
  return true
}

test('create assigns identity, fills defaults, and refuses a second object of that name', () =>
  withWorld(async ({ client }) => {
    const created = await client.create(Deployment, {
      metadata: inDefault('web'),
      spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'nginx' }] } } },
    })
    assert.match(created.metadata.uid, /^[0-9a-f-]{36}$/)
    assert.equal(created.metadata.generation, 1)
    assert.equal(created.metadata.creationTimestamp, '2026-01-01T00:00:00Z')
    assert.equal(created.spec.replicas, 1)
    assert.ok(Object.isFrozen(created.spec.template))
    assert.deepEqual(await client.get(Deployment, inDefault('web')), created)
    await assert.rejects(client.create(ConfigMap, configMap('a')).then(() => client.create(ConfigMap, configMap('a'))), refused('alreadyExists', /configmaps "a" already exists/))
  }))

test('generateName yields different names, and neither name nor generateName is refused', () =>
  withWorld(async ({ client }) => {
    const names = new Set<string>()
    for (let count = 0; count < 20; count += 1) names.add((await client.create(ConfigMap, { metadata: { generateName: 'x-', namespace: 'default' } })).metadata.name)
    assert.equal(names.size, 20)
    assert.ok([...names].every((name) => /^x-[a-z0-9]{5}$/.test(name)))
    await assert.rejects(client.create(ConfigMap, { metadata: { namespace: 'default' } }), refused('unprocessable', /name or generateName is required/))
  }))

test('an update guarded by an old version is a conflict, one without a version wins, one without change writes nothing', () =>
  withWorld(async ({ client, store }) => {
    const first = await client.create(ConfigMap, configMap('a', { k: '1' }))
    const second = await client.update(ConfigMap, { ...first, data: { k: '2' } })
    await assert.rejects(client.update(ConfigMap, { ...first, data: { k: '3' } }), refused('conflict', /the object has been modified/))
    const before = store.revision()
    assert.equal((await client.update(ConfigMap, second)).metadata.resourceVersion, second.metadata.resourceVersion)
    assert.equal(store.revision(), before)
    assert.equal((await client.update(ConfigMap, configMap('a', { k: '4' }))).data?.['k'], '4')
    await assert.rejects(client.update(ConfigMap, { ...configMap('a'), metadata: { ...inDefault('a'), uid: 'other' } }), refused('conflict', /UID in precondition/))
  }))

test('generation counts changes of the desired state; spec and status are written through doors of their own', () =>
  withWorld(async ({ client }) => {
    const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'nginx' }] } }
    const created = await client.create(Deployment, { metadata: inDefault('web'), spec: { selector: { matchLabels: { app: 'web' } }, template } })
    const scaled = await client.update(Deployment, { ...created, spec: { ...created.spec, replicas: 3 }, status: { replicas: 9 } })
    assert.equal(scaled.metadata.generation, 2)
    assert.equal(scaled.status.replicas ?? 0, 0)
    const reported = await client.update(Deployment, { ...scaled, spec: { ...scaled.spec, replicas: 7 }, status: { ...scaled.status, replicas: 3 } }, { subresource: 'status' })
    assert.equal(reported.metadata.generation, 2)
    assert.equal(reported.spec.replicas, 3)
    assert.equal(reported.status.replicas, 3)
    const labelled = await client.patch(Deployment, inDefault('web'), { metadata: { labels: { a: 'b' } } }, { type: 'merge' })
    assert.equal(labelled.metadata.generation, 2)
  }))

test('invalid objects are refused with a cause per field', () =>
  withWorld(async ({ client }) => {
    await assert.rejects(client.create(Pod, { metadata: inDefault('p'), spec: { containers: [{ name: 'UPPER', image: 'x' }] } }), (error) => {
      assert.ok(isFault(error, 'unprocessable'))
      assert.ok(error.causes.some(({ field }) => field === 'spec.containers[0].name'), JSON.stringify(error.causes))
      return /^Pod "p" is invalid: /.test(error.message)
    })
  }))

test('concurrent patches of one object all take effect', () =>
  withWorld(async ({ client }) => {
    await client.create(ConfigMap, configMap('a'))
    await Promise.all(Array.from({ length: 12 }, (_, index) => client.patch(ConfigMap, inDefault('a'), { data: { [`k${index}`]: 'v' } }, { type: 'merge' })))
    assert.equal(Object.keys((await client.get(ConfigMap, inDefault('a'))).data ?? {}).length, 12)
  }))

test('a JSON patch is atomic, its test guards, and odd pointers are refused', () =>
  withWorld(async ({ client }) => {
    await client.create(ConfigMap, configMap('a', { k: '1' }))
    const patch = (operations: readonly object[]): Promise<unknown> => client.patch(ConfigMap, inDefault('a'), operations, { type: 'json' })
    await patch([{ op: 'test', path: '/data/k', value: '1' }, { op: 'add', path: '/data/l', value: '2' }])
    await assert.rejects(patch([{ op: 'remove', path: '/data/l' }, { op: 'test', path: '/data/k', value: '9' }]), refused('unprocessable'))
    await assert.rejects(patch([{ op: 'add', path: '/__proto__/x', value: 1 }]), refused('invalidArgument', /__proto__/))
    await assert.rejects(patch([{ op: 'add', path: '/metadata/finalizers/01', value: 'a/b' }]), refused('invalidArgument', /leading zero/))
    assert.deepEqual({ ...(await client.get(ConfigMap, inDefault('a'))).data }, { k: '1', l: '2' })
  }))

test('finalizers hold a deleted object until the last one is gone; no new one may be added', () =>
  withWorld(async ({ client }) => {
    const created = await client.create(ConfigMap, { ...configMap('a'), metadata: { ...inDefault('a'), finalizers: ['example.com/a', 'example.com/b'] } })
    await client.delete(ConfigMap, inDefault('a'))
    const dying = await client.get(ConfigMap, inDefault('a'))
    assert.equal(dying.metadata.deletionTimestamp, '2026-01-01T00:00:00Z')
    await assert.rejects(client.update(ConfigMap, { ...dying, metadata: { ...dying.metadata, finalizers: ['example.com/a', 'example.com/c'] } }), refused('unprocessable', /no new finalizers/))
    await client.update(ConfigMap, { ...dying, metadata: { ...dying.metadata, finalizers: ['example.com/b'] } })
    await client.patch(ConfigMap, inDefault('a'), { metadata: { finalizers: null } }, { type: 'merge' })
    await assert.rejects(client.get(ConfigMap, inDefault('a')), refused('notFound', /configmaps "a" not found/))
    assert.notEqual((await client.create(ConfigMap, configMap('a'))).metadata.uid, created.metadata.uid)
  }))

test('propagation policies leave their finalizer for the garbage collector, preconditions guard a deletion', () =>
  withWorld(async ({ client }) => {
    const created = await client.create(ConfigMap, configMap('a'))
    await assert.rejects(client.delete(ConfigMap, inDefault('a'), { preconditions: { uid: 'other' } }), refused('conflict'))
    await client.delete(ConfigMap, inDefault('a'), { propagationPolicy: 'Foreground', preconditions: { uid: created.metadata.uid } })
    assert.deepEqual((await client.get(ConfigMap, inDefault('a'))).metadata.finalizers, ['foregroundDeletion'])
  }))

test('a pod that runs waits for its kubelet, one that does not goes at once', () =>
  withWorld(async ({ client }) => {
    await client.create(Pod, pod('waiting'))
    await client.delete(Pod, inDefault('waiting'))
    await assert.rejects(client.get(Pod, inDefault('waiting')), refused('notFound'))
    await client.create(Pod, pod('running'))
    await client.createSubresource(Pod, inDefault('running'), 'binding', { target: { kind: 'Node', name: 'n1' } })
    await assert.rejects(client.createSubresource(Pod, inDefault('running'), 'binding', { target: { kind: 'Node', name: 'n2' } }), refused('conflict', /already assigned to node "n1"/))
    await client.delete(Pod, inDefault('running'))
    const dying = await client.get(Pod, inDefault('running'))
    assert.equal(dying.metadata.deletionGracePeriodSeconds, 30)
    assert.equal(dying.metadata.deletionTimestamp, '2026-01-01T00:00:30Z')
    await client.delete(Pod, inDefault('running'), { gracePeriodSeconds: 5 })
    assert.equal((await client.get(Pod, inDefault('running'))).metadata.deletionTimestamp, '2026-01-01T00:00:05Z')
    await client.update(Pod, { ...dying, metadata: { ...dying.metadata, resourceVersion: undefined }, status: { ...dying.status, phase: 'Running' } }, { subresource: 'status' })
    await client.delete(Pod, inDefault('running'), { gracePeriodSeconds: 0 })
    await assert.rejects(client.get(Pod, inDefault('running')), refused('notFound'))
  }))

test('a new pod gets service account, token volume, tolerations and QoS class', () =>
  withWorld(async ({ client }) => {
    const { spec, status } = await client.create(Pod, pod('p', { containers: [{ name: 'c', image: 'x', resources: { limits: { cpu: '1', memory: '1Gi' } } }] }))
    assert.equal(spec.serviceAccountName, 'default')
    assert.equal(spec.volumes?.length, 1)
    assert.equal(spec.containers[0]?.volumeMounts?.[0]?.mountPath, '/var/run/secrets/kubernetes.io/serviceaccount')
    assert.deepEqual(spec.tolerations?.map(({ key }) => key), ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'])
    assert.equal(status.phase, 'Pending')
    assert.equal(status.qosClass, 'Guaranteed')
    await assert.rejects(client.create(Pod, pod('q', { serviceAccountName: 'nobody' })), refused('permissionDenied', /serviceaccount "nobody" not found/))
  }))

test('services get distinct addresses and node ports until the ranges are full, and give them back', () =>
  withWorld(async ({ client }) => {
    const service = (name: string, spec: object = {}) => client.create(Service, { metadata: inDefault(name), spec: { selector: { app: 'a' }, ports: [{ port: 80 }], ...spec } })
    const created = await Promise.all(Array.from({ length: 20 }, (_, index) => service(`s${index}`)))
    assert.equal(new Set(created.map(({ spec }) => spec.clusterIP)).size, 20)
    const ported = await Promise.all([0, 1, 2].map((index) => service(`n${index}`, { type: 'NodePort' })))
    assert.deepEqual(ported.map(({ spec }) => spec.ports?.[0]?.nodePort ?? 0).sort((a, b) => a - b), [30_000, 30_001, 30_002])
    await assert.rejects(service('n3', { type: 'NodePort' }), refused('unprocessable', /range 30000-30002 is full/))
    await client.delete(Service, inDefault('n0'))
    assert.equal((await service('n3', { type: 'NodePort' })).spec.ports?.[0]?.nodePort, ported[0]?.spec.ports?.[0]?.nodePort)
    assert.equal((await service('dns', { clusterIP: '10.43.0.10' })).spec.clusterIP, '10.43.0.10')
    await assert.rejects(service('dns2', { clusterIP: '10.43.0.10' }), refused('unprocessable', /already allocated/))
    await assert.rejects(service('far', { clusterIP: '10.9.0.1' }), refused('unprocessable', /not in the valid range/))
    assert.equal((await service('headless', { clusterIP: 'None' })).spec.clusterIP, 'None')
    const one = await client.get(Service, inDefault('s0'))
    assert.equal((await client.update(Service, { ...one, spec: { ...one.spec, clusterIP: undefined, clusterIPs: undefined, ports: [{ port: 81 }] } })).spec.clusterIP, one.spec.clusterIP)
  }))

test('nothing is created in a namespace that is missing or going; a namespace goes when it was emptied', () =>
  withWorld(async ({ client }) => {
    await assert.rejects(client.create(ConfigMap, { metadata: { name: 'a', namespace: 'nowhere' } }), refused('notFound', /namespaces "nowhere" not found/))
    await assert.rejects(client.delete(Namespace, { name: 'default' }), refused('permissionDenied'))
    const created = await client.create(Namespace, { metadata: { name: 'going' } })
    assert.deepEqual(created.spec.finalizers, ['kubernetes'])
    await client.delete(Namespace, { name: 'going' })
    const going = await client.get(Namespace, { name: 'going' })
    assert.equal(going.status.phase, 'Terminating')
    await assert.rejects(client.create(ConfigMap, { metadata: { name: 'a', namespace: 'going' } }), refused('permissionDenied', /being terminated/))
    await client.update(Namespace, { ...going, spec: { finalizers: [] } }, { subresource: 'finalize' })
    await assert.rejects(client.get(Namespace, { name: 'going' }), refused('notFound'))
  }))

test('pages of a list are one snapshot, whatever is written between them', () =>
  withWorld(async ({ client }) => {
    for (let index = 0; index < 10; index += 1) await client.create(ConfigMap, configMap(`c${index}`, { v: 'old' }))
    const first = await client.list(ConfigMap, { namespace: 'default', limit: 4 })
    assert.equal(first.remainingItemCount, 6)
    await client.patch(ConfigMap, inDefault('c5'), { data: { v: 'new' } }, { type: 'merge' })
    await client.delete(ConfigMap, inDefault('c6'))
    await client.create(ConfigMap, configMap('c55'))
    const second = await client.list(ConfigMap, { namespace: 'default', limit: 4, continue: first.continue })
    const third = await client.list(ConfigMap, { namespace: 'default', limit: 4, continue: second.continue })
    assert.deepEqual([...second.items, ...third.items].map(({ metadata, data }) => `${metadata.name} ${data?.['v']}`), ['c4 old', 'c5 old', 'c6 old', 'c7 old', 'c8 old', 'c9 old'])
    assert.equal(third.continue, undefined)
    assert.equal(second.resourceVersion, first.resourceVersion)
    await assert.rejects(client.list(ConfigMap, { continue: 'bogus' }), refused('invalidArgument'))
  }))

async function take<T>(events: AsyncIterable<WatchEvent<T>>, count: number): Promise<WatchEvent<T>[]> {
  const taken: WatchEvent<T>[] = []
  for await (const event of events) {
    taken.push(event)
    if (taken.length === count) break
  }
  return taken
}

test('a watch follows a list without gap, and an object that leaves the selection is DELETED to it', () =>
  withWorld(async ({ client }) => {
    await client.create(ConfigMap, { ...configMap('a'), metadata: { ...inDefault('a'), labels: { app: 'x' } } })
    const { resourceVersion } = await client.list(ConfigMap)
    await client.patch(ConfigMap, inDefault('a'), { data: { v: '1' } }, { type: 'merge' })
    await client.patch(ConfigMap, inDefault('a'), { metadata: { labels: { app: 'y' } } }, { type: 'merge' })
    await client.patch(ConfigMap, inDefault('a'), { metadata: { labels: { app: 'x' } } }, { type: 'merge' })
    await client.delete(ConfigMap, inDefault('a'))
    const events = await take(client.watch(ConfigMap, { resourceVersion, labelSelector: 'app=x' }), 4)
    assert.deepEqual(events.map(({ type }) => type), ['MODIFIED', 'DELETED', 'ADDED', 'DELETED'])
    const versions = events.map((event) => BigInt(event.type === 'BOOKMARK' ? event.resourceVersion : event.object.metadata.resourceVersion))
    assert.deepEqual(versions, versions.toSorted((a, b) => (a < b ? -1 : 1)))
    assert.equal(new Set(versions).size, 4)
  }))

test('a watch of one node sees pods come to it and leave it, whatever else moves', () =>
  withWorld(async ({ client }) => {
    const { resourceVersion } = await client.list(Pod)
    const reading = take(client.watch(Pod, { resourceVersion, fieldSelector: 'spec.nodeName=n1' }), 3)
    for (const [name, node] of [['a', 'n1'], ['b', 'n2'], ['c', 'n1']] as const) {
      await client.create(Pod, pod(name))
      await client.createSubresource(Pod, inDefault(name), 'binding', { target: { kind: 'Node', name: node } })
    }
    await client.delete(Pod, inDefault('a'), { gracePeriodSeconds: 0 })
    assert.deepEqual((await reading).map((event) => `${event.type} ${event.type === 'BOOKMARK' ? '' : event.object.metadata.name}`), ['ADDED a', 'ADDED c', 'DELETED a'])
  }))

test('bookmarks come with time, a watch ends at its timeout, an abort ends it quietly', () =>
  withWorld(async ({ client, clock }) => {
    const { resourceVersion } = await client.list(ConfigMap)
    const events: string[] = []
    const reading = (async () => {
      for await (const event of client.watch(ConfigMap, { resourceVersion, timeoutSeconds: 90 })) events.push(event.type)
    })()
    await clock.advance(95_000)
    await reading
    assert.deepEqual(events, ['BOOKMARK', 'BOOKMARK'])
    const controller = new AbortController()
    const quiet = take(client.watch(ConfigMap, { resourceVersion, signal: controller.signal }), 1)
    await clock.settle()
    controller.abort()
    assert.deepEqual(await quiet, [])
  }))

test('field selectors choose by the fields a kind offers', () =>
  withWorld(async ({ client }) => {
    await client.create(Pod, pod('a', { nodeName: 'n1' }))
    await client.create(Pod, pod('b'))
    assert.deepEqual((await client.list(Pod, { fieldSelector: 'spec.nodeName=n1' })).items.map(({ metadata }) => metadata.name), ['a'])
    assert.deepEqual((await client.list(Pod, { fieldSelector: 'metadata.name!=a,status.phase=Pending' })).items.map(({ metadata }) => metadata.name), ['b'])
    await assert.rejects(client.list(Pod, { fieldSelector: 'spec.hostname=x' }), refused('invalidArgument', /field label not supported/))
  }))

test('a server that starts again over the same store answers the same, and watches from before go on', async () => {
  const store = openMemoryStore()
  const random = seededRandom(3)
  const make = (): Promise<Api> => createApi({ store, kinds: allKinds, clock: virtualClock(), random, log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  const first = await make()
  const before = localClient({ api: first })
  await before.create(Namespace, { metadata: { name: 'default' } })
  const created = await before.create(ConfigMap, configMap('a', { __proto__x: '1' }))
  await before.update(ConfigMap, { ...created, data: { k: '2' } })
  await first.close()
  const second = await make()
  const after = localClient({ api: second })
  assert.equal((await after.get(ConfigMap, inDefault('a'))).data?.['k'], '2')
  const [event] = await take(after.watch(ConfigMap, { resourceVersion: created.metadata.resourceVersion }), 1)
  assert.equal(event?.type, 'MODIFIED')
  await second.close()
})

test('a dry run answers as if, and stores nothing', () =>
  withWorld(async ({ client }) => {
    assert.equal((await client.create(ConfigMap, configMap('a'), { dryRun: true })).metadata.name, 'a')
    await assert.rejects(client.get(ConfigMap, inDefault('a')), refused('notFound'))
  }))

test('an event has two faces, one store; and is forgotten an hour after it was last written', () =>
  withWorld(async ({ client, clock }) => {
    await client.create(EventView, {
      metadata: inDefault('e'),
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'test',
      reportingInstance: 'one',
      action: 'Testing',
      reason: 'Tested',
      type: 'Normal',
      note: 'it was tested',
      regarding: { kind: 'Pod', namespace: 'default', name: 'p' },
    })
    const event = await client.get(Event, inDefault('e'))
    assert.equal(event.message, 'it was tested')
    assert.equal(event.involvedObject.name, 'p')
    assert.equal((await client.list(EventView, { fieldSelector: 'regarding.name=p' })).items[0]?.note, 'it was tested')
    await client.patch(EventView, inDefault('e'), { note: 'again' }, { type: 'merge' })
    const [seen] = await take(client.watch(EventView, { resourceVersion: event.metadata.resourceVersion }), 1)
    assert.ok(seen?.type === 'MODIFIED' && seen.object.note === 'again' && seen.object.apiVersion === 'events.k8s.io/v1')
    assert.deepEqual((await client.list(Event, {})).items.map(({ metadata }) => metadata.uid), (await client.list(EventView, {})).items.map(({ metadata }) => metadata.uid))
    await assert.rejects(client.patch(EventView, inDefault('e'), { metadata: { resourceVersion: event.metadata.resourceVersion }, note: 'stale' }, { type: 'merge' }), refused('conflict'))
    await clock.advance(50 * 60_000)
    assert.equal((await client.get(Event, inDefault('e'))).message, 'again')
    await clock.advance(20 * 60_000)
    await assert.rejects(client.get(Event, inDefault('e')), refused('notFound'))
  }))

test('history is compacted in time: what is older than ten minutes expires, recent pages and watches go on', () =>
  withWorld(async ({ client, clock, store }) => {
    const created = await client.create(ConfigMap, configMap('a'))
    for (let index = 0; index < 5; index += 1) await client.patch(ConfigMap, inDefault('a'), { data: { v: String(index) } }, { type: 'merge' })
    const before = store.revision()
    await clock.advance(11 * 60_000)
    assert.equal(store.compactedRevision(), before)
    assert.ok(BigInt(created.metadata.resourceVersion) < before)
    assert.equal((await client.get(ConfigMap, inDefault('a'))).data?.['v'], '4')
  }))

test('secrets fold stringData into data', () =>
  withWorld(async ({ client }) => {
    const secret = await client.create(Secret, { metadata: inDefault('s'), stringData: { password: 'x' } })
    assert.equal(secret.data?.['password'], 'eA==')
  }))
