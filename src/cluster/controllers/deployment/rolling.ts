/**
 * One step of a rolling update: which sets get how many replicas ("Deployments: Rolling Update Deployment"). Pure. Never
 * more than replicas + maxSurge pods are asked for, never fewer than replicas - maxUnavailable available ones left, and
 * old pods that are not healthy go first.
 */
import type { Deployment } from '../../api/apps/v1/deployment.ts'
import type { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { availableReplicas, newSetReplicas, oldestFirst, rollingBounds, specReplicas } from './replica-sets.ts'

export interface Scaling {
  readonly set: ReplicaSet
  readonly replicas: number
}

/** The new set's size, when it should change. */
export function scaleNewSet(deployment: Deployment, newSet: ReplicaSet, sets: readonly ReplicaSet[]): Scaling[] {
  const current = newSet.spec.replicas
  const wanted = deployment.spec.replicas
  const replicas = current > wanted ? wanted : newSetReplicas(deployment, sets, current)
  return replicas === current ? [] : [{ set: newSet, replicas }]
}

/** The old sets' sizes, where they should shrink. */
export function scaleOldSets(deployment: Deployment, newSet: ReplicaSet, old: readonly ReplicaSet[]): Scaling[] {
  if (specReplicas(old) === 0) return []
  const all = [...old, newSet]
  const minAvailable = deployment.spec.replicas - rollingBounds(deployment).maxUnavailable
  const newUnavailable = newSet.spec.replicas - (newSet.status.availableReplicas ?? 0)
  const maxScaledDown = specReplicas(all) - minAvailable - newUnavailable
  if (maxScaledDown <= 0) return []
  const sizes = new Map(oldestFirst(old).map((set) => [set, set.spec.replicas]))
  let unhealthyLeft = maxScaledDown
  for (const [set, size] of sizes) {
    const unhealthy = Math.max(0, size - (set.status.availableReplicas ?? 0))
    const cut = Math.min(unhealthyLeft, unhealthy)
    sizes.set(set, size - cut)
    unhealthyLeft -= cut
  }
  let healthyLeft = Math.max(0, availableReplicas(all) - minAvailable)
  for (const [set, size] of sizes) {
    const cut = Math.min(healthyLeft, size)
    sizes.set(set, size - cut)
    healthyLeft -= cut
  }
  return [...sizes].filter(([set, size]) => size < set.spec.replicas).map(([set, replicas]) => ({ set, replicas }))
}
