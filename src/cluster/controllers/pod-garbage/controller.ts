/**
 * Pods that nobody else will end ("Pod Lifecycle: Garbage collection of Pods"): on nodes that no longer exist (after 40 s,
 * should the node come back), being deleted but never scheduled, on nodes declared out of service, and finished ones
 * beyond 12,500.
 */
import { rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { Node } from '../../api/core/v1/node.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'
import { nodeNameIndex, nodeNameValues } from '../node-lifecycle/controller.ts'
import { nodeCondition } from '../node-lifecycle/taints.ts'
import { isPodFinished } from '../pod-state.ts'

const quarantineMs = 40_000
const keptFinishedPods = 12_500
const finishedKey = '#finished'
const outOfService = 'node.kubernetes.io/out-of-service'

export function podGarbageController(context: ControllerContext): Controller {
  const { client, informers, clock, log } = context
  const pods = informers.of(Pod)
  const nodes = informers.of(Node)
  pods.addIndex(nodeNameIndex, nodeNameValues)
  pods.addIndex('finished', (pod) => (isPodFinished(pod) ? ['yes'] : []))
  /** Nodes that pods name and that are not there: since when. */
  const missingSince = new Map<string, number>()

  const remove = async (pod: Pod, because: string): Promise<void> => {
    const { namespace, name, uid } = pod.metadata
    try {
      if (!isPodFinished(pod)) {
        const disrupted = { type: 'DisruptionTarget', status: 'True', lastTransitionTime: rfc3339Seconds(clock.nowMs()), reason: 'DeletionByPodGC', message: because } as const
        const conditions = [...(pod.status.conditions ?? []).filter(({ type }) => type !== disrupted.type), disrupted]
        await client.update(Pod, { ...pod, status: { ...pod.status, phase: 'Failed', conditions } }, { subresource: 'status' })
      }
      await client.delete(Pod, { namespace, name }, { preconditions: { uid }, gracePeriodSeconds: 0 })
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
    }
  }

  const isNodeGone = async (name: string): Promise<boolean> => {
    try {
      await client.get(Node, { name })
      return false
    } catch (error) {
      if (isFault(error, 'notFound')) return true
      throw error
    }
  }

  const reconcilePod = async (pod: Pod): Promise<Outcome> => {
    const nodeName = pod.spec.nodeName ?? ''
    const deleting = pod.metadata.deletionTimestamp !== undefined
    if (nodeName === '') {
      if (deleting) await remove(pod, 'PodGC: terminating and not scheduled')
      return {}
    }
    const node = nodes.get({ name: nodeName })
    if (node !== undefined) {
      missingSince.delete(nodeName)
      const declared = node.spec.taints?.some(({ key }) => key === outOfService) === true && nodeCondition(node, 'Ready') !== 'True'
      if (deleting && declared) await remove(pod, 'PodGC: node is out of service')
      return {}
    }
    const nowMs = clock.monotonicMs()
    const since = missingSince.get(nodeName) ?? nowMs
    missingSince.set(nodeName, since)
    if (nowMs - since < quarantineMs) return { requeueAfterMs: quarantineMs - (nowMs - since) }
    if (await isNodeGone(nodeName)) await remove(pod, 'PodGC: node no longer exists')
    return {}
  }

  const removeFinished = async (): Promise<Outcome> => {
    const finished = pods.byIndex('finished', 'yes')
    const surplus = finished.length - keptFinishedPods
    if (surplus <= 0) return {}
    const oldest = finished.toSorted((a, b) => Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp))
    for (const pod of oldest.slice(0, surplus)) await remove(pod, 'PodGC: too many finished pods')
    return {}
  }

  const reconcile = async (key: string): Promise<Outcome> => {
    if (key === finishedKey) return removeFinished()
    const pod = pods.getKey(key)
    return pod === undefined ? {} : reconcilePod(pod)
  }

  const controller = new Controller({ name: 'pod-garbage', clock, log, reconcile, maxBackoffMs: 20_000 })
  controller.watch(pods, function* ({ key, previous, current }) {
    if (current === undefined) return
    const nodeName = current.spec.nodeName ?? ''
    const deleting = current.metadata.deletionTimestamp !== undefined
    if (nodeName === '' ? deleting : deleting || nodes.get({ name: nodeName }) === undefined) yield key
    if (isPodFinished(current) && (previous === undefined || !isPodFinished(previous)) && pods.byIndex('finished', 'yes').length > keptFinishedPods) yield finishedKey
  })
  controller.watch(nodes, ({ key, previous, current }) => {
    const declaredNow = current?.spec.taints?.length !== previous?.spec.taints?.length
    if (current !== undefined && !declaredNow) return []
    return pods.byIndex(nodeNameIndex, key).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
  })
  return controller
}
