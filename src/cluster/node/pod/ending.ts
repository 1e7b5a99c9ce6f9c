/**
 * The end of a pod, in stages that each wait for the one before: regular containers are stopped together (preStop, SIGTERM,
 * SIGKILL after the grace), then sidecars in reverse order, then the sandbox, then the volumes. A pod that has run to its
 * end rests there so that its logs can be read; a deleted one is removed from the machine and then from the API with grace 0
 * (Kubernetes, "Pod Lifecycle", termination of Pods).
 */
import { unreachable } from '#base/assert.ts'
import { advanceProbes } from './probes.ts'
import type { Container, Ending, PodEffect, PodState } from './state.ts'
import { containerOf } from './state.ts'
import { advanceStop, beginStop, shortenStop } from './stopping.ts'

export function beginEnding(state: PodState, why: Ending['why'], nowMs: number, graceMs: number): void {
  const { ending } = state
  const deadlineMs = nowMs + graceMs
  if (ending === undefined) {
    state.ending = { why, deadlineMs, stage: 'containers', inFlight: false }
    return
  }
  ending.deadlineMs = Math.min(ending.deadlineMs, deadlineMs)
  if (why !== 'deleted') return
  ending.why = 'deleted'
  if (ending.stage === 'settled') ending.stage = 'disposing'
}

export function advanceEnding(state: PodState, nowMs: number, effects: PodEffect[]): void {
  const { ending } = state
  if (ending === undefined) return
  for (let stage: Ending['stage'] | undefined; stage !== ending.stage; ) {
    stage = ending.stage
    if (ending.inFlight || (ending.retryAtMs !== undefined && ending.retryAtMs > nowMs)) return
    advanceStage(state, ending, nowMs, effects)
  }
}

function advanceStage(state: PodState, ending: Ending, nowMs: number, effects: PodEffect[]): void {
  const { sandbox } = state
  switch (ending.stage) {
    case 'containers': {
      const busy = stopContainers(state, ending, nowMs, effects)
      if (!busy && sandbox.phase !== 'creating' && state.volumes.phase !== 'running') ending.stage = 'sandbox'
      return
    }
    case 'sandbox':
      if (sandbox.id === undefined || sandbox.phase === 'absent' || sandbox.phase === 'stopped') {
        ending.stage = 'volumes'
        return
      }
      sandbox.phase = 'stopping'
      return ask(ending, { kind: 'stopSandbox', id: sandbox.id }, effects)
    case 'volumes':
      return ask(ending, { kind: 'takeDownVolumes' }, effects)
    case 'settled':
      return
    case 'disposing':
      return ask(ending, { kind: 'dispose' }, effects)
    case 'api':
      if (state.removed) ending.stage = 'done'
      else ask(ending, { kind: 'deletePod' }, effects)
      return
    case 'done':
      if (state.removed) effects.push({ kind: 'forget' })
      return
    default:
      return unreachable(ending.stage)
  }
}

function ask(ending: Ending, effect: PodEffect, effects: PodEffect[]): void {
  ending.inFlight = true
  delete ending.retryAtMs
  effects.push(effect)
}

/** True while a container is there that has not ended. */
function stopContainers(state: PodState, ending: Ending, nowMs: number, effects: PodEffect[]): boolean {
  let regular = 0
  const sidecars: Container[] = []
  for (const plan of state.plan.containers) {
    const container = containerOf(state, plan.name)
    if (container === undefined) continue
    if (container.phase === 'pulling') container.phase = 'waiting'
    if (container.phase === 'waiting') delete container.retryAtMs
    shortenStop(container, ending.deadlineMs, { nowMs, effects })
    advanceStop(container, nowMs, effects)
    if (plan.kind !== 'sidecar') stopOne(state, container, ending, { nowMs, effects })
    advanceProbes(container, plan, { ending: true, nowMs, effects })
    if (!isThere(container)) continue
    if (plan.kind === 'sidecar') sidecars.push(container)
    else regular += 1
  }
  const last = sidecars.at(-1)
  if (regular === 0 && last !== undefined) stopOne(state, last, ending, { nowMs, effects })
  return regular > 0 || sidecars.length > 0
}

function isThere(container: Container): boolean {
  return container.phase === 'starting' || container.phase === 'running' || container.phase === 'stopping'
}

function stopOne(state: PodState, container: Container, ending: Ending, pass: { readonly nowMs: number; readonly effects: PodEffect[] }): void {
  const plan = state.plan.containers.find(({ name }) => name === container.name)
  if (container.phase !== 'running' || plan === undefined) return
  pass.effects.push({ kind: 'record', type: 'Normal', reason: 'Killing', message: `Stopping container ${container.name}`, container: container.name })
  beginStop(container, plan, { graceMs: Math.max(0, ending.deadlineMs - pass.nowMs), ...pass })
}
