/**
 * The node's own object: registered at the start, kept true, and its lease renewed every 10 s, by which the control plane
 * knows that the node lives (Kubernetes, "Nodes", heartbeats). Status is written when it changed, and every 5 min besides.
 */
import type { Clock } from '#base/clock.ts'
import { rfc3339Micro, rfc3339Seconds, sleep } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import { randomInt } from '#base/random.ts'
import { Lease } from '../../api/coordination/v1/lease.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import type { NodeCondition, NodeStatus } from '../../api/core/v1/node-status.ts'
import { Node } from '../../api/core/v1/node.ts'
import type { Client } from '../../contract/client.ts'
import type { PodRuntime } from '../../contract/runtime.ts'

export interface NodeFacts {
  readonly name: string
  readonly hostname: string
  /** Primary first. */
  readonly addresses: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly podCidr?: string
  /** Port of this node's kubelet API. */
  readonly port: number
  /** Quantities: cpu, memory, ephemeral-storage, pods. */
  readonly capacity: Readonly<Record<string, string>>
  readonly allocatable: Readonly<Record<string, string>>
  readonly info: Omit<NonNullable<NodeStatus['nodeInfo']>, 'containerRuntimeVersion' | 'swap'>
}

export interface NodeStatusOptions {
  readonly client: Client
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly runtime: PodRuntime
  readonly node: NodeFacts
  /** Undefined: the node is fit for work. Otherwise what is wrong, e.g. that the network is not up. */
  readonly problem?: () => string | undefined
}

const leaseNamespace = 'kube-node-lease'
const leaseSeconds = 40
const renewMs = 10_000
/** Heartbeats of many nodes that were started together drift apart. */
const jitterMs = 400
const reportMs = 300_000

/** Creates the Node or brings its labels up to date, then writes its first status. Retries until `signal` aborts. */
export async function registerNode(options: NodeStatusOptions, signal: AbortSignal): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    try {
      await register(options, signal)
      await writeStatus(options, signal)
      return
    } catch (error) {
      if (signal.aborted) throw error
      options.log.warn({ err: error, node: options.node.name }, 'the node could not be registered, will be retried')
      await sleep(options.clock, Math.min(5000, 100 * 2 ** failures), signal)
    }
  }
}

async function register({ client, node }: NodeStatusOptions, signal: AbortSignal): Promise<void> {
  const labels = {
    'kubernetes.io/hostname': node.hostname,
    'kubernetes.io/os': node.info.operatingSystem,
    'kubernetes.io/arch': node.info.architecture,
    'beta.kubernetes.io/os': node.info.operatingSystem,
    'beta.kubernetes.io/arch': node.info.architecture,
    ...node.labels,
  }
  try {
    const known = await client.get(Node, { name: node.name }, { signal })
    const same = Object.entries(labels).every(([key, value]) => known.metadata.labels?.[key] === value)
    if (!same) await client.patch(Node, { name: node.name }, { metadata: { labels } }, { type: 'merge', signal })
    return
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
  }
  const spec = node.podCidr === undefined ? {} : { podCIDR: node.podCidr, podCIDRs: [node.podCidr] }
  try {
    await client.create(Node, { metadata: { name: node.name, labels }, spec }, { signal })
  } catch (error) {
    if (!isFault(error, 'alreadyExists')) throw error
  }
}

/** Renews the lease every 10 s and reports status, until `signal` aborts. */
export async function keepNodeAlive(options: NodeStatusOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options
  let reportedMs = clock.monotonicMs()
  let wasFit = options.problem?.() === undefined
  while (!signal.aborted) {
    try {
      await renewLease(options, signal)
      const fit = options.problem?.() === undefined
      if (fit !== wasFit || clock.monotonicMs() - reportedMs >= reportMs || (await isMisjudged(options, fit, signal))) {
        await writeStatus(options, signal)
        reportedMs = clock.monotonicMs()
        wasFit = fit
      }
    } catch (error) {
      if (signal.aborted) return
      log.warn({ err: error, node: options.node.name }, 'the heartbeat failed, will be retried')
      if (isFault(error, 'notFound')) await registerNode(options, signal)
    }
    try {
      await sleep(clock, renewMs + randomInt(options.random, jitterMs), signal)
    } catch (error) {
      if (!isFault(error, 'canceled')) throw error
    }
  }
}

/** The control plane took our silence for death and says so in our conditions: only we can say otherwise. */
async function isMisjudged({ client, node }: NodeStatusOptions, fit: boolean, signal: AbortSignal): Promise<boolean> {
  const { status } = await client.get(Node, { name: node.name }, { resourceVersion: '0', signal })
  return status.conditions?.find(({ type }) => type === 'Ready')?.status !== (fit ? 'True' : 'False')
}

async function renewLease({ client, clock, node }: NodeStatusOptions, signal: AbortSignal): Promise<void> {
  const renewTime = rfc3339Micro(clock.nowMs())
  const spec = { holderIdentity: node.name, leaseDurationSeconds: leaseSeconds, renewTime }
  try {
    await client.patch(Lease, { namespace: leaseNamespace, name: node.name }, { spec }, { type: 'merge', signal })
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
    await createLease(client, { metadata: { name: node.name, namespace: leaseNamespace }, spec }, signal)
  }
}

async function createLease(client: Client, lease: { metadata: { name: string; namespace: string }; spec: { holderIdentity: string; leaseDurationSeconds: number; renewTime: string } }, signal: AbortSignal): Promise<void> {
  try {
    await client.create(Lease, lease, { signal })
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
    await client.create(Namespace, { metadata: { name: leaseNamespace } }, { signal })
    await client.create(Lease, lease, { signal })
  }
}

async function writeStatus(options: NodeStatusOptions, signal: AbortSignal): Promise<void> {
  const { client, clock, node, runtime } = options
  const known = await client.get(Node, { name: node.name }, { signal })
  const { name, version } = await runtime.version()
  const images = await runtime.images()
  const status = {
    capacity: node.capacity,
    allocatable: node.allocatable,
    conditions: conditions(options, known.status.conditions ?? [], rfc3339Seconds(clock.nowMs())),
    addresses: [...node.addresses.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: node.hostname }],
    daemonEndpoints: { kubeletEndpoint: { Port: node.port } },
    nodeInfo: { ...node.info, containerRuntimeVersion: `${name}://${version}` },
    images: images.slice(0, 50).map(({ repoTags, repoDigests, sizeBytes }) => ({ names: [...repoDigests, ...repoTags].slice(0, 5), sizeBytes })),
  }
  await client.patch(Node, { name: node.name }, { status }, { type: 'strategic', subresource: 'status', fieldManager: 'kubelet', signal })
}

function conditions(options: NodeStatusOptions, before: readonly NodeCondition[], nowText: string): NodeCondition[] {
  const problem = options.problem?.()
  const all: Omit<NodeCondition, 'lastHeartbeatTime' | 'lastTransitionTime'>[] = [
    { type: 'MemoryPressure', status: 'False', reason: 'KubeletHasSufficientMemory', message: 'kubelet has sufficient memory available' },
    { type: 'DiskPressure', status: 'False', reason: 'KubeletHasNoDiskPressure', message: 'kubelet has no disk pressure' },
    { type: 'PIDPressure', status: 'False', reason: 'KubeletHasSufficientPID', message: 'kubelet has sufficient PID available' },
    problem === undefined ? { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' } : { type: 'Ready', status: 'False', reason: 'KubeletNotReady', message: problem },
  ]
  return all.map((condition) => {
    const old = before.find(({ type }) => type === condition.type)
    const lastTransitionTime = old?.status === condition.status && old.lastTransitionTime !== undefined ? old.lastTransitionTime : nowText
    return { ...condition, lastHeartbeatTime: nowText, lastTransitionTime }
  })
}
