/**
 * How a container is stopped: preStop hook within the grace period, then the runtime sends SIGTERM and, when the rest of the
 * grace has passed, SIGKILL. After a preStop hook at least two seconds are left for the signal.
 */
import type { ContainerPlan } from './plan.ts'
import type { Container, PodEffect } from './state.ts'

const leastAfterHookMs = 2000

interface StopOptions {
  readonly graceMs: number
  readonly nowMs: number
  readonly effects: PodEffect[]
}

export function beginStop(container: Container, plan: ContainerPlan, { graceMs, nowMs, effects }: StopOptions): void {
  if (container.phase !== 'running' || container.instance === undefined) return
  container.phase = 'stopping'
  const withHook = plan.preStop && graceMs > 0
  container.stop = { stage: withHook ? 'preStop' : 'signalled', deadlineMs: nowMs + graceMs }
  const { name } = container
  const containerId = container.instance.id
  if (withHook) effects.push({ kind: 'hook', container: name, containerId, hook: 'preStop', timeoutMs: graceMs })
  else effects.push({ kind: 'stopContainer', container: name, containerId, graceMs })
}

/** Moves a stop on when its hook is done, its hook took too long, or the runtime failed to stop it. */
export function advanceStop(container: Container, nowMs: number, effects: PodEffect[]): void {
  const { stop, instance } = container
  if (container.phase !== 'stopping' || stop === undefined || instance === undefined) return
  const hookTimedOut = stop.stage === 'preStop' && nowMs >= stop.deadlineMs
  if (!hookTimedOut && (stop.retryAtMs === undefined || stop.retryAtMs > nowMs)) return
  stop.stage = 'signalled'
  delete stop.retryAtMs
  effects.push({ kind: 'stopContainer', container: container.name, containerId: instance.id, graceMs: Math.max(leastAfterHookMs, stop.deadlineMs - nowMs) })
}

/** The grace was shortened while the stop was under way. */
export function shortenStop(container: Container, deadlineMs: number, { nowMs, effects }: { readonly nowMs: number; readonly effects: PodEffect[] }): void {
  const { stop, instance } = container
  if (container.phase !== 'stopping' || stop === undefined || instance === undefined || deadlineMs >= stop.deadlineMs) return
  stop.deadlineMs = deadlineMs
  if (stop.stage === 'signalled') effects.push({ kind: 'stopContainer', container: container.name, containerId: instance.id, graceMs: Math.max(0, deadlineMs - nowMs) })
}
