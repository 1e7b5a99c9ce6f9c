/**
 * What a pod that shall run still lacks: volumes, sandbox, images, init containers one after the other, sidecars, regular
 * containers, restarts of those that ended. Compares the facts in the state with the plan and asks for the difference;
 * volumes, sandbox and images are prepared side by side, because none needs the other.
 */
import { durationText, holdUntil, nextBackOff } from './back-off.ts'
import type { ContainerPlan, PodPlan } from './plan.ts'
import { advanceProbes } from './probes.ts'
import type { Container, PodEffect, PodState } from './state.ts'
import { containerOf } from './state.ts'
import { advanceStop, beginStop } from './stopping.ts'

interface Pass {
  readonly state: PodState
  readonly nowMs: number
  readonly effects: PodEffect[]
}

/** How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`. */
export const pullErrorShownMs = 2000

export function advanceRunning(state: PodState, nowMs: number, effects: PodEffect[]): void {
  const pass: Pass = { state, nowMs, effects }
  for (const plan of state.plan.containers) {
    const container = containerOf(state, plan.name)
    if (container !== undefined) tendRunning(pass, container, plan)
  }
  const { volumes, sandbox } = state
  if (volumes.phase === 'idle' && due(volumes.retryAtMs, nowMs)) {
    volumes.phase = 'running'
    effects.push({ kind: 'prepareVolumes' })
  }
  if (sandbox.phase === 'absent' && due(sandbox.retryAtMs, nowMs)) {
    sandbox.phase = 'creating'
    effects.push({ kind: 'runSandbox', attempt: sandbox.attempt })
  }
  advanceStarts(pass)
}

function due(atMs: number | undefined, nowMs: number): boolean {
  return atMs === undefined || atMs <= nowMs
}

/** A container that runs or is being stopped: hooks, probes, a changed image. */
function tendRunning({ state, nowMs, effects }: Pass, container: Container, plan: ContainerPlan): void {
  advanceStop(container, nowMs, effects)
  if (container.phase === 'running' && container.instance !== undefined) {
    if (plan.postStart && container.postStart === 'none') {
      container.postStart = 'running'
      effects.push({ kind: 'hook', container: plan.name, containerId: container.instance.id, hook: 'postStart', timeoutMs: state.plan.graceMs })
    }
    const hookFailed = container.waiting?.reason === 'PostStartHookError'
    const changed = container.instance.imageReference !== plan.image
    if (hookFailed || changed) {
      const why = changed ? 'definition changed, will be restarted' : 'failed its postStart hook'
      effects.push({ kind: 'record', type: 'Normal', reason: 'Killing', message: `Container ${plan.name} ${why}`, container: plan.name })
      beginStop(container, plan, { graceMs: state.plan.graceMs, nowMs, effects })
    }
  }
  advanceProbes(container, plan, { ending: false, nowMs, effects })
}

function advanceStarts(pass: Pass): void {
  const { state } = pass
  if (!state.initialized) state.initialized = advanceInit(pass)
  for (const plan of state.plan.containers) {
    const container = containerOf(state, plan.name)
    if (container === undefined) continue
    if (plan.kind === 'ephemeral' || (state.initialized && (plan.kind === 'app' || plan.kind === 'sidecar'))) ensureRunning(pass, container, plan)
  }
}

/** Init containers in order, each to its successful end; sidecars until they have started. True when all are through. */
function advanceInit(pass: Pass): boolean {
  for (const plan of pass.state.plan.containers) {
    const container = containerOf(pass.state, plan.name)
    if (container === undefined || (plan.kind !== 'init' && plan.kind !== 'sidecar')) continue
    if (plan.kind === 'init' && succeeded(container)) continue
    ensureRunning(pass, container, plan)
    if (plan.kind === 'init' || !container.started) return false
  }
  return true
}

function succeeded(container: Container): boolean {
  return container.phase === 'exited' && container.exit?.exitCode === 0
}

function ensureRunning(pass: Pass, container: Container, plan: ContainerPlan): void {
  if (container.phase === 'exited' && willRestart(container, plan)) advanceRestart(pass, container, plan)
  if (container.phase !== 'waiting') return
  const { state, nowMs, effects } = pass
  if (!due(container.retryAtMs, nowMs)) return showPullBackOff(pass, container, plan)
  if (container.imageId === undefined) {
    container.phase = 'pulling'
    effects.push({ kind: 'ensureImage', container: plan.name })
    return
  }
  const { sandbox } = state
  if (state.volumes.phase !== 'done' || sandbox.phase !== 'ready' || sandbox.id === undefined) return
  container.phase = 'starting'
  effects.push({ kind: 'startContainer', container: plan.name, attempt: container.restarts, imageId: container.imageId, sandboxId: sandbox.id, ips: sandbox.ips })
}

function showPullBackOff({ nowMs, effects }: Pass, container: Container, plan: ContainerPlan): void {
  const { pullBackOff, waiting } = container
  if (waiting?.reason !== 'ErrImagePull' || pullBackOff === undefined || nowMs < pullBackOff.sinceMs + pullErrorShownMs) return
  const message = `Back-off pulling image "${plan.image}"`
  container.waiting = { reason: 'ImagePullBackOff', message: `${message}: ErrImagePull: ${waiting.message ?? ''}` }
  effects.push({ kind: 'record', type: 'Normal', reason: 'BackOff', message, container: plan.name })
  effects.push({ kind: 'record', type: 'Warning', reason: 'Failed', message: 'Error: ImagePullBackOff', container: plan.name })
}

export function willRestart(container: Container, plan: ContainerPlan): boolean {
  if (container.exit === undefined) return false
  if (container.instance !== undefined && container.instance.imageReference !== plan.image) return true
  if (plan.restartPolicy === 'Always') return true
  return plan.restartPolicy === 'OnFailure' && container.exit.exitCode !== 0
}

function advanceRestart(pass: Pass, container: Container, plan: ContainerPlan): void {
  const { state, nowMs, effects } = pass
  const { exit, instance } = container
  if (exit === undefined) return
  if (instance !== undefined && instance.imageReference !== plan.image) delete container.restartBackOff
  const untilMs = holdUntil(container.restartBackOff, exit.finishedAtMs)
  if (untilMs !== undefined && untilMs > nowMs) {
    if (container.waiting?.reason === 'CrashLoopBackOff') return
    const where = podText(state.plan)
    const delay = durationText(container.restartBackOff?.delayMs ?? 0)
    container.waiting = { reason: 'CrashLoopBackOff', message: `back-off ${delay} restarting failed container=${plan.name} pod=${where}` }
    container.retryAtMs = untilMs
    effects.push({ kind: 'record', type: 'Warning', reason: 'BackOff', message: `Back-off restarting failed container ${plan.name} in pod ${where}`, container: plan.name })
    return
  }
  container.restartBackOff = nextBackOff(container.restartBackOff, exit.finishedAtMs, nowMs)
  makeAnew(container)
}

/** The container as it ended becomes the last one; the next is on its way. */
export function makeAnew(container: Container): void {
  container.lastExit = container.exit
  container.restarts += 1
  container.phase = 'waiting'
  container.postStart = 'none'
  delete container.waiting
  delete container.exit
  delete container.instance
  delete container.retryAtMs
  delete container.imageId
}

function podText({ identity }: PodPlan): string {
  return `${identity.name}_${identity.namespace}(${identity.uid})`
}

/** How the pod has ended for good; undefined while something still runs or will run again. */
export function finalVerdict(state: PodState): 'succeeded' | 'failed' | undefined {
  let apps = 0
  let failures = 0
  for (const plan of state.plan.containers) {
    const container = containerOf(state, plan.name)
    if (container === undefined) continue
    const over = container.phase === 'exited' && !willRestart(container, plan)
    if (plan.kind === 'init' && over && !succeeded(container)) return 'failed'
    if (plan.kind !== 'app') continue
    if (!over) return undefined
    apps += 1
    if (!succeeded(container)) failures += 1
  }
  if (apps === 0) return undefined
  return failures > 0 ? 'failed' : 'succeeded'
}
