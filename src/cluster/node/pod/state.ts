/**
 * The state of one pod on this node, and the events and effects that connect it to the world. Plain data: `step.ts` folds
 * events into it, the agent's runner carries out effects and reports their results as events.
 *
 * Every effect that can fail reports exactly one result event. At most one operation per container, and one per sandbox, is
 * in flight; the phases `pulling`, `starting`, `creating` … say which. Facts about containers are monotonic per id (created,
 * running, exited), so a late or repeated report does no harm.
 */
import type { ContainerStatus, SandboxStatus } from '../../contract/runtime.ts'
import type { PodPlan, ProbeKind } from './plan.ts'

/** A doubling delay: 10 s, 20 s … 5 min; see `back-off.ts`. */
export interface BackOff {
  delayMs: number
  /** When the delay was last set. */
  sinceMs: number
}

/** A job that is retried until it succeeds. */
export interface Job {
  phase: 'idle' | 'running' | 'done'
  /** After a failure: when to try again, and what went wrong. */
  retryAtMs?: number
  backOff?: BackOff
  message?: string
}

export interface Sandbox {
  phase: 'absent' | 'creating' | 'ready' | 'stopping' | 'stopped'
  id?: string
  /** Number of the sandbox that is there, or of the next one. */
  attempt: number
  ips: readonly string[]
  retryAtMs?: number
  backOff?: BackOff
  message?: string
}

/** How a container ended. */
export interface Exit {
  containerId: string
  exitCode: number
  reason: string
  message?: string
  startedAtMs?: number
  finishedAtMs: number
}

export interface Instance {
  id: string
  attempt: number
  imageId: string
  imageReference: string
  startedAtMs?: number
}

export interface ProbeState {
  nextAtMs: number
  inFlight: boolean
  /** Consecutive equal outcomes. */
  streak: number
  streakOf: 'success' | 'failure'
  /** What holds after the thresholds. */
  verdict: 'unknown' | 'success' | 'failure'
}

export interface Stop {
  stage: 'preStop' | 'signalled'
  deadlineMs: number
  /** The last grace the runtime was told; a shorter one is told again. */
  retryAtMs?: number
}

export interface Container {
  name: string
  phase: 'waiting' | 'pulling' | 'starting' | 'running' | 'stopping' | 'exited'
  /** How often it was restarted: the attempt of the container that is there, or of the next one. */
  restarts: number
  /** Why it waits, as `kubectl get` shows it. */
  waiting?: { reason: string; message?: string }
  retryAtMs?: number
  pullBackOff?: BackOff
  restartBackOff?: BackOff
  /** The image that the last pull found. */
  imageId?: string
  instance?: Instance
  /** Of the present instance, once exited. */
  exit?: Exit
  /** Of the instance before. */
  lastExit?: Exit
  postStart: 'none' | 'running' | 'done'
  stop?: Stop
  probes: { [kind in ProbeKind]?: ProbeState }
  started: boolean
  ready: boolean
  /** Exited containers of earlier attempts that are still listed by the runtime, oldest first. */
  leftovers: string[]
}

/** The pod is on its way out, for good. */
export interface Ending {
  why: 'deleted' | 'finished' | 'deadline'
  deadlineMs: number
  /**
   * containers: being stopped. sandbox: being stopped. volumes: being taken down. settled: a finished pod rests here, its
   * containers listed for logs. disposing: containers, logs and folders are removed. api: the object is being deleted. done.
   */
  stage: 'containers' | 'sandbox' | 'volumes' | 'settled' | 'disposing' | 'api' | 'done'
  retryAtMs?: number
  inFlight: boolean
}

export interface PodState {
  readonly plan: PodPlan
  /** When this node accepted the pod. */
  readonly startTimeMs: number
  /** The object is no longer in the API. */
  removed: boolean
  volumes: Job
  sandbox: Sandbox
  /** All init containers have completed, all sidecars started, in the present sandbox. */
  initialized: boolean
  containers: Container[]
  ending?: Ending
}

export type PodEvent =
  /** The object in the API changed (or was read for the first time). */
  | { readonly kind: 'plan'; readonly plan: PodPlan }
  | { readonly kind: 'removed' }
  /** Time has passed; also the first event after `initialState`. */
  | { readonly kind: 'tick' }
  | { readonly kind: 'volumes'; readonly error?: string }
  /** A ConfigMap or Secret that the pod names has changed: what waited for it need not wait longer. */
  | { readonly kind: 'referencesChanged' }
  | { readonly kind: 'sandbox'; readonly status: SandboxStatus }
  | { readonly kind: 'sandboxFailed'; readonly message: string }
  /** The runtime does not know it any more. */
  | { readonly kind: 'sandboxGone'; readonly id: string }
  | { readonly kind: 'sandboxStopped'; readonly error?: string }
  | { readonly kind: 'image'; readonly container: string; readonly imageId: string; readonly message: string }
  | { readonly kind: 'imageFailed'; readonly container: string; readonly reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName' | 'ErrInvalidImage'; readonly message: string }
  /** Reported by the runtime, and the result of a start. `terminationMessage` belongs to an exited one. */
  | { readonly kind: 'container'; readonly status: ContainerStatus; readonly terminationMessage?: string }
  | { readonly kind: 'containerGone'; readonly id: string }
  /** `containerId` when it was created but could not be started. */
  | { readonly kind: 'startFailed'; readonly container: string; readonly reason: 'CreateContainerConfigError' | 'CreateContainerError' | 'RunContainerError'; readonly message: string; readonly status?: ContainerStatus }
  | { readonly kind: 'stopFailed'; readonly container: string; readonly containerId: string; readonly message: string }
  | { readonly kind: 'hook'; readonly container: string; readonly containerId: string; readonly hook: 'postStart' | 'preStop'; readonly error?: string }
  | { readonly kind: 'probe'; readonly container: string; readonly containerId: string; readonly probe: ProbeKind; readonly ok: boolean; readonly message: string }
  | { readonly kind: 'volumesDown'; readonly error?: string }
  | { readonly kind: 'disposed'; readonly error?: string }
  | { readonly kind: 'apiDeleted'; readonly error?: string }

export type PodEffect =
  /** → `volumes` */
  | { readonly kind: 'prepareVolumes' }
  /** → `sandbox` | `sandboxFailed` */
  | { readonly kind: 'runSandbox'; readonly attempt: number }
  /** → `sandboxStopped` */
  | { readonly kind: 'stopSandbox'; readonly id: string }
  /** No result: repeated at the next start of the agent if it fails. */
  | { readonly kind: 'removeSandbox'; readonly id: string }
  /** Looks for the image and pulls it as the container's policy says → `image` | `imageFailed` */
  | { readonly kind: 'ensureImage'; readonly container: string }
  /** Creates and starts → `container` | `startFailed` */
  | { readonly kind: 'startContainer'; readonly container: string; readonly attempt: number; readonly imageId: string; readonly sandboxId: string; readonly ips: readonly string[] }
  /** → `container` (exited) | `stopFailed`. May be repeated with a shorter grace. */
  | { readonly kind: 'stopContainer'; readonly container: string; readonly containerId: string; readonly graceMs: number }
  /** No result. */
  | { readonly kind: 'removeContainer'; readonly containerId: string }
  /** → `hook` */
  | { readonly kind: 'hook'; readonly container: string; readonly containerId: string; readonly hook: 'postStart' | 'preStop'; readonly timeoutMs: number }
  /** → `probe` */
  | { readonly kind: 'probe'; readonly container: string; readonly containerId: string; readonly probe: ProbeKind }
  /** Writes an Event. `container` becomes the fieldPath. */
  | { readonly kind: 'record'; readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string; readonly container?: string }
  /** Takes down mounts and tmpfs of a pod whose containers have ended → `volumesDown` */
  | { readonly kind: 'takeDownVolumes' }
  /** Removes sandboxes, containers, log and pod folders → `disposed` */
  | { readonly kind: 'dispose' }
  /** Deletes the object with grace 0 and its uid as precondition, after the last status has been written → `apiDeleted` */
  | { readonly kind: 'deletePod' }
  /** The state may be dropped. */
  | { readonly kind: 'forget' }

export function containerOf(state: PodState, name: string): Container | undefined {
  return state.containers.find((container) => container.name === name)
}
