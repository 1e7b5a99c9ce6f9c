/** The node agent against the real API core, a simulated runtime and virtual time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger, silentLogger } from '#base/log.ts'
import type { VirtualClock } from '#sim/clock.ts'
import { virtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import { Lease } from '../../api/coordination/v1/lease.ts'
import { ConfigMap } from '../../api/core/v1/config-map.ts'
import { Event } from '../../api/core/v1/event.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { Node } from '../../api/core/v1/node.ts'
import type { SubmittedPod } from '../../api/core/v1/pod.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Secret } from '../../api/core/v1/secret.ts'
import { ServiceAccount } from '../../api/core/v1/service-account.ts'
import { Service } from '../../api/core/v1/service.ts'
import { allKinds } from '../../api/index.ts'
import { createApi } from '../../apiserver/api.ts'
import { localClient } from '../../apiserver/local-client.ts'
import type { Client } from '../../contract/client.ts'
import { openMemoryStore } from '../../store/memory/store.ts'
import type { SimulatedFiles } from '../simulated/machine.ts'
import { simulatedFiles, simulatedNetwork } from '../simulated/machine.ts'
import type { Program, SimulatedRuntime } from '../simulated/runtime.ts'
import { simulatedRuntime } from '../simulated/runtime.ts'
import type { NodeAgent } from './agent.ts'
import { startNodeAgent } from './agent.ts'

interface World {
  readonly client: Client
  readonly clock: VirtualClock
  readonly runtime: SimulatedRuntime
  readonly files: SimulatedFiles
  agent: NodeAgent
  startAgent(): Promise<NodeAgent>
  /** Lets time pass until `condition` holds. */
  readonly until: (condition: () => Promise<boolean>, what: string) => Promise<void>
}

interface WorldOptions {
  readonly programs?: Readonly<Record<string, Program>>
  readonly http?: (port: number) => number
}

async function withWorld(options: WorldOptions, body: (world: World) => Promise<void>): Promise<void> {
  const clock = virtualClock()
  const random = seededRandom(7)
  const store = openMemoryStore()
  const api = await createApi({ store, kinds: allKinds, clock, random, log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  const client = localClient({ api })
  await client.create(Namespace, { metadata: { name: 'default' } })
  await client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' }, automountServiceAccountToken: false })
  const runtime = simulatedRuntime({ clock, random, present: ['web:1'], program: (config) => options.programs?.[config.name] ?? {}, registry: (reference) => !reference.startsWith('missing') })
  const files = simulatedFiles()
  const network = simulatedNetwork({ http: ({ port }) => options.http?.(port) ?? 200 })
  const log = process.env['BERTH_TEST_LOG'] === '1' ? createLogger({ name: 'agent' }) : silentLogger
  const startAgent = (): Promise<NodeAgent> => {
    const info = { machineID: 'm', systemUUID: 'm', bootID: 'b', kernelVersion: '6.1', osImage: 'Test', kubeletVersion: 'v1.36.0', kubeProxyVersion: 'v1.36.0', operatingSystem: 'linux', architecture: 'amd64' }
    const capacity = { cpu: '2', memory: '4Gi', pods: '110' }
    const node = { name: 'n1', hostname: 'n1', addresses: ['192.0.2.1'], labels: {}, port: 10_250, capacity, allocatable: capacity, info, podCidr: '10.42.0.0/24' }
    return startNodeAgent({ client, runtime, files, network, clock, random, log, node, folders: { root: '/k', logs: '/logs' }, clusterDns: { addresses: ['10.43.0.10'], domain: 'cluster.local' } })
  }
  const until = async (condition: () => Promise<boolean>, what: string): Promise<void> => {
    for (let steps = 0; steps < 600; steps += 1) {
      if (await condition()) return
      await clock.advance(500)
    }
    const { items } = await client.list(Pod, {})
    assert.fail(`never came true: ${what}; pods: ${JSON.stringify(items.map(({ metadata, status }) => [metadata.name, status]))}`)
  }
  const world: World = { client, clock, runtime, files, agent: await startAgent(), startAgent, until }
  try {
    await body(world)
  } finally {
    await world.agent.close()
    await api.close()
    await store.close()
  }
}

function pod(name: string, spec: Partial<NonNullable<SubmittedPod['spec']>> = {}, labels: Record<string, string> = {}): SubmittedPod {
  return { metadata: { name, namespace: 'default', labels }, spec: { nodeName: 'n1', containers: [{ name: 'web', image: 'web:1' }], ...spec } }
}

const ref = (name: string): { namespace: string; name: string } => ({ namespace: 'default', name })

async function isReady(client: Client, name: string): Promise<boolean> {
  const { status } = await client.get(Pod, ref(name))
  return (status.conditions ?? []).some(({ type, status: value }) => type === 'Ready' && value === 'True')
}

async function isGone(client: Client, name: string): Promise<boolean> {
  const { items } = await client.list(Pod, { namespace: 'default' })
  return !items.some(({ metadata }) => metadata.name === name)
}

test('the node registers itself, is Ready, and renews its lease every ten seconds', () =>
  withWorld({}, async ({ client, clock }) => {
    const node = await client.get(Node, { name: 'n1' })
    assert.equal(node.spec.podCIDR, '10.42.0.0/24')
    assert.equal(node.status.conditions?.find(({ type }) => type === 'Ready')?.status, 'True')
    assert.equal(node.status.nodeInfo.containerRuntimeVersion, 'berth://simulated')
    await clock.advance(1000)
    const first = await client.get(Lease, { namespace: 'kube-node-lease', name: 'n1' })
    await clock.advance(20_000)
    const later = await client.get(Lease, { namespace: 'kube-node-lease', name: 'n1' })
    assert.ok(Date.parse(later.spec.renewTime ?? '') - Date.parse(first.spec.renewTime ?? '') >= 19_000)
  }))

test('a pod bound to the node runs, reports its addresses, and writes events', () =>
  withWorld({}, async ({ client, clock, until, files }) => {
    await client.create(Pod, pod('a'))
    await until(() => isReady(client, 'a'), 'a is Ready')
    await clock.settle()
    const { status, metadata } = await client.get(Pod, ref('a'))
    assert.equal(status.phase, 'Running')
    assert.match(status.podIP ?? '', /^10\.42\.0\./)
    assert.equal(status.hostIP, '192.0.2.1')
    assert.match(status.containerStatuses?.[0]?.containerID ?? '', /^berth:\/\/[0-9a-f]{64}$/)
    const { items } = await client.list(Event, { namespace: 'default' })
    assert.deepEqual(items.filter(({ involvedObject }) => involvedObject.name === 'a').map(({ reason }) => reason), ['Pulled', 'Created', 'Started'])
    assert.match(files.text(`/k/pods/${metadata.uid}/hosts`) ?? '', new RegExp(`${status.podIP}\ta\n`))
  }))

test('deletion stops the containers, cleans the node and removes the object', () =>
  withWorld({ programs: { web: { stopAfterMs: 2000 } } }, async ({ client, clock, until, runtime, files }) => {
    await client.create(Pod, pod('a'))
    await until(() => isReady(client, 'a'), 'a is Ready')
    await client.delete(Pod, ref('a'))
    await clock.advance(1000)
    assert.equal((await client.get(Pod, ref('a'))).status.phase, 'Running', 'still ending')
    await until(() => isGone(client, 'a'), 'a is gone')
    assert.deepEqual(await runtime.sandboxes(), [])
    assert.deepEqual(await runtime.containers(), [])
    assert.deepEqual([...files.contents.keys()].filter((path) => path.startsWith('/k/pods')), [])
  }))

test('a restarted agent takes over what runs: the same container goes on, its exit is still noticed', () =>
  withWorld({}, async (world) => {
    const { client, clock, runtime, until } = world
    await client.create(Pod, pod('a'))
    await until(() => isReady(client, 'a'), 'a is Ready')
    const before = (await client.get(Pod, ref('a'))).status.containerStatuses?.[0]?.containerID
    await world.agent.close()
    await clock.advance(60_000)
    world.agent = await world.startAgent()
    await clock.advance(5000)
    const after = await client.get(Pod, ref('a'))
    assert.equal(after.status.containerStatuses?.[0]?.containerID, before)
    assert.equal((await runtime.containers()).length, 1)
    runtime.exit((before ?? '').replace('berth://', ''), 1)
    await until(async () => (await client.get(Pod, ref('a'))).status.containerStatuses?.[0]?.restartCount === 1, 'a is restarted')
  }))

test('a pod deleted while the agent was down is ended after the API has confirmed it; one that exits meanwhile is restarted', () =>
  withWorld({}, async (world) => {
    const { client, clock, runtime, until } = world
    await client.create(Pod, pod('gone'))
    await client.create(Pod, pod('stays'))
    await until(async () => (await isReady(client, 'gone')) && (await isReady(client, 'stays')), 'both are Ready')
    await world.agent.close()
    await client.delete(Pod, ref('gone'), { gracePeriodSeconds: 0 })
    const stays = (await runtime.containers()).find((container) => container.pod.name === 'stays')
    assert.ok(stays)
    runtime.exit(stays.id, 3)
    world.agent = await world.startAgent()
    await until(async () => (await runtime.containers()).every((container) => container.pod.name !== 'gone'), 'gone is removed')
    await until(async () => (await client.get(Pod, ref('stays'))).status.containerStatuses?.[0]?.restartCount === 1, 'stays is restarted')
    const status = (await client.get(Pod, ref('stays'))).status.containerStatuses?.[0]
    assert.equal(status?.lastState.terminated?.exitCode, 3)
    await clock.settle()
  }))

test('after a reboot of the machine pods get a new sandbox and run again', () =>
  withWorld({}, async (world) => {
    const { client, runtime, until } = world
    await client.create(Pod, pod('a'))
    await until(() => isReady(client, 'a'), 'a is Ready')
    await world.agent.close()
    runtime.reboot()
    world.agent = await world.startAgent()
    await until(async () => (await isReady(client, 'a')) && (await client.get(Pod, ref('a'))).status.containerStatuses?.[0]?.restartCount === 1, 'a runs again')
    assert.equal((await runtime.sandboxes()).filter(({ state }) => state === 'ready').length, 1)
  }))

test('readiness follows the HTTP probe', () => {
  let healthy = false
  return withWorld({ http: () => (healthy ? 200 : 503) }, async ({ client, clock, until }) => {
    const readinessProbe = { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1, failureThreshold: 1 }
    await client.create(Pod, pod('a', { containers: [{ name: 'web', image: 'web:1', ports: [{ name: 'http', containerPort: 8080 }], readinessProbe }] }))
    await clock.advance(5000)
    assert.equal(await isReady(client, 'a'), false)
    healthy = true
    await until(() => isReady(client, 'a'), 'a is Ready')
    healthy = false
    await until(async () => !(await isReady(client, 'a')), 'a is not Ready any more')
  })
})

test('environment and volumes come from ConfigMap, Secret and the downward API; files follow changes', () =>
  withWorld({}, async ({ client, clock, until, runtime, files }) => {
    await client.create(Service, { metadata: { name: 'db-main', namespace: 'default' }, spec: { clusterIP: '10.43.0.77', ports: [{ port: 5432 }] } })
    await client.create(Secret, { metadata: { name: 'login', namespace: 'default' }, data: { password: Buffer.from('s3cret').toString('base64') } })
    const volumes = [
      { name: 'conf', configMap: { name: 'settings' } },
      { name: 'info', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
    ]
    const env = [
      { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'login', key: 'password' } } },
      { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'URL', value: 'db://$(PASSWORD)@$(DB_MAIN_SERVICE_HOST)/$$(X)' },
    ]
    const container = { name: 'web', image: 'web:1', env, envFrom: [{ configMapRef: { name: 'settings' }, prefix: 'C_' }], args: ['--as=$(POD)'], volumeMounts: [{ name: 'conf', mountPath: '/conf' }] }
    const created = await client.create(Pod, pod('a', { containers: [container], volumes }, { app: 'x' }))
    await clock.advance(3000)
    assert.equal((await client.get(Pod, ref('a'))).status.phase, 'Pending', 'the ConfigMap is missing')
    await client.create(ConfigMap, { metadata: { name: 'settings', namespace: 'default' }, data: { colour: 'red' } })
    await until(() => isReady(client, 'a'), 'a is Ready')
    const folder = `/k/pods/${created.metadata.uid}/volumes`
    assert.equal(files.text(`${folder}/conf/colour`), 'red')
    assert.equal(files.text(`${folder}/info/labels`), 'app="x"')
    await client.patch(ConfigMap, ref('settings'), { data: { colour: 'blue', size: 'l' } }, { type: 'merge' })
    await client.patch(Pod, ref('a'), { metadata: { labels: { tier: 'front' } } }, { type: 'merge' })
    await until(async () => files.text(`${folder}/conf/colour`) === 'blue', 'the file follows the ConfigMap')
    assert.equal(files.text(`${folder}/conf/size`), 'l')
    await until(async () => files.text(`${folder}/info/labels`) === 'app="x"\ntier="front"', 'the file follows the labels')
    assert.equal((await runtime.containers()).length, 1)
  }))

test('an image that does not exist and a command that cannot be started are told as kubectl shows them', () =>
  withWorld({ programs: { bad: { startError: 'exec: "nope": executable file not found in $PATH' } } }, async ({ client, until }) => {
    await client.create(Pod, pod('a', { containers: [{ name: 'web', image: 'missing:1' }] }))
    await client.create(Pod, pod('b', { containers: [{ name: 'bad', image: 'web:1' }] }))
    const reasonOf = async (name: string): Promise<string | undefined> => (await client.get(Pod, ref(name))).status.containerStatuses?.[0]?.state.waiting?.reason
    await until(async () => (await reasonOf('a')) === 'ImagePullBackOff', 'a waits with ImagePullBackOff')
    await until(async () => ['RunContainerError', 'CrashLoopBackOff'].includes((await reasonOf('b')) ?? ''), 'b waits')
    const last = (await client.get(Pod, ref('b'))).status.containerStatuses?.[0]?.lastState.terminated
    assert.equal(last?.reason, 'StartError')
    assert.match(last?.message ?? '', /executable file not found/)
  }))

test('a job pod completes: phase Succeeded, sandbox stopped, container kept for its logs until the pod is deleted', () =>
  withWorld({ programs: { web: { exitAfterMs: 3000, exitCode: 0 } } }, async ({ client, until, runtime }) => {
    await client.create(Pod, pod('a', { restartPolicy: 'Never' }))
    await until(async () => (await client.get(Pod, ref('a'))).status.phase === 'Succeeded', 'a succeeds')
    await until(async () => (await runtime.sandboxes()).every(({ state }) => state === 'notReady'), 'its sandbox is stopped')
    assert.equal((await runtime.containers()).length, 1)
    await client.delete(Pod, ref('a'))
    await until(async () => (await runtime.containers()).length === 0, 'its container is removed')
  }))
