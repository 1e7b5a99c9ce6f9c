/** Taints that conditions put on a node ("Taints and Tolerations: Taint based Evictions"). Pure. */
import { rfc3339Seconds } from '#base/clock.ts'
import type { Node, Taint } from '../../api/core/v1/node.ts'

const prefix = 'node.kubernetes.io/'
const notReadyTaint = `${prefix}not-ready`
const unreachableTaint = `${prefix}unreachable`

export function nodeCondition(node: Node, type: string): 'True' | 'False' | 'Unknown' | undefined {
  return node.status.conditions?.find((condition) => condition.type === type)?.status
}

const pressures = [
  ['MemoryPressure', `${prefix}memory-pressure`],
  ['DiskPressure', `${prefix}disk-pressure`],
  ['PIDPressure', `${prefix}pid-pressure`],
  ['NetworkUnavailable', `${prefix}network-unavailable`],
] as const

/** Keys and effects that this controller manages; all other taints are left alone. */
function isManaged({ key, effect }: Taint): boolean {
  if (key === notReadyTaint || key === unreachableTaint) return effect === 'NoSchedule' || effect === 'NoExecute'
  return effect === 'NoSchedule' && (key === `${prefix}unschedulable` || pressures.some(([, pressure]) => pressure === key))
}

/** `evict`: whether a node that is not ready may lose its pods (not when no node at all is ready). */
export function wantedTaints(node: Node, evict: boolean, nowMs: number): readonly Taint[] {
  const wanted: Taint[] = []
  const add = (key: string, effect: 'NoSchedule' | 'NoExecute'): void => {
    const before = node.spec.taints?.find((taint) => taint.key === key && taint.effect === effect)
    wanted.push(before ?? { key, effect, timeAdded: rfc3339Seconds(nowMs) })
  }
  if (node.spec.unschedulable === true) add(`${prefix}unschedulable`, 'NoSchedule')
  const ready = nodeCondition(node, 'Ready')
  const lost = ready === 'False' || ready === undefined ? notReadyTaint : ready === 'Unknown' ? unreachableTaint : undefined
  if (lost !== undefined) add(lost, 'NoSchedule')
  if (lost !== undefined && ready !== undefined && evict) add(lost, 'NoExecute')
  for (const [condition, key] of pressures) if (nodeCondition(node, condition) === 'True') add(key, 'NoSchedule')
  return [...(node.spec.taints ?? []).filter((taint) => !isManaged(taint)), ...wanted]
}

export function sameTaints(a: readonly Taint[], b: readonly Taint[]): boolean {
  const text = (taints: readonly Taint[]): string => taints.map(({ key, value, effect }) => `${key}=${value ?? ''}:${effect}`).toSorted().join()
  return text(a) === text(b)
}
