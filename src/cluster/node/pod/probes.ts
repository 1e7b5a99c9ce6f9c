/**
 * Probe schedules and thresholds: when a probe of a running container is due, and what its outcomes mean. Startup probes
 * come first and alone; liveness and readiness follow once the container has started. Readiness goes on while the pod ends,
 * so that its endpoint can say `serving`; liveness does not.
 */
import { beginStop } from './stopping.ts'
import type { ContainerPlan, ProbeKind, ProbePlan } from './plan.ts'
import { probeKinds } from './plan.ts'
import type { Container, PodEffect, PodEvent, PodState, ProbeState } from './state.ts'
import { containerOf } from './state.ts'

export function resetProbes(container: Container): void {
  container.probes = {}
}

/** Which probes of a container are in force now. */
export function activeProbes(container: Container, plan: ContainerPlan, ending: boolean): ProbeKind[] {
  const running = container.phase === 'running' || (container.phase === 'stopping' && ending)
  if (!running || container.instance === undefined) return []
  return probeKinds.filter((kind) => {
    if (plan.probes[kind] === undefined) return false
    if (kind === 'startup') return !container.started && !ending
    if (kind === 'liveness') return container.started && !ending
    return container.started
  })
}

/** Begins the probes that are due and brings `started` and `ready` up to date. */
export function advanceProbes(container: Container, plan: ContainerPlan, options: { readonly ending: boolean; readonly nowMs: number; readonly effects: PodEffect[] }): void {
  const { ending, nowMs, effects } = options
  if (container.phase === 'running' && !container.started && plan.probes.startup === undefined && container.postStart !== 'running') container.started = true
  for (const kind of activeProbes(container, plan, ending)) {
    const probe = plan.probes[kind]
    if (probe === undefined || container.instance === undefined) continue
    const state = (container.probes[kind] ??= firstProbe(container, probe, kind === 'readiness' && container.ready))
    if (state.inFlight || state.nextAtMs > nowMs) continue
    state.inFlight = true
    // Late (a restarted agent, a slow probe): the next one is due a period from now, not in a burst.
    state.nextAtMs = state.nextAtMs + probe.periodMs > nowMs ? state.nextAtMs + probe.periodMs : nowMs + probe.periodMs
    effects.push({ kind: 'probe', container: container.name, containerId: container.instance.id, probe: kind })
  }
  container.ready =
    (container.phase === 'running' || container.phase === 'stopping') &&
    container.started &&
    (plan.probes.readiness === undefined || container.probes.readiness?.verdict === 'success')
}

/** A container that was ready when the agent was restarted stays so until its probe says otherwise. */
function firstProbe(container: Container, plan: ProbePlan, wasReady: boolean): ProbeState {
  const nextAtMs = (container.instance?.startedAtMs ?? 0) + plan.initialDelayMs
  return { nextAtMs, inFlight: false, streak: 0, streakOf: 'success', verdict: wasReady ? 'success' : 'unknown' }
}

const titles: Record<ProbeKind, string> = { startup: 'Startup', liveness: 'Liveness', readiness: 'Readiness' }

export function foldProbe(state: PodState, event: Extract<PodEvent, { kind: 'probe' }>, nowMs: number, effects: PodEffect[]): void {
  const container = containerOf(state, event.container)
  const containerPlan = state.plan.containers.find(({ name }) => name === event.container)
  const probe = container?.probes[event.probe]
  const plan = containerPlan?.probes[event.probe]
  if (container === undefined || containerPlan === undefined || probe === undefined || plan === undefined || container.instance?.id !== event.containerId) return
  probe.inFlight = false
  const outcome = event.ok ? 'success' : 'failure'
  probe.streak = probe.streakOf === outcome ? probe.streak + 1 : 1
  probe.streakOf = outcome
  if (!event.ok && container.phase === 'running') {
    effects.push({ kind: 'record', type: 'Warning', reason: 'Unhealthy', message: `${titles[event.probe]} probe failed: ${event.message}`, container: container.name })
  }
  if (probe.streak >= (event.ok ? plan.successThreshold : plan.failureThreshold)) probe.verdict = outcome
  if (container.phase !== 'running') return
  if (event.probe === 'startup' && probe.verdict === 'success') container.started = true
  if (event.probe !== 'readiness' && probe.verdict === 'failure' && state.ending === undefined) {
    effects.push({ kind: 'record', type: 'Normal', reason: 'Killing', message: `Container ${container.name} failed ${event.probe} probe, will be restarted`, container: container.name })
    beginStop(container, containerPlan, { graceMs: plan.graceMs ?? state.plan.graceMs, nowMs, effects })
  }
}
