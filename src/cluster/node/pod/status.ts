/**
 * `status` of a pod from its state: phase, conditions, container statuses, addresses. Pure; what others wrote (the
 * scheduler's PodScheduled, readiness gates) is kept. Words and rules are those that `kubectl get` and `kubectl describe`
 * show (Kubernetes, "Pod Lifecycle").
 */
import { rfc3339Seconds } from '#base/clock.ts'
import type { ContainerState as ApiContainerState, ContainerStatus as ApiContainerStatus } from '../../api/core/v1/container-status.ts'
import type { PodCondition, PodStatus } from '../../api/core/v1/pod-status.ts'
import { finalVerdict, willRestart } from './advance.ts'
import type { ContainerPlan } from './plan.ts'
import type { Container, Exit, PodState } from './state.ts'
import { containerOf } from './state.ts'

export interface StatusContext {
  readonly nowMs: number
  /** The node's addresses, primary first. */
  readonly hostIps: readonly string[]
  /** The status that the API has now. */
  readonly previous: PodStatus | undefined
}

type Phase = NonNullable<PodStatus['phase']>

export function podStatus(state: PodState, context: StatusContext): PodStatus {
  const { previous, hostIps } = context
  const phase = podPhase(state)
  const ips = state.plan.hostNetwork ? hostIps : state.sandbox.ips
  const of = (kinds: readonly ContainerPlan['kind'][]): ApiContainerStatus[] =>
    state.plan.containers.flatMap((plan) => {
      const container = containerOf(state, plan.name)
      return container === undefined || !kinds.includes(plan.kind) ? [] : [containerStatus(state, container, plan)]
    })
  const init = of(['init', 'sidecar'])
  const ephemeral = of(['ephemeral'])
  const shownIps = ips.length > 0 ? ips : (previous?.podIPs ?? []).map(({ ip }) => ip)
  return {
    ...(previous?.qosClass === undefined ? {} : { qosClass: previous.qosClass }),
    ...(state.plan.generation === undefined ? {} : { observedGeneration: state.plan.generation }),
    phase,
    conditions: conditions(state, phase, context),
    ...endingReason(state),
    ...(hostIps[0] === undefined ? {} : { hostIP: hostIps[0], hostIPs: hostIps.map((ip) => ({ ip })) }),
    ...(shownIps[0] === undefined ? {} : { podIP: shownIps[0], podIPs: shownIps.map((ip) => ({ ip })) }),
    startTime: rfc3339Seconds(state.startTimeMs),
    ...(init.length > 0 ? { initContainerStatuses: init } : {}),
    containerStatuses: of(['app']),
    ...(ephemeral.length > 0 ? { ephemeralContainerStatuses: ephemeral } : {}),
  }
}

function endingReason(state: PodState): { reason?: string; message?: string } {
  if (state.ending?.why !== 'deadline' || !isOver(state)) return {}
  return { reason: 'DeadlineExceeded', message: 'Pod was active on the node longer than the specified deadline' }
}

/** All containers have ended and none will start again. */
function isOver(state: PodState): boolean {
  return state.ending !== undefined && state.ending.stage !== 'containers'
}

export function podPhase(state: PodState): Phase {
  if (state.plan.finalPhase !== undefined) return state.plan.finalPhase
  if (isOver(state) && state.ending?.why === 'deadline') return 'Failed'
  if (isOver(state)) return finalVerdict(state) === 'succeeded' || appsSucceeded(state) ? 'Succeeded' : 'Failed'
  let waiting = 0
  for (const plan of state.plan.containers) {
    const container = containerOf(state, plan.name)
    if (container === undefined || plan.kind === 'ephemeral') continue
    if ((plan.kind === 'init' || plan.kind === 'sidecar') && !state.initialized && !hasRunInitContainer(container, plan)) return initFailed(container, plan) ? 'Failed' : 'Pending'
    const neverRan = container.instance?.startedAtMs === undefined && container.lastExit === undefined && container.exit === undefined
    if (plan.kind === 'app' && neverRan) waiting += 1
  }
  return waiting > 0 ? 'Pending' : 'Running'
}

function appsSucceeded(state: PodState): boolean {
  return state.plan.containers.every((plan) => plan.kind !== 'app' || containerOf(state, plan.name)?.exit?.exitCode === 0)
}

function hasRunInitContainer(container: Container, plan: ContainerPlan): boolean {
  return plan.kind === 'sidecar' ? container.started : container.phase === 'exited' && container.exit?.exitCode === 0
}

function initFailed(container: Container, plan: ContainerPlan): boolean {
  return plan.kind === 'init' && container.phase === 'exited' && !willRestart(container, plan)
}

function containerStatus(state: PodState, container: Container, plan: ContainerPlan): ApiContainerStatus {
  const replacing = showsLastExit(container)
  const id = container.instance?.id ?? (replacing ? container.lastExit?.containerId : undefined)
  const lastExit = replacing ? undefined : container.phase === 'exited' && container.waiting !== undefined ? container.exit : container.lastExit
  return {
    name: plan.name,
    state: shownState(state, container, plan),
    lastState: lastExit === undefined ? {} : { terminated: terminated(lastExit) },
    ready: plan.kind === 'init' ? container.exit?.exitCode === 0 : container.ready,
    restartCount: replacing ? Math.max(0, container.restarts - 1) : container.restarts,
    image: plan.image,
    imageID: container.instance?.imageId ?? container.imageId ?? '',
    ...(id === undefined ? {} : { containerID: `berth://${id}` }),
    started: container.started,
  }
}

/** Between an exit and the next start the last exit is what there is to see, unless something is said about the wait. */
function showsLastExit(container: Container): boolean {
  return ['waiting', 'pulling', 'starting'].includes(container.phase) && container.waiting === undefined && container.lastExit !== undefined
}

function shownState(state: PodState, container: Container, plan: ContainerPlan): ApiContainerState {
  if (container.phase === 'running' || container.phase === 'stopping') {
    return { running: { startedAt: rfc3339Seconds(container.instance?.startedAtMs ?? state.startTimeMs) } }
  }
  if (container.waiting !== undefined) return { waiting: { ...container.waiting } }
  if (container.exit !== undefined) return { terminated: terminated(container.exit) }
  if (showsLastExit(container) && container.lastExit !== undefined) return { terminated: terminated(container.lastExit) }
  const afterInit = plan.kind === 'app' && !state.initialized && state.plan.containers.some(({ kind }) => kind === 'init' || kind === 'sidecar')
  const laterInit = (plan.kind === 'init' || plan.kind === 'sidecar') && container.phase === 'waiting' && container.imageId === undefined
  return { waiting: { reason: afterInit || laterInit ? 'PodInitializing' : 'ContainerCreating' } }
}

function terminated(exit: Exit): NonNullable<ApiContainerState['terminated']> {
  return {
    exitCode: exit.exitCode,
    reason: exit.reason,
    ...(exit.message === undefined ? {} : { message: exit.message }),
    ...(exit.startedAtMs === undefined ? {} : { startedAt: rfc3339Seconds(exit.startedAtMs) }),
    finishedAt: rfc3339Seconds(exit.finishedAtMs),
    containerID: `berth://${exit.containerId}`,
  }
}

interface Verdict {
  readonly status: boolean
  readonly reason?: string
  readonly message?: string
}

/** Condition types that the node agent writes; all others are kept as they are. */
const ownTypes = ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']

function conditions(state: PodState, phase: Phase, { previous, nowMs }: StatusContext): PodCondition[] {
  const containersReady = containersVerdict(state, phase)
  const verdicts: [string, Verdict][] = [
    ['PodReadyToStartContainers', { status: state.sandbox.phase === 'ready' }],
    ['Initialized', initializedVerdict(state, phase)],
    ['Ready', readyVerdict(state, containersReady)],
    ['ContainersReady', containersReady],
    ['PodScheduled', { status: true }],
  ]
  const before = previous?.conditions ?? []
  const own = verdicts.map(([type, { status, reason, message }]): PodCondition => {
    const old = before.find((condition) => condition.type === type)
    const word = status ? 'True' : 'False'
    const lastTransitionTime = old?.status === word && old.lastTransitionTime !== undefined ? old.lastTransitionTime : rfc3339Seconds(nowMs)
    return {
      type,
      ...(state.plan.generation === undefined ? {} : { observedGeneration: state.plan.generation }),
      status: word,
      lastTransitionTime,
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message }),
    }
  })
  return [...own, ...before.filter(({ type }) => !ownTypes.includes(type))]
}

function initializedVerdict(state: PodState, phase: Phase): Verdict {
  if (phase === 'Succeeded') return { status: true, reason: 'PodCompleted' }
  if (state.initialized) return { status: true }
  const incomplete = state.plan.containers.filter((plan) => {
    const container = containerOf(state, plan.name)
    return (plan.kind === 'init' || plan.kind === 'sidecar') && container !== undefined && !hasRunInitContainer(container, plan)
  })
  if (incomplete.length === 0) return { status: true }
  return { status: false, reason: 'ContainersNotInitialized', message: `containers with incomplete status: [${incomplete.map(({ name }) => name).join(' ')}]` }
}

function containersVerdict(state: PodState, phase: Phase): Verdict {
  if (phase === 'Succeeded') return { status: false, reason: 'PodCompleted' }
  if (phase === 'Failed') return { status: false, reason: 'PodFailed' }
  const unready = state.plan.containers.filter(({ name, kind }) => (kind === 'app' || kind === 'sidecar') && containerOf(state, name)?.ready !== true)
  if (unready.length === 0) return { status: true }
  return { status: false, reason: 'ContainersNotReady', message: `containers with unready status: [${unready.map(({ name }) => name).join(' ')}]` }
}

function readyVerdict(state: PodState, containersReady: Verdict): Verdict {
  if (!containersReady.status) return containersReady
  const closed = state.plan.readinessGates.filter(({ status }) => !status)
  if (closed.length === 0) return { status: true }
  const message = closed.map(({ type }) => `the status of pod readiness gate "${type}" is not "True"`).join(', ')
  return { status: false, reason: 'ReadinessGatesNotReady', message }
}

/**
 * The fields of `after` that differ from `before`, and null for those of ours that are to go: a strategic merge patch of the
 * status, in which conditions merge by type, so that other writers' stay. Empty when there is nothing to write.
 */
export function statusPatch(before: PodStatus, after: PodStatus): Record<string, unknown> {
  const patch: Record<string, unknown> = {}
  const old = new Map<string, unknown>(Object.entries(before))
  const fresh = new Map<string, unknown>(Object.entries(after))
  for (const [field, value] of fresh) if (canonical(old.get(field)) !== canonical(value)) patch[field] = field === 'conditions' ? conditionsPatch(after.conditions ?? []) : value
  for (const [field, value] of old) if (!fresh.has(field) && ownFields.has(field) && canonical(value) !== undefined) patch[field] = null
  return patch
}

/** Conditions merge field by field: an old reason stays unless it is taken away. */
function conditionsPatch(conditions: readonly PodCondition[]): unknown[] {
  return conditions.filter(({ type }) => ownTypes.includes(type)).map((condition) => ({ reason: null, message: null, ...condition }))
}

/** What the node agent may also take away. The rest of `status` belongs to others. */
const ownFields = new Set(['reason', 'message', 'podIP', 'podIPs', 'initContainerStatuses', 'ephemeralContainerStatuses'])

/** JSON with sorted keys and without what the server leaves out (absent, null, '' and empty lists). */
function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || inner === '' || (Array.isArray(inner) && inner.length === 0)) return undefined
    if (typeof inner !== 'object' || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)))
  })
}
