/** Which pods a shrinking ReplicaSet gives up first ("ReplicaSet: Scaling a ReplicaSet" in the Kubernetes documentation). */
import type { Pod } from '../../api/core/v1/pod.ts'
import { isPodReady, readySinceMs } from '../pod-state.ts'

const deletionCostAnnotation = 'controller.kubernetes.io/pod-deletion-cost'

const phaseRank: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 }

interface Candidate {
  readonly pod: Pod
  /** Lower goes first, compared one after the other. */
  readonly ranks: readonly number[]
}

/**
 * `count` of `pods`, those to delete. `related` are all active pods of the same workload (a Deployment's other
 * ReplicaSets included): pods on crowded nodes go before pods that stand alone.
 */
export function chooseVictims(pods: readonly Pod[], related: readonly Pod[], count: number, nowMs: number): Pod[] {
  if (count >= pods.length) return [...pods]
  const crowd = new Map<string, number>()
  for (const { spec } of related) {
    const node = spec.nodeName ?? ''
    if (node !== '') crowd.set(node, (crowd.get(node) ?? 0) + 1)
  }
  const candidates = pods.map((pod): Candidate => ({ pod, ranks: ranksOf(pod, crowd, nowMs) }))
  candidates.sort((a, b) => compareRanks(a.ranks, b.ranks) || compareText(a.pod.metadata.uid, b.pod.metadata.uid))
  return candidates.slice(0, count).map(({ pod }) => pod)
}

function ranksOf(pod: Pod, crowd: ReadonlyMap<string, number>, nowMs: number): number[] {
  const node = pod.spec.nodeName ?? ''
  const ready = isPodReady(pod)
  return [
    node === '' ? 0 : 1,
    phaseRank[pod.status?.phase ?? 'Pending'] ?? 0,
    ready ? 1 : 0,
    deletionCost(pod),
    -(crowd.get(node) ?? 0),
    ready ? ageRank(readySinceMs(pod), nowMs) : 0,
    -restarts(pod),
    ageRank(Date.parse(pod.metadata.creationTimestamp), nowMs),
  ]
}

/** Ages count by powers of two, so that which of two old pods goes is no matter of minutes; the uid then decides. */
function ageRank(sinceMs: number | undefined, nowMs: number): number {
  const seconds = sinceMs === undefined ? 0 : (nowMs - sinceMs) / 1000
  return seconds < 1 ? 0 : Math.floor(Math.log2(seconds)) + 1
}

function deletionCost(pod: Pod): number {
  const text = pod.metadata.annotations?.[deletionCostAnnotation] ?? ''
  return /^-?[1-9]\d*$|^0$/.test(text) ? Number(text) : 0
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map(({ restartCount }) => restartCount))
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [index, rank] of a.entries()) {
    const other = b[index] ?? 0
    if (rank !== other) return rank - other
  }
  return 0
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
