/**
 * The life of one pod as a pure function: `step(state, event, now) → { state, effects, wakeAtMs }`. First the event is folded
 * into the facts (this file), then `advance.ts` (pods that shall run) or `ending.ts` (pods that shall end) compares facts with
 * the plan and asks for what is missing. Nothing here knows timers, files or the network; the same events at the same times
 * give the same effects. Specified by the Kubernetes documents "Pod Lifecycle", "Init Containers", "Sidecar Containers" and
 * "Configure Liveness, Readiness and Startup Probes".
 */
import { unreachable } from '#base/assert.ts'
import type { ContainerStatus } from '../../contract/runtime.ts'
import { advanceRunning, finalVerdict, makeAnew } from './advance.ts'
import { nextBackOff } from './back-off.ts'
import { advanceEnding, beginEnding } from './ending.ts'
import type { PodPlan } from './plan.ts'
import { foldProbe, resetProbes } from './probes.ts'
import type { Container, Exit, Job, PodEffect, PodEvent, PodState } from './state.ts'
import { containerOf } from './state.ts'
import { wakeAt } from './wake.ts'

export interface Step {
  readonly state: PodState
  /** In the order in which they are to be begun. */
  readonly effects: readonly PodEffect[]
  /** A `tick` is due then, unless another event comes first. */
  readonly wakeAtMs?: number
}

/** A pod that this node has just accepted. */
export function newPod(plan: PodPlan, nowMs: number): PodState {
  return {
    plan,
    startTimeMs: nowMs,
    removed: false,
    volumes: { phase: 'idle' },
    sandbox: { phase: 'absent', attempt: 0, ips: [] },
    initialized: false,
    containers: plan.containers.map(({ name }) => newContainer(name)),
  }
}

export function newContainer(name: string): Container {
  return { name, phase: 'waiting', restarts: 0, postStart: 'none', probes: {}, started: false, ready: false, leftovers: [] }
}

export function step(before: PodState, event: PodEvent, nowMs: number): Step {
  const { plan, ...rest } = before
  const state: PodState = { plan, ...structuredClone(rest) }
  const effects: PodEffect[] = []
  const next = event.kind === 'plan' ? adoptPlan(state, event.plan) : state
  if (event.kind !== 'plan') fold(next, event, nowMs, effects)
  decideEnding(next, nowMs)
  if (next.ending === undefined) advanceRunning(next, nowMs, effects)
  // A pod whose last container has just ended is finished without waiting for another event.
  decideEnding(next, nowMs)
  if (next.ending !== undefined) advanceEnding(next, nowMs, effects)
  const wakeAtMs = wakeAt(next, nowMs)
  return wakeAtMs === undefined ? { state: next, effects } : { state: next, effects, wakeAtMs }
}

function adoptPlan(state: PodState, plan: PodPlan): PodState {
  const containers = plan.containers.map(({ name }) => containerOf(state, name) ?? newContainer(name))
  return { ...state, plan, containers }
}

function decideEnding(state: PodState, nowMs: number): void {
  const { plan } = state
  if (state.removed) return beginEnding(state, 'deleted', nowMs, plan.graceMs)
  if (plan.deletionGraceMs !== undefined) return beginEnding(state, 'deleted', nowMs, plan.deletionGraceMs)
  if (state.ending !== undefined) return
  if (plan.activeDeadlineMs !== undefined && nowMs >= state.startTimeMs + plan.activeDeadlineMs) return beginEnding(state, 'deadline', nowMs, plan.graceMs)
  if (plan.finalPhase !== undefined || finalVerdict(state) !== undefined) beginEnding(state, 'finished', nowMs, plan.graceMs)
}

function settle(job: Job, error: string | undefined, nowMs: number): void {
  if (error === undefined) {
    job.phase = 'done'
    delete job.retryAtMs
    delete job.message
    delete job.backOff
    return
  }
  // Mounts wait for objects that somebody is about to create: half a second, doubled up to ten.
  const delayMs = Math.min(10_000, job.backOff === undefined ? 500 : job.backOff.delayMs * 2)
  job.phase = 'idle'
  job.backOff = { delayMs, sinceMs: nowMs }
  job.retryAtMs = nowMs + delayMs
  job.message = error
}

/** One event into the facts. Exhaustive; each case is short or a call. */
function fold(state: PodState, event: Exclude<PodEvent, { kind: 'plan' }>, nowMs: number, effects: PodEffect[]): void {
  switch (event.kind) {
    case 'tick':
      return
    case 'removed':
      state.removed = true
      return
    case 'volumes':
      settle(state.volumes, event.error, nowMs)
      if (event.error !== undefined) effects.push({ kind: 'record', type: 'Warning', reason: 'FailedMount', message: event.error })
      return
    case 'referencesChanged':
      if (state.volumes.phase === 'idle') state.volumes.retryAtMs = nowMs
      for (const container of state.containers) if (container.waiting?.reason === 'CreateContainerConfigError') container.retryAtMs = nowMs
      return
    case 'sandbox':
    case 'sandboxFailed':
    case 'sandboxGone':
    case 'sandboxStopped':
      return foldSandbox(state, event, nowMs, effects)
    case 'image':
    case 'imageFailed':
      return foldImage(state, event, nowMs, effects)
    case 'container':
      return foldContainer(state, event.status, event.terminationMessage, nowMs, effects)
    case 'containerGone':
      return foldGone(state, event.id, nowMs)
    case 'startFailed':
      return foldStartFailure(state, event, nowMs, effects)
    case 'stopFailed': {
      const container = containerOf(state, event.container)
      if (container?.stop !== undefined && container.instance?.id === event.containerId) container.stop.retryAtMs = nowMs + 1000
      return
    }
    case 'hook':
      return foldHook(state, event, nowMs, effects)
    case 'probe':
      return foldProbe(state, event, nowMs, effects)
    case 'volumesDown':
      return settleStage(state, 'volumes', event.error, nowMs)
    case 'disposed':
      return settleStage(state, 'disposing', event.error, nowMs)
    case 'apiDeleted':
      return settleStage(state, 'api', event.error, nowMs)
    default:
      return unreachable(event)
  }
}

function settleStage(state: PodState, stage: 'volumes' | 'disposing' | 'api', error: string | undefined, nowMs: number): void {
  const { ending } = state
  if (ending?.stage !== stage) return
  ending.inFlight = false
  if (error !== undefined) ending.retryAtMs = nowMs + 2000
  else {
    delete ending.retryAtMs
    ending.stage = ({ volumes: ending.why === 'deleted' ? 'disposing' : 'settled', disposing: 'api', api: 'done' } as const)[stage]
  }
}

type SandboxEvent = Extract<PodEvent, { kind: 'sandbox' | 'sandboxFailed' | 'sandboxGone' | 'sandboxStopped' }>

function foldSandbox(state: PodState, event: SandboxEvent, nowMs: number, effects: PodEffect[]): void {
  const { sandbox, ending } = state
  switch (event.kind) {
    case 'sandbox':
      if (sandbox.phase === 'creating' && event.status.state === 'ready') {
        state.sandbox = { phase: 'ready', id: event.status.id, attempt: event.status.attempt, ips: event.status.ips }
      } else if (event.status.id === sandbox.id && event.status.state === 'notReady' && sandbox.phase === 'ready') loseSandbox(state, nowMs, effects)
      return
    case 'sandboxGone':
      if (event.id === sandbox.id && sandbox.phase !== 'absent') loseSandbox(state, nowMs, effects)
      return
    case 'sandboxFailed': {
      const delayMs = Math.min(60_000, sandbox.backOff === undefined ? 1000 : sandbox.backOff.delayMs * 2)
      state.sandbox = { phase: 'absent', attempt: sandbox.attempt + 1, ips: [], backOff: { delayMs, sinceMs: nowMs }, retryAtMs: nowMs + delayMs, message: event.message }
      effects.push({ kind: 'record', type: 'Warning', reason: 'FailedCreatePodSandBox', message: `Failed to create pod sandbox: ${event.message}` })
      return
    }
    case 'sandboxStopped':
      if (ending?.stage !== 'sandbox') return
      ending.inFlight = false
      if (event.error !== undefined) ending.retryAtMs = nowMs + 1000
      else {
        sandbox.phase = 'stopped'
        delete ending.retryAtMs
        ending.stage = 'volumes'
      }
      return
    default:
      return unreachable(event)
  }
}

/** The machine was restarted, or somebody removed the namespaces: whatever ran in them has ended. */
function loseSandbox(state: PodState, nowMs: number, effects: PodEffect[]): void {
  const { sandbox } = state
  for (const container of state.containers) {
    if (container.instance !== undefined && (container.phase === 'running' || container.phase === 'stopping')) {
      endInstance(container, lostExit(container.instance.id, container.instance.startedAtMs, nowMs))
    }
  }
  if (state.ending !== undefined) {
    sandbox.phase = 'stopped'
    return
  }
  effects.push({ kind: 'record', type: 'Normal', reason: 'SandboxChanged', message: 'Pod sandbox changed, it will be killed and re-created.' })
  if (sandbox.id !== undefined) effects.push({ kind: 'removeSandbox', id: sandbox.id })
  for (const container of state.containers) {
    container.leftovers = []
    // Init containers run again in a new sandbox, the successful ones too.
    const isInit = state.plan.containers.some(({ name, kind }) => name === container.name && kind === 'init')
    if (isInit && container.phase === 'exited') makeAnew(container)
  }
  state.sandbox = { phase: 'absent', attempt: sandbox.attempt + 1, ips: [] }
  state.initialized = false
}

function lostExit(containerId: string, startedAtMs: number | undefined, nowMs: number): Exit {
  const message = 'The container could not be located when the pod was looked at; it was running before'
  return { containerId, exitCode: 137, reason: 'ContainerStatusUnknown', message, startedAtMs, finishedAtMs: nowMs }
}

function foldImage(state: PodState, event: Extract<PodEvent, { kind: 'image' | 'imageFailed' }>, nowMs: number, effects: PodEffect[]): void {
  const container = containerOf(state, event.container)
  if (container?.phase !== 'pulling') return
  container.phase = 'waiting'
  if (event.kind === 'image') {
    container.imageId = event.imageId
    delete container.waiting
    delete container.pullBackOff
    effects.push({ kind: 'record', type: 'Normal', reason: 'Pulled', message: event.message, container: container.name })
    return
  }
  container.pullBackOff = nextBackOff(container.pullBackOff, nowMs, nowMs)
  container.retryAtMs = nowMs + container.pullBackOff.delayMs
  container.waiting = { reason: event.reason, message: event.message }
  effects.push({ kind: 'record', type: 'Warning', reason: 'Failed', message: event.message, container: container.name })
  effects.push({ kind: 'record', type: 'Warning', reason: 'Failed', message: `Error: ${event.reason}`, container: container.name })
}

function foldContainer(state: PodState, status: ContainerStatus, terminationMessage: string | undefined, nowMs: number, effects: PodEffect[]): void {
  const container = containerOf(state, status.name)
  if (container === undefined) return
  if (container.phase === 'starting' && status.attempt === container.restarts && status.state !== 'created') {
    const { id, attempt, imageId, imageReference, startedAtMs } = status
    container.instance = { id, attempt, imageId, imageReference, startedAtMs }
    container.phase = 'running'
    container.started = false
    container.ready = false
    container.postStart = 'none'
    container.probes = {}
    delete container.waiting
    delete container.imageId
    delete container.retryAtMs
    effects.push({ kind: 'record', type: 'Normal', reason: 'Started', message: `Started container ${container.name}`, container: container.name })
    while (container.leftovers.length > 1) {
      const oldest = container.leftovers.shift()
      if (oldest !== undefined) effects.push({ kind: 'removeContainer', containerId: oldest })
    }
  }
  if (status.id !== container.instance?.id || (container.phase !== 'running' && container.phase !== 'stopping')) return
  if (status.state === 'exited') endInstance(container, exitOf(status, terminationMessage, nowMs))
  if (status.state === 'unknown') {
    endInstance(container, lostExit(status.id, status.startedAtMs, nowMs))
    container.leftovers = container.leftovers.filter((id) => id !== status.id)
    effects.push({ kind: 'removeContainer', containerId: status.id })
  }
}

export function exitOf(status: ContainerStatus, terminationMessage: string | undefined, nowMs: number): Exit {
  const exitCode = status.exitCode ?? 137
  const neverStarted = status.startedAtMs === undefined
  const reason = neverStarted ? 'StartError' : status.oomKilled === true ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error'
  const message = terminationMessage ?? status.message
  return { containerId: status.id, exitCode, reason, ...(message === undefined ? {} : { message }), startedAtMs: status.startedAtMs, finishedAtMs: status.finishedAtMs ?? nowMs }
}

function endInstance(container: Container, exit: Exit): void {
  container.phase = 'exited'
  container.exit = exit
  container.ready = false
  container.started = false
  container.leftovers.push(exit.containerId)
  resetProbes(container)
  delete container.stop
  delete container.retryAtMs
}

/** The runtime has forgotten a container that we believed to run. */
function foldGone(state: PodState, id: string, nowMs: number): void {
  for (const container of state.containers) {
    container.leftovers = container.leftovers.filter((leftover) => leftover !== id)
    if (container.instance?.id !== id || (container.phase !== 'running' && container.phase !== 'stopping')) continue
    endInstance(container, lostExit(id, container.instance.startedAtMs, nowMs))
    container.leftovers = container.leftovers.filter((leftover) => leftover !== id)
  }
}

function foldStartFailure(state: PodState, event: Extract<PodEvent, { kind: 'startFailed' }>, nowMs: number, effects: PodEffect[]): void {
  const container = containerOf(state, event.container)
  if (container?.phase !== 'starting') return
  effects.push({ kind: 'record', type: 'Warning', reason: 'Failed', message: `Error: ${event.message}`, container: container.name })
  if (event.status === undefined) {
    // Nothing was made: the same attempt is tried again. A missing ConfigMap is looked for more eagerly than a broken image.
    container.phase = 'waiting'
    container.waiting = { reason: event.reason, message: event.message }
    container.retryAtMs = nowMs + (event.reason === 'CreateContainerConfigError' ? 2000 : 10_000)
    return
  }
  const { id, attempt, imageId, imageReference } = event.status
  container.instance = { id, attempt, imageId, imageReference }
  endInstance(container, { ...exitOf(event.status, undefined, nowMs), reason: 'StartError', message: event.message, exitCode: event.status.exitCode ?? 128 })
  container.waiting = { reason: event.reason, message: event.message }
  delete container.imageId
}

function foldHook(state: PodState, event: Extract<PodEvent, { kind: 'hook' }>, nowMs: number, effects: PodEffect[]): void {
  const container = containerOf(state, event.container)
  if (container === undefined || container.instance?.id !== event.containerId) return
  if (event.error !== undefined) {
    const reason = event.hook === 'postStart' ? 'FailedPostStartHook' : 'FailedPreStopHook'
    effects.push({ kind: 'record', type: 'Warning', reason, message: event.error, container: container.name })
  }
  if (event.hook === 'postStart' && container.postStart === 'running') {
    container.postStart = 'done'
    // advance.ts stops a container whose postStart failed; the message tells it so.
    if (event.error !== undefined) container.waiting = { reason: 'PostStartHookError', message: event.error }
  }
  if (event.hook === 'preStop' && container.stop?.stage === 'preStop') {
    container.stop.stage = 'signalled'
    container.stop.retryAtMs = nowMs
  }
}
