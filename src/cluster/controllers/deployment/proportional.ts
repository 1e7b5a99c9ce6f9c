/**
 * Scaling a Deployment in the middle of a roll-out: the change is spread over the sets in proportion to their sizes
 * ("Deployments: Proportional scaling"), so that a half-done roll-out stays half done. Pure.
 */
import type { Deployment } from '../../api/apps/v1/deployment.ts'
import type { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { maxReplicasOf } from './annotations.ts'
import { activeSets, isSaturated, oldestFirst, rollingBounds, specReplicas } from './replica-sets.ts'
import type { Scaling } from './rolling.ts'

export function scaleSets(deployment: Deployment, newSet: ReplicaSet | undefined, old: readonly ReplicaSet[]): Scaling[] {
  const wanted = deployment.spec.replicas
  const all = newSet === undefined ? [...old] : [...old, newSet]
  const active = activeSets(all)
  const only = active.length === 0 ? (newSet ?? oldestFirst(old).at(-1)) : active.length === 1 ? active[0] : undefined
  if (only !== undefined) return [{ set: only, replicas: wanted }]
  if (isSaturated(deployment, newSet)) return activeSets(old).map((set) => ({ set, replicas: 0 }))
  return deployment.spec.strategy.type === 'RollingUpdate' ? proportionally(deployment, active) : []
}

function proportionally(deployment: Deployment, active: readonly ReplicaSet[]): Scaling[] {
  const wanted = deployment.spec.replicas
  const allowed = wanted > 0 ? wanted + rollingBounds(deployment).maxSurge : 0
  const toAdd = allowed - specReplicas(active)
  // Among sets of one size, growth goes to the newer and shrinking to the older one.
  const byAge = toAdd > 0 ? oldestFirst(active).toReversed() : oldestFirst(active)
  const sorted = byAge.toSorted((a, b) => b.spec.replicas - a.spec.replicas)
  let added = 0
  const scalings = sorted.map((set) => {
    const share = toAdd === 0 ? 0 : shareOf(deployment, set, toAdd, added)
    added += share
    return { set, replicas: set.spec.replicas + share }
  })
  const [first, ...rest] = scalings
  return first === undefined ? [] : [{ set: first.set, replicas: Math.max(0, first.replicas + toAdd - added) }, ...rest]
}

function shareOf(deployment: Deployment, set: ReplicaSet, toAdd: number, added: number): number {
  const wanted = deployment.spec.replicas
  const before = maxReplicasOf(set) ?? deployment.status.replicas ?? 0
  const max = wanted + rollingBounds(deployment).maxSurge
  const fraction = wanted === 0 ? -set.spec.replicas : before === 0 ? 0 : Math.round((set.spec.replicas * max) / before) - set.spec.replicas
  const left = toAdd - added
  return toAdd > 0 ? Math.min(fraction, left) : Math.max(fraction, left)
}
