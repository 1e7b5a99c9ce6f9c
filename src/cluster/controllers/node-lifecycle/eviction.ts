/**
 * Deletes pods from nodes with NoExecute taints that they do not (or no longer) tolerate ("Taints and Tolerations"). How
 * long a toleration lasts counts from the moment the taint was put on, so that a restart of ours does not begin anew.
 */
import { rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Taint } from '../../api/core/v1/node.ts'
import { Node } from '../../api/core/v1/node.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Controller } from '../../client/controller.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'
import { isPodFinished } from '../pod-state.ts'
import { nodeNameIndex, nodeNameValues } from './controller.ts'
import { tolerates } from '../../scheduler/tolerations.ts'
import { sameTaints } from './taints.ts'

const noExecute = (node: Node | undefined): readonly Taint[] => node?.spec.taints?.filter(({ effect }) => effect === 'NoExecute') ?? []

/** When the pod must go; undefined when it tolerates all taints for ever. */
function evictionMs(pod: Pod, taints: readonly Taint[], nowMs: number): number | undefined {
  let earliest: number | undefined
  for (const taint of taints) {
    const matching = (pod.spec.tolerations ?? []).filter((toleration) => tolerates(toleration, taint))
    const sinceMs = taint.timeAdded === undefined ? nowMs : Date.parse(taint.timeAdded)
    const limits = matching.flatMap(({ tolerationSeconds }) => tolerationSeconds ?? [])
    if (matching.length > 0 && limits.length === 0) continue
    const dueMs = matching.length === 0 ? nowMs : sinceMs + Math.max(0, Math.min(...limits)) * 1000
    earliest = earliest === undefined ? dueMs : Math.min(earliest, dueMs)
  }
  return earliest
}

export function taintEvictionController(context: ControllerContext): Controller {
  const { client, informers, clock, log } = context
  const recorder = context.recorder('taint-eviction-controller')
  const nodes = informers.of(Node)
  const pods = informers.of(Pod)
  pods.addIndex(nodeNameIndex, nodeNameValues)

  const evict = async (pod: Pod): Promise<void> => {
    const { namespace, name, uid } = pod.metadata
    recorder.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${namespace}/${name}`)
    const disrupted = {
      type: 'DisruptionTarget', status: 'True', lastTransitionTime: rfc3339Seconds(clock.nowMs()),
      reason: 'DeletionByTaintManager', message: 'Taint manager: deleting due to NoExecute taint',
    } as const
    const conditions = [...(pod.status.conditions ?? []).filter(({ type }) => type !== disrupted.type), disrupted]
    try {
      await client.update(Pod, { ...pod, status: { ...pod.status, conditions } }, { subresource: 'status' })
      await client.delete(Pod, { namespace, name }, { preconditions: { uid } })
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
    }
  }

  const reconcile = async (key: string): Promise<Outcome> => {
    const pod = pods.getKey(key)
    if (pod === undefined || pod.metadata.deletionTimestamp !== undefined || isPodFinished(pod)) return {}
    const taints = noExecute(nodes.get({ name: pod.spec.nodeName ?? '' }))
    const nowMs = clock.nowMs()
    const dueMs = evictionMs(pod, taints, nowMs)
    if (dueMs === undefined) return {}
    if (dueMs > nowMs) return { requeueAfterMs: dueMs - nowMs }
    await evict(pod)
    return {}
  }

  const controller = new Controller({ name: 'taint-eviction', clock, log, reconcile, maxBackoffMs: 5000 })
  controller.watch(pods, ({ key, current }) => (current !== undefined && noExecute(nodes.get({ name: current.spec.nodeName ?? '' })).length > 0 ? [key] : []))
  controller.watch(nodes, ({ key, previous, current }) => {
    if (sameTaints(noExecute(previous), noExecute(current))) return []
    return pods.byIndex(nodeNameIndex, key).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
  })
  return controller
}
