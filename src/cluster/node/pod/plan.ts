/**
 * What the pod's life cycle needs to know of a Pod, parsed once from the API object (`planOf` in `parse-plan.ts`): units in
 * milliseconds, defaults filled in, containers in the order in which they start. The life cycle (`step.ts`) reads nothing else.
 */
import type { PodIdentity } from '../../contract/runtime.ts'

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never'
export type ProbeKind = 'startup' | 'liveness' | 'readiness'
export const probeKinds: readonly ProbeKind[] = ['startup', 'liveness', 'readiness']

export interface PodPlan {
  readonly identity: PodIdentity
  /** Init containers and sidecars in their order, then the regular ones, then ephemeral ones. */
  readonly containers: readonly ContainerPlan[]
  readonly restartPolicy: RestartPolicy
  /** `spec.terminationGracePeriodSeconds`. */
  readonly graceMs: number
  /** Present once the pod is being deleted: the grace that the deletion asked for. */
  readonly deletionGraceMs?: number
  readonly activeDeadlineMs?: number
  /** The API says that the pod has ended for good: nothing of it is started any more. */
  readonly finalPhase?: 'Succeeded' | 'Failed'
  /** `metadata.generation`, answered as observedGeneration. */
  readonly generation?: number
  /** The pod uses the node's network, and so its address. */
  readonly hostNetwork: boolean
  /** Condition types that must be True before the pod is Ready, and what others have written for them. */
  readonly readinessGates: readonly { readonly type: string; readonly status: boolean }[]
}

export interface ContainerPlan {
  readonly name: string
  /** `sidecar`: an init container with `restartPolicy: Always`. */
  readonly kind: 'init' | 'sidecar' | 'app' | 'ephemeral'
  readonly image: string
  readonly restartPolicy: RestartPolicy
  readonly probes: { readonly [kind in ProbeKind]?: ProbePlan }
  readonly postStart: boolean
  readonly preStop: boolean
}

export interface ProbePlan {
  readonly initialDelayMs: number
  readonly periodMs: number
  readonly timeoutMs: number
  readonly successThreshold: number
  readonly failureThreshold: number
  /** Grace for the kill that a failed startup or liveness probe causes; undefined: the pod's. */
  readonly graceMs?: number
}
