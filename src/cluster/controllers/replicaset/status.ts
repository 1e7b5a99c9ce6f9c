/** The status of a ReplicaSet, computed from its pods. Pure. */
import { rfc3339Seconds } from '#base/clock.ts'
import type { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import { isPodActive, isPodAvailable, isPodFinished, isPodReady } from '../pod-state.ts'

export type ReplicaSetStatus = NonNullable<ReplicaSet['status']>
type Condition = NonNullable<ReplicaSetStatus['conditions']>[number]

export interface ManageFailure {
  readonly reason: 'FailedCreate' | 'FailedDelete'
  readonly message: string
}

/** `pods` are all that the ReplicaSet controls. */
export function replicaSetStatus(set: ReplicaSet, pods: readonly Pod[], failure: ManageFailure | undefined, nowMs: number): ReplicaSetStatus {
  const active = pods.filter(isPodActive)
  const templateLabels = Object.entries(set.spec.template.metadata?.labels ?? {})
  const minReadySeconds = set.spec.minReadySeconds ?? 0
  return {
    replicas: active.length,
    fullyLabeledReplicas: active.filter(({ metadata }) => templateLabels.every(([name, value]) => metadata.labels?.[name] === value)).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) => isPodAvailable(pod, minReadySeconds, nowMs)).length,
    terminatingReplicas: pods.filter((pod) => pod.metadata.deletionTimestamp !== undefined && !isPodFinished(pod)).length,
    observedGeneration: set.metadata.generation ?? 0,
    conditions: conditionsWith(set.status?.conditions ?? [], failure, nowMs),
  }
}

function conditionsWith(conditions: readonly Condition[], failure: ManageFailure | undefined, nowMs: number): Condition[] {
  const others = conditions.filter(({ type }) => type !== 'ReplicaFailure')
  if (failure === undefined) return others
  const before = conditions.find(({ type }) => type === 'ReplicaFailure')
  if (before?.reason === failure.reason) return [...others, before]
  return [...others, { type: 'ReplicaFailure', status: 'True', lastTransitionTime: rfc3339Seconds(nowMs), reason: failure.reason, message: failure.message }]
}

export function sameReplicaSetStatus(a: ReplicaSetStatus | undefined, b: ReplicaSetStatus): boolean {
  if (a === undefined) return false
  const numbers = ['replicas', 'fullyLabeledReplicas', 'readyReplicas', 'availableReplicas', 'terminatingReplicas', 'observedGeneration'] as const
  if (numbers.some((name) => (a[name] ?? 0) !== (b[name] ?? 0))) return false
  const text = (conditions: readonly Condition[] | undefined): string => JSON.stringify((conditions ?? []).map(({ type, status, reason, message }) => [type, status, reason, message]))
  return text(a.conditions) === text(b.conditions)
}
