/** Arithmetic over a Deployment's ReplicaSets. Pure. */
import type { Deployment } from '../../api/apps/v1/deployment.ts'
import type { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { desiredReplicasOf } from './annotations.ts'
import { sameTemplate } from './template-hash.ts'

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export function oldestFirst(sets: readonly ReplicaSet[]): ReplicaSet[] {
  return sets.toSorted((a, b) => byText(a.metadata.creationTimestamp, b.metadata.creationTimestamp) || byText(a.metadata.name, b.metadata.name))
}

/** The set whose template is the Deployment's; of several the oldest. */
export function findNewSet(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return oldestFirst(sets).find((set) => sameTemplate(set.spec.template, deployment.spec.template))
}

export const specReplicas = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + set.spec.replicas, 0)
export const statusReplicas = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + set.status.replicas, 0)
export const readyReplicas = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + (set.status.readyReplicas ?? 0), 0)
export const availableReplicas = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + (set.status.availableReplicas ?? 0), 0)
export const activeSets = (sets: readonly ReplicaSet[]): ReplicaSet[] => sets.filter((set) => set.spec.replicas > 0)

function resolve(value: number | string | undefined, total: number, round: (x: number) => number): number {
  if (typeof value === 'number') return value
  const percent = /^(\d+)%$/.exec(value ?? '')?.[1]
  return percent === undefined ? 0 : round((Number(percent) * total) / 100)
}

/** Surge is rounded up and unavailability down; both zero would never move, so one pod may then be missing. */
export function rollingBounds(deployment: Deployment): { readonly maxSurge: number; readonly maxUnavailable: number } {
  const { strategy, replicas } = deployment.spec
  if (strategy.type !== 'RollingUpdate') return { maxSurge: 0, maxUnavailable: 0 }
  const maxSurge = resolve(strategy.rollingUpdate?.maxSurge, replicas, Math.ceil)
  const unavailable = resolve(strategy.rollingUpdate?.maxUnavailable, replicas, Math.floor)
  const maxUnavailable = maxSurge === 0 && unavailable === 0 ? 1 : unavailable
  return { maxSurge, maxUnavailable: replicas === 0 ? 0 : Math.min(maxUnavailable, replicas) }
}

/** How large the new set may be now. */
export function newSetReplicas(deployment: Deployment, sets: readonly ReplicaSet[], current: number): number {
  const wanted = deployment.spec.replicas
  if (deployment.spec.strategy.type === 'Recreate') return wanted
  const room = wanted + rollingBounds(deployment).maxSurge - specReplicas(sets)
  return room <= 0 ? current : current + Math.min(room, Math.max(0, wanted - current))
}

/** `spec.replicas` of the Deployment changed since its sets were last scaled. */
export function isScaling(deployment: Deployment, sets: readonly ReplicaSet[]): boolean {
  return activeSets(sets).some((set) => {
    const desired = desiredReplicasOf(set)
    return desired !== undefined && desired !== deployment.spec.replicas
  })
}

/** The set has all that the Deployment wants, available. */
export function isSaturated(deployment: Deployment, set: ReplicaSet | undefined): boolean {
  if (set === undefined) return false
  const wanted = deployment.spec.replicas
  return set.spec.replicas === wanted && desiredReplicasOf(set) === wanted && (set.status.availableReplicas ?? 0) === wanted
}
