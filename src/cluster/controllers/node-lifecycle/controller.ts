/**
 * Notices nodes that went silent ("Nodes: Node heartbeats"): a node that neither renews its lease nor reports for 50 s gets
 * the conditions Unknown; a node that is not ready gets taints, and its pods stop being ready, so that Services leave
 * them out. Silence is measured by our own clock from when we saw the last heartbeat: the nodes' clocks do not matter,
 * and after a restart of ours every node has its full grace again.
 */
import { rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { Lease } from '../../api/coordination/v1/lease.ts'
import type { NodeCondition } from '../../api/core/v1/node-status.ts'
import { Node } from '../../api/core/v1/node.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'
import { isPodFinished, isPodReady } from '../pod-state.ts'
import { nodeCondition, sameTaints, wantedTaints } from './taints.ts'

export interface NodeLifecycleOptions {
  /** How long a node may be silent. 50 s unless told otherwise, as upstream. */
  readonly graceMs?: number
}

interface Heartbeat {
  readonly seen: string
  readonly atMs: number
}

const leaseNamespace = 'kube-node-lease'
const reportedConditions = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'] as const
export const nodeNameIndex = 'node'
export const nodeNameValues = ({ spec }: Pod): readonly string[] => (spec.nodeName === undefined || spec.nodeName === '' ? [] : [spec.nodeName])

export function nodeLifecycleController(context: ControllerContext, { graceMs = 50_000 }: NodeLifecycleOptions = {}): Controller {
  const { client, informers, clock, log } = context
  const recorder = context.recorder('node-controller')
  const nodes = informers.of(Node)
  const leases = informers.of(Lease)
  const pods = informers.of(Pod)
  pods.addIndex(nodeNameIndex, nodeNameValues)
  const heartbeats = new Map<string, Heartbeat>()
  /** Which pods were marked since the last transition of their node's Ready condition. */
  const marked = new Map<string, { readonly since: string; readonly uids: Set<string> }>()

  const silentMs = (node: Node): number => {
    const { name, uid } = node.metadata
    const lease = leases.get({ namespace: leaseNamespace, name })
    const reported = node.status.conditions?.map(({ lastHeartbeatTime }) => lastHeartbeatTime ?? '').join() ?? ''
    const seen = `${uid} ${lease?.spec.renewTime ?? ''} ${reported}`
    const known = heartbeats.get(name)
    const nowMs = clock.monotonicMs()
    if (known?.seen === seen) return nowMs - known.atMs
    heartbeats.set(name, { seen, atMs: nowMs })
    return 0
  }

  const markUnknown = async (node: Node): Promise<Node> => {
    const time = rfc3339Seconds(clock.nowMs())
    const before = node.status.conditions ?? []
    const lost = reportedConditions.map((type): NodeCondition => {
      const known = before.find((condition) => condition.type === type)
      const never = { reason: 'NodeStatusNeverUpdated', message: 'Kubelet never posted node status.' }
      if (known === undefined) return { type, status: 'Unknown', lastHeartbeatTime: node.metadata.creationTimestamp, lastTransitionTime: time, ...never }
      if (known.status === 'Unknown') return known
      return { ...known, status: 'Unknown', lastTransitionTime: time, reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' }
    })
    const conditions = [...before.filter(({ type }) => !reportedConditions.some((reported) => reported === type)), ...lost]
    const updated = await client.update(Node, { ...node, status: { ...node.status, conditions } }, { subresource: 'status' })
    // Our own write is no heartbeat.
    const known = heartbeats.get(node.metadata.name)
    const reported = conditions.map(({ lastHeartbeatTime }) => lastHeartbeatTime ?? '').join()
    const lease = leases.get({ namespace: leaseNamespace, name: node.metadata.name })
    if (known !== undefined) heartbeats.set(node.metadata.name, { seen: `${node.metadata.uid} ${lease?.spec.renewTime ?? ''} ${reported}`, atMs: known.atMs })
    recorder.event(node, 'Normal', 'NodeNotReady', `Node ${node.metadata.name} status is now: NodeNotReady`)
    return updated
  }

  /**
   * Services leave out pods of a node that nobody hears of. Each pod is marked once per silence: whoever says afterwards that
   * it is ready is its agent, which is back and knows better, and must not be fought.
   */
  const markPodsNotReady = async (node: Node, since: string): Promise<void> => {
    const { name } = node.metadata
    let done = marked.get(name)
    if (done?.since !== since) marked.set(name, (done = { since, uids: new Set() }))
    for (const pod of pods.byIndex(nodeNameIndex, name)) {
      if (!isPodReady(pod) || isPodFinished(pod) || done.uids.has(pod.metadata.uid)) continue
      const time = rfc3339Seconds(clock.nowMs())
      const conditions = pod.status.conditions?.map((condition) => (condition.type === 'Ready' ? { ...condition, status: 'False' as const, lastTransitionTime: time } : condition))
      try {
        await client.update(Pod, { ...pod, status: { ...pod.status, conditions } }, { subresource: 'status' })
        done.uids.add(pod.metadata.uid)
        recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready')
      } catch (error) {
        if (!isFault(error, 'notFound')) throw error
      }
    }
  }

  const reconcile = async (name: string): Promise<Outcome> => {
    const found = nodes.getKey(name)
    if (found === undefined) {
      heartbeats.delete(name)
      marked.delete(name)
      return {}
    }
    const silent = silentMs(found)
    const lost = silent >= graceMs
    const known = reportedConditions.every((type) => nodeCondition(found, type) === 'Unknown')
    const node = lost && !known ? await markUnknown(found) : found
    const someReady = nodes.list().some((other) => other.metadata.name !== name && nodeCondition(other, 'Ready') === 'True') || nodeCondition(node, 'Ready') === 'True'
    const taints = wantedTaints(node, someReady, clock.nowMs())
    if (!sameTaints(node.spec.taints ?? [], taints)) await client.update(Node, { ...node, spec: { ...node.spec, taints } })
    const ready = node.status.conditions?.find(({ type }) => type === 'Ready')
    if (lost || ready?.status === 'False') await markPodsNotReady(node, `${ready?.status} ${ready?.lastTransitionTime}`)
    return lost ? {} : { requeueAfterMs: graceMs - silent }
  }

  const controller = new Controller({ name: 'node-lifecycle', clock, log, reconcile, concurrency: 1, maxBackoffMs: 5000 })
  controller.reads(pods)
  controller.watch(nodes, ({ key, previous, current }) => {
    const flipped = previous === undefined || current === undefined || nodeCondition(previous, 'Ready') !== nodeCondition(current, 'Ready')
    // Whether anything is ready at all decides about all nodes' taints.
    return flipped ? nodes.list().map(({ metadata }) => metadata.name) : [key]
  })
  controller.watch(leases, ({ previous, current }) => {
    const meta = (current ?? previous)?.metadata
    return meta?.namespace === leaseNamespace ? [meta.name] : []
  })
  // A pod that was seen ready late, on a node that is already known to be gone.
  controller.watch(pods, ({ current }) => {
    const node = current === undefined || !isPodReady(current) ? undefined : nodes.get({ name: current.spec.nodeName ?? '' })
    return node !== undefined && nodeCondition(node, 'Ready') !== 'True' ? [node.metadata.name] : []
  })
  return controller
}
