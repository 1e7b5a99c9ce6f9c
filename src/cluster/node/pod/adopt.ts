/**
 * The state of a pod after a restart of the agent, rebuilt from what the runtime lists and what the API last heard. Running
 * containers are taken over untouched; what an interrupted start left behind is named in `discard`. An unknown past is read
 * so that nothing runs twice: a container that the API knows and the runtime does not has ended.
 */
import type { ContainerStatus, SandboxStatus } from '../../contract/runtime.ts'
import type { PodStatus } from '../../api/core/v1/pod-status.ts'
import { makeAnew } from './advance.ts'
import type { ContainerPlan, PodPlan } from './plan.ts'
import type { Container, Exit, PodState } from './state.ts'
import { exitOf, newContainer, newPod } from './step.ts'

export interface Found {
  readonly sandboxes: readonly SandboxStatus[]
  readonly containers: readonly ContainerStatus[]
}

export interface Adopted {
  readonly state: PodState
  /** To be removed before the first step: sandboxes that are not the pod's any more, containers that never started. */
  readonly discard: { readonly sandboxes: readonly string[]; readonly containers: readonly string[] }
}

export function adoptPod(plan: PodPlan, found: Found, options: { readonly previous: PodStatus | undefined; readonly nowMs: number }): Adopted {
  const { previous, nowMs } = options
  const startedMs = previous?.startTime === undefined ? Number.NaN : Date.parse(previous.startTime)
  const state = newPod(plan, Number.isNaN(startedMs) ? nowMs : startedMs)
  const current = found.sandboxes.filter((sandbox) => sandbox.state === 'ready').sort((a, b) => b.attempt - a.attempt)[0]
  const lastAttempt = Math.max(-1, ...found.sandboxes.map(({ attempt }) => attempt))
  state.sandbox = current === undefined ? { phase: 'absent', attempt: lastAttempt + 1, ips: [] } : { phase: 'ready', id: current.id, attempt: current.attempt, ips: current.ips }
  const discarded: string[] = []
  state.containers = plan.containers.map((containerPlan) => {
    const mine = found.containers.filter(({ name }) => name === containerPlan.name).sort((a, b) => a.attempt - b.attempt)
    const { container, discard } = adoptContainer(containerPlan, mine, { current, previous, nowMs })
    discarded.push(...discard)
    return container
  })
  state.initialized = wasInitialized(state, plan, { found, current, previous })
  if (current === undefined) for (const [at, container] of state.containers.entries()) if (plan.containers[at]?.kind === 'init' && container.phase === 'exited') makeAnew(container)
  const sandboxes = found.sandboxes.filter(({ id }) => id !== current?.id).map(({ id }) => id)
  return { state, discard: { sandboxes, containers: discarded } }
}

interface Surroundings {
  readonly current: SandboxStatus | undefined
  readonly previous: PodStatus | undefined
  readonly nowMs: number
}

function adoptContainer(plan: ContainerPlan, mine: readonly ContainerStatus[], { current, previous, nowMs }: Surroundings): { container: Container; discard: string[] } {
  const container = newContainer(plan.name)
  const discard = mine.filter(({ state }) => state === 'created').map(({ id }) => id)
  const ran = mine.filter(({ state }) => state !== 'created')
  const latest = ran.at(-1)
  const reported = reportedStatus(previous, plan.name)
  if (latest === undefined) {
    const lost = reported === undefined ? undefined : exitFromApi(reported, nowMs)
    container.restarts = reported?.restartCount ?? 0
    if (lost !== undefined) {
      container.phase = 'exited'
      container.exit = lost
      // Taken for the same image: whether the pod runs it again is for the restart policy to say.
      container.instance = { id: lost.containerId, attempt: container.restarts, imageId: '', imageReference: plan.image }
    }
    return { container, discard }
  }
  const { id, attempt, imageId, imageReference, startedAtMs } = latest
  container.restarts = attempt
  container.instance = { id, attempt, imageId, imageReference, startedAtMs }
  container.postStart = 'done'
  const before = ran.at(-2)
  if (before !== undefined) container.lastExit = exitOf(before, undefined, nowMs)
  const here = latest.sandboxId === current?.id
  container.leftovers = ran.filter(({ sandboxId, id: other }) => sandboxId === current?.id && other !== id).map((status) => status.id)
  if (latest.state === 'running' && here) {
    container.phase = 'running'
    const same = reported?.containerID === `berth://${id}`
    container.started = same && reported?.started === true
    container.ready = same && reported?.ready === true
    return { container, discard }
  }
  container.phase = 'exited'
  container.exit = latest.state === 'exited' ? withReportedMessage(exitOf(latest, undefined, nowMs), reported) : exitOf({ ...latest, exitCode: 137, finishedAtMs: nowMs }, undefined, nowMs)
  if (latest.state === 'unknown') discard.push(id)
  else if (here) container.leftovers.push(id)
  return { container, discard }
}

type ReportedStatus = NonNullable<PodStatus['containerStatuses']>[number]

function reportedStatus(previous: PodStatus | undefined, name: string): ReportedStatus | undefined {
  const all = [...(previous?.initContainerStatuses ?? []), ...(previous?.containerStatuses ?? []), ...(previous?.ephemeralContainerStatuses ?? [])]
  return all.find((status) => status.name === name)
}

/** How a container ended that only the API remembers; undefined when it never ran. */
function exitFromApi(reported: ReportedStatus, nowMs: number): Exit | undefined {
  const terminated = reported.state?.terminated ?? reported.lastState?.terminated
  const containerId = (reported.containerID ?? terminated?.containerID ?? '').replace(/^[a-z]+:\/\//, '')
  if (containerId === '') return undefined
  if (terminated === undefined) {
    const message = 'The container was running before the node agent was restarted, and is gone'
    return { containerId, exitCode: 137, reason: 'ContainerStatusUnknown', message, finishedAtMs: nowMs }
  }
  const { exitCode, reason = 'Error', startedAt, finishedAt } = terminated
  const startedAtMs = startedAt == null ? undefined : Date.parse(startedAt)
  return { containerId, exitCode, reason, startedAtMs, finishedAtMs: finishedAt == null ? nowMs : Date.parse(finishedAt) }
}

/** The termination message was read before the restart; the API still has it. */
function withReportedMessage(exit: Exit, reported: ReportedStatus | undefined): Exit {
  const terminated = reported?.state?.terminated
  if (terminated?.containerID !== `berth://${exit.containerId}` || terminated.message === undefined) return exit
  return { ...exit, message: terminated.message }
}

function wasInitialized(state: PodState, plan: PodPlan, { found, current, previous }: { readonly found: Found; readonly current: SandboxStatus | undefined; readonly previous: PodStatus | undefined }): boolean {
  if (current === undefined) return false
  if (previous?.conditions?.some(({ type, status }) => type === 'Initialized' && status === 'True') === true) return true
  return found.containers.some(({ name, sandboxId }) => sandboxId === current.id && plan.containers.some((each) => each.name === name && each.kind === 'app')) && state.containers.length > 0
}
