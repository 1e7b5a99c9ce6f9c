/** Columns of `kubectl get pods`. The status word follows kubectl's: what keeps the pod from running, else its phase. */
import type { Column } from '#schema/table.ts'
import { age, ageColumn, defineTable, nameColumn, text, wide } from '#schema/table.ts'
import type { ContainerStatus } from './container-status.ts'
import { Pod } from './pod.ts'

interface Summary {
  readonly status: string
  readonly ready: number
  readonly total: number
  readonly restarts: number
  /** When the last restarted container had ended. */
  readonly lastRestart: string | undefined
}

function conditionIsTrue(pod: Pod, type: string): boolean {
  return (pod.status.conditions ?? []).some((condition) => condition.type === type && condition.status === 'True')
}

function endedWith(status: ContainerStatus): string {
  const { terminated } = status.state
  if (terminated === undefined) return ''
  if (terminated.reason !== undefined) return terminated.reason
  return terminated.signal !== undefined && terminated.signal !== 0 ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`
}

const later = (a: string | undefined, b: string | undefined): string | undefined => (a === undefined || (b !== undefined && b > a) ? b : a)

interface InitProgress {
  readonly reason: string | undefined
  readonly ready: number
  readonly restarts: number
  readonly sidecarRestarts: number
  readonly lastRestart: string | undefined
  readonly lastSidecarRestart: string | undefined
}

/** How far the init containers are; `reason` is set while one of them holds the pod up. */
function initProgress(pod: Pod, sidecars: ReadonlySet<string>): InitProgress {
  const total = pod.spec.initContainers?.length ?? 0
  let [ready, restarts, sidecarRestarts] = [0, 0, 0]
  let [lastRestart, lastSidecarRestart]: (string | undefined)[] = []
  let reason: string | undefined
  for (const [index, container] of (pod.status.initContainerStatuses ?? []).entries()) {
    const isSidecar = sidecars.has(container.name)
    const ended = container.lastState.terminated?.finishedAt
    restarts += container.restartCount
    lastRestart = later(lastRestart, ended)
    if (isSidecar) {
      sidecarRestarts += container.restartCount
      lastSidecarRestart = later(lastSidecarRestart, ended)
    }
    const { terminated, waiting } = container.state
    if (terminated?.exitCode === 0) continue
    if (isSidecar && container.started === true) {
      if (container.ready) ready++
      continue
    }
    if (terminated !== undefined) reason = `Init:${endedWith(container)}`
    else if (waiting?.reason !== undefined && waiting.reason !== 'PodInitializing') reason = `Init:${waiting.reason}`
    else reason = `Init:${index}/${total}`
    break
  }
  return { reason, ready, restarts, sidecarRestarts, lastRestart, lastSidecarRestart }
}

export function podSummary(pod: Pod): Summary {
  const sidecars = new Set((pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always').map(({ name }) => name))
  const total = pod.spec.containers.length + sidecars.size
  const gated = (pod.status.conditions ?? []).some(({ type, reason }) => type === 'PodScheduled' && reason === 'SchedulingGated')
  let status = gated ? 'SchedulingGated' : (pod.status.reason ?? pod.status.phase ?? '')
  const init = initProgress(pod, sidecars)
  let { ready, restarts, lastRestart } = init
  if (init.reason !== undefined) status = init.reason
  if (init.reason === undefined || conditionIsTrue(pod, 'Initialized')) {
    restarts = init.sidecarRestarts
    lastRestart = init.lastSidecarRestart
    let running = false
    for (const container of [...(pod.status.containerStatuses ?? [])].reverse()) {
      restarts += container.restartCount
      lastRestart = later(lastRestart, container.lastState.terminated?.finishedAt)
      const { waiting, terminated } = container.state
      if (waiting?.reason !== undefined) status = waiting.reason
      else if (terminated !== undefined) status = endedWith(container)
      else if (container.ready && container.state.running !== undefined) {
        running = true
        ready++
      }
    }
    if (status === 'Completed' && running) status = conditionIsTrue(pod, 'Ready') ? 'Running' : 'NotReady'
  }
  return { status: whenDeleted(pod, status), ready, total, restarts, lastRestart }
}

function whenDeleted(pod: Pod, status: string): string {
  if (pod.metadata.deletionTimestamp === undefined) return status
  if (pod.status.reason === 'NodeLost') return 'Unknown'
  return pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed' ? status : 'Terminating'
}

function gates(pod: Pod): string {
  const wanted = pod.spec.readinessGates ?? []
  if (wanted.length === 0) return '<none>'
  return `${wanted.filter(({ conditionType }) => conditionIsTrue(pod, conditionType)).length}/${wanted.length}`
}

const restarts: Column<Pod> = text('Restarts', 'How often containers of the pod were restarted, and when last.', (pod, { nowMs }) => {
  const summary = podSummary(pod)
  return summary.restarts === 0 || summary.lastRestart === undefined ? `${summary.restarts}` : `${summary.restarts} (${age(summary.lastRestart, nowMs)} ago)`
})

export const podTable = defineTable(
  Pod,
  [
    nameColumn,
    text('Ready', 'Ready containers out of all that should be.', (pod) => {
      const { ready, total } = podSummary(pod)
      return `${ready}/${total}`
    }),
    text('Status', 'Phase of the pod, or what keeps it from running.', (pod) => podSummary(pod).status),
    restarts,
    ageColumn,
    wide('IP', 'Address of the pod.', (pod) => pod.status.podIPs?.[0]?.ip ?? pod.status.podIP ?? '<none>'),
    wide('Node', 'Node the pod is bound to.', (pod) => pod.spec.nodeName ?? '<none>'),
    wide('Nominated Node', 'Node that is being cleared for the pod.', (pod) => pod.status.nominatedNodeName ?? '<none>'),
    wide('Readiness Gates', 'Extra conditions that hold out of those asked for.', gates),
  ],
  ({ status: { phase, reason = '', message = '' } }) => {
    if (phase === 'Succeeded') return [{ type: 'Completed', status: 'True', reason: 'Succeeded', message: 'The pod has completed successfully.' }]
    return phase === 'Failed' ? [{ type: 'Completed', status: 'True', reason: 'Failed', message: message === '' ? `The pod failed. ${reason}`.trim() : message }] : []
  },
)
