/** What a Deployment writes on itself and its ReplicaSets so that kubectl can show and undo roll-outs ("Deployments"). */
import type { Deployment } from '../../api/apps/v1/deployment.ts'
import type { ReplicaSet } from '../../api/apps/v1/replica-set.ts'

export const revisionAnnotation = 'deployment.kubernetes.io/revision'
const revisionHistoryAnnotation = 'deployment.kubernetes.io/revision-history'
const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas'
const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas'
export const templateHashLabel = 'pod-template-hash'

/** Annotations of the Deployment that its ReplicaSets do not inherit. */
const notInherited = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
  'deprecated.deployment.rollback.to',
])

type Annotations = Readonly<Record<string, string>>

export function revisionOf(object: { readonly metadata: { readonly annotations?: Annotations } }): number {
  const text = object.metadata.annotations?.[revisionAnnotation] ?? ''
  return /^\d+$/.test(text) ? Number(text) : 0
}

function numberIn(set: ReplicaSet, annotation: string): number | undefined {
  const text = set.metadata.annotations?.[annotation] ?? ''
  return /^\d+$/.test(text) ? Number(text) : undefined
}

/** How many replicas the Deployment wanted when it last scaled this set. */
export const desiredReplicasOf = (set: ReplicaSet): number | undefined => numberIn(set, desiredReplicasAnnotation)
export const maxReplicasOf = (set: ReplicaSet): number | undefined => numberIn(set, maxReplicasAnnotation)

export function scaleAnnotations(desired: number, max: number): Annotations {
  return { [desiredReplicasAnnotation]: String(desired), [maxReplicasAnnotation]: String(max) }
}

/** The annotations of the new ReplicaSet: its own, those it inherits, and its revision with the revisions it had before. */
export function newSetAnnotations(deployment: Deployment, own: Annotations, revision: number): Record<string, string> {
  const annotations: Record<string, string> = { ...own }
  for (const [name, value] of Object.entries(deployment.metadata.annotations ?? {})) if (!notInherited.has(name)) annotations[name] = value
  const before = own[revisionAnnotation] ?? ''
  if (before !== '' && Number(before) >= revision) return annotations
  annotations[revisionAnnotation] = String(revision)
  if (before !== '' && before !== String(revision)) {
    const history = own[revisionHistoryAnnotation] ?? ''
    annotations[revisionHistoryAnnotation] = history === '' ? before : `${history},${before}`
  }
  return annotations
}

export function sameAnnotations(a: Annotations | undefined, b: Annotations): boolean {
  const left = Object.entries(a ?? {})
  return left.length === Object.keys(b).length && left.every(([name, value]) => b[name] === value)
}
