/** The status of a Deployment: counts, conditions, and whether its roll-out moves, is done or is stuck. Pure. */
import { rfc3339Seconds } from '#base/clock.ts'
import type { Deployment, DeploymentCondition, DeploymentStatus } from '../../api/apps/v1/deployment.ts'
import type { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { availableReplicas, readyReplicas, rollingBounds, specReplicas, statusReplicas } from './replica-sets.ts'

export interface RollOut {
  readonly deployment: Deployment
  readonly newSet: ReplicaSet | undefined
  readonly old: readonly ReplicaSet[]
  readonly nowMs: number
}

type ConditionStatus = DeploymentCondition['status']
const neverMs = 2_147_483_647

export function conditionOf(status: DeploymentStatus, type: string): DeploymentCondition | undefined {
  return status.conditions?.find((condition) => condition.type === type)
}

export function condition(type: string, status: ConditionStatus, because: { readonly reason: string; readonly message: string }, nowMs: number): DeploymentCondition {
  const time = rfc3339Seconds(nowMs)
  return { type, status, lastUpdateTime: time, lastTransitionTime: time, ...because }
}

/** Keeps what already says the same; a changed reason alone does not move the time of transition. */
export function withCondition(status: DeploymentStatus, next: DeploymentCondition): DeploymentStatus {
  const before = conditionOf(status, next.type)
  if (before !== undefined && before.status === next.status && before.reason === next.reason) return status
  const lastTransitionTime = before?.status === next.status ? before.lastTransitionTime : next.lastTransitionTime
  return { ...status, conditions: [...(status.conditions ?? []).filter(({ type }) => type !== next.type), { ...next, lastTransitionTime }] }
}

function withoutCondition(status: DeploymentStatus, gone: string): DeploymentStatus {
  return conditionOf(status, gone) === undefined ? status : { ...status, conditions: status.conditions?.filter(({ type }) => type !== gone) }
}

/** Counts and the Available condition; Progressing and ReplicaFailure stay as they are. */
export function countedStatus({ deployment, newSet, old, nowMs }: RollOut): DeploymentStatus {
  const all = newSet === undefined ? old : [...old, newSet]
  const available = availableReplicas(all)
  const counted: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: statusReplicas(all),
    updatedReplicas: newSet?.status.replicas ?? 0,
    readyReplicas: readyReplicas(all),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, specReplicas(all) - available),
    terminatingReplicas: all.reduce((sum, set) => sum + (set.status.terminatingReplicas ?? 0), 0),
    collisionCount: deployment.status.collisionCount,
    conditions: deployment.status.conditions,
  }
  const enough = available >= deployment.spec.replicas - rollingBounds(deployment).maxUnavailable
  return withCondition(
    counted,
    enough
      ? condition('Available', 'True', { reason: 'MinimumReplicasAvailable', message: 'Deployment has minimum availability.' }, nowMs)
      : condition('Available', 'False', { reason: 'MinimumReplicasUnavailable', message: 'Deployment does not have minimum availability.' }, nowMs),
  )
}

/** All replicas are of the new template and available, and the spec seen is the latest. */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = deployment.spec.replicas
  return status.updatedReplicas === wanted && status.replicas === wanted && status.availableReplicas === wanted && (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
}

function isProgressing(before: DeploymentStatus, now: DeploymentStatus): boolean {
  const oldReplicas = (status: DeploymentStatus): number => (status.replicas ?? 0) - (status.updatedReplicas ?? 0)
  return (
    (now.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    oldReplicas(now) < oldReplicas(before) ||
    (now.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  )
}

export const hasDeadline = (deployment: Deployment): boolean => deployment.spec.progressDeadlineSeconds !== neverMs

function deadlineMs(deployment: Deployment, progressing: DeploymentCondition): number {
  return Date.parse(progressing.lastUpdateTime ?? '') + deployment.spec.progressDeadlineSeconds * 1000
}

function isTimedOut(deployment: Deployment, status: DeploymentStatus, nowMs: number): boolean {
  const progressing = conditionOf(status, 'Progressing')
  if (progressing === undefined || progressing.reason === 'NewReplicaSetAvailable') return false
  return progressing.reason === 'ProgressDeadlineExceeded' || nowMs > deadlineMs(deployment, progressing)
}

/** The whole status of a Deployment that rolls out (not one that is paused or being deleted). */
export function rollOutStatus(rollOut: RollOut): DeploymentStatus {
  const { newSet, old } = rollOut
  const status = withProgress(countedStatus(rollOut), rollOut)
  const failure = [newSet, ...old].flatMap((set) => set?.status.conditions ?? []).find(({ type }) => type === 'ReplicaFailure')
  if (failure !== undefined) {
    const { reason = '', message = '', status: value } = failure
    return withCondition(status, condition('ReplicaFailure', value, { reason, message }, rollOut.nowMs))
  }
  return withoutCondition(status, 'ReplicaFailure')
}

function withProgress(status: DeploymentStatus, { deployment, newSet, nowMs }: RollOut): DeploymentStatus {
  if (!hasDeadline(deployment)) return withoutCondition(status, 'Progressing')
  const before = conditionOf(deployment.status, 'Progressing')
  // Done before and still done: a pod that is replaced later is no roll-out.
  if (status.replicas === status.updatedReplicas && before?.reason === 'NewReplicaSetAvailable') return status
  const subject = newSet === undefined ? `Deployment "${deployment.metadata.name}"` : `ReplicaSet "${newSet.metadata.name}"`
  if (isComplete(deployment, status)) return withCondition(status, condition('Progressing', 'True', { reason: 'NewReplicaSetAvailable', message: `${subject} has successfully progressed.` }, nowMs))
  if (isProgressing(deployment.status, status)) {
    const moving = condition('Progressing', 'True', { reason: 'ReplicaSetUpdated', message: `${subject} is progressing.` }, nowMs)
    const kept = before?.status === 'True' ? { ...moving, lastTransitionTime: before.lastTransitionTime } : moving
    return { ...status, conditions: [...(status.conditions ?? []).filter(({ type }) => type !== 'Progressing'), kept] }
  }
  if (isTimedOut(deployment, status, nowMs)) return withCondition(status, condition('Progressing', 'False', { reason: 'ProgressDeadlineExceeded', message: `${subject} has timed out progressing.` }, nowMs))
  return status
}

/** When to look again although nothing changes: at the end of the deadline. */
export function untilDeadlineMs(deployment: Deployment, status: DeploymentStatus, nowMs: number): number | undefined {
  const progressing = conditionOf(status, 'Progressing')
  if (progressing === undefined || !hasDeadline(deployment) || isComplete(deployment, status)) return undefined
  if (progressing.reason === 'ProgressDeadlineExceeded' || progressing.reason === 'NewReplicaSetAvailable' || progressing.reason === 'DeploymentPaused') return undefined
  return Math.max(0, deadlineMs(deployment, progressing) - nowMs) + 1000
}
