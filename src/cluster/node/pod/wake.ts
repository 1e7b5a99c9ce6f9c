/** When a pod's life cycle wants to be looked at again although nothing happens: the earliest of its deadlines that lie ahead. */
import { pullErrorShownMs } from './advance.ts'
import { activeProbes } from './probes.ts'
import type { Container, PodState } from './state.ts'
import { containerOf } from './state.ts'

export function wakeAt(state: PodState, nowMs: number): number | undefined {
  let earliest: number | undefined
  const consider = (atMs: number | undefined): void => {
    if (atMs !== undefined && atMs > nowMs && (earliest === undefined || atMs < earliest)) earliest = atMs
  }
  const { ending, plan } = state
  if (ending === undefined) {
    consider(state.volumes.phase === 'idle' ? state.volumes.retryAtMs : undefined)
    consider(state.sandbox.phase === 'absent' ? state.sandbox.retryAtMs : undefined)
    if (plan.activeDeadlineMs !== undefined) consider(state.startTimeMs + plan.activeDeadlineMs)
  } else consider(ending.retryAtMs)
  for (const containerPlan of plan.containers) {
    const container = containerOf(state, containerPlan.name)
    if (container === undefined) continue
    for (const kind of activeProbes(container, containerPlan, ending !== undefined)) {
      const probe = container.probes[kind]
      if (probe !== undefined && !probe.inFlight) consider(probe.nextAtMs)
    }
    if (ending === undefined) considerStart(container, consider)
    consider(container.stop?.retryAtMs)
    if (container.stop?.stage === 'preStop') consider(container.stop.deadlineMs)
  }
  return earliest
}

function considerStart(container: Container, consider: (atMs: number | undefined) => void): void {
  if (container.phase === 'waiting' || container.phase === 'exited') consider(container.retryAtMs)
  if (container.waiting?.reason === 'ErrImagePull' && container.pullBackOff !== undefined) consider(container.pullBackOff.sinceMs + pullErrorShownMs)
}
