/** Questions about pods that several controllers ask ("Pod Lifecycle" in the Kubernetes documentation). */
import type { Pod } from '../api/core/v1/pod.ts'

type PodCondition = NonNullable<NonNullable<Pod['status']>['conditions']>[number]

export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type)
}

export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True'
}

/** Its containers have all ended for good. */
export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** Counts towards a controller's replicas: neither finished nor on its way out. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && pod.metadata.deletionTimestamp === undefined
}

export function readySinceMs(pod: Pod): number | undefined {
  const since = podCondition(pod, 'Ready')?.lastTransitionTime
  return isPodReady(pod) && typeof since === 'string' ? Date.parse(since) : undefined
}

/** Ready for `minReadySeconds` without interruption. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  if (!isPodReady(pod)) return false
  if (minReadySeconds === 0) return true
  const since = readySinceMs(pod)
  return since !== undefined && since + minReadySeconds * 1000 <= nowMs
}
