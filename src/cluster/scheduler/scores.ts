/**
 * Which of the nodes that fit is best: 0 to 100 per rule, weighted. Workloads are packed onto few nodes, but the replicas
 * of one workload are spread over them, for a node that is lost should not take all of them along (upstream's default
 * spreading constraints weigh as much). Pure.
 */
import { preference } from './node-affinity.ts'
import type { NodeInfo, PodInfo } from './node-info.ts'
import { tolerates } from './tolerations.ts'

const weights = { packing: 1, affinity: 2, spreading: 2, taints: 3 } as const
const packed = ['cpu', 'memory'] as const
/** Pods that request nothing still take room: they count as this much, so that they do not all pile onto one node. */
const assumed: Readonly<Record<(typeof packed)[number], number>> = { cpu: 100, memory: 200 * 1024 * 1024 }

/** How full the node would be, so that pods fill few nodes and leave room for large ones ("Resource Bin Packing"). */
export function packing({ requests }: PodInfo, { allocatable, requested }: NodeInfo): number {
  let sum = 0
  for (const name of packed) {
    const capacity = allocatable[name] ?? 0
    if (capacity === 0) continue
    const wanted = (requested[name] ?? 0) + (requests[name] ?? assumed[name])
    // What requests nothing may go where requests add up to everything; there it scores as if the node were full.
    sum += Math.min(100, (100 * wanted) / capacity)
  }
  return sum / packed.length
}

function unwantedTaints({ pod }: PodInfo, { node }: NodeInfo): number {
  const soft = node?.spec.taints?.filter(({ effect }) => effect === 'PreferNoSchedule') ?? []
  return soft.filter((taint) => pod.spec.tolerations?.some((toleration) => tolerates(toleration, taint)) !== true).length
}

/** One score per candidate, in their order. */
export function scores(pod: PodInfo, candidates: readonly NodeInfo[]): number[] {
  const affinity = candidates.map(({ node }) => (node === undefined ? 0 : preference(pod.pod, node)))
  const taints = candidates.map((candidate) => unwantedTaints(pod, candidate))
  const mostAffinity = Math.max(0, ...affinity)
  const mostTaints = Math.max(0, ...taints)
  const siblings = candidates.map(({ owners }) => (pod.owner === '' ? 0 : (owners.get(pod.owner) ?? 0)))
  const mostSiblings = Math.max(0, ...siblings)
  return candidates.map((candidate, index) => {
    const wanted = mostAffinity === 0 ? 0 : (100 * (affinity[index] ?? 0)) / mostAffinity
    const clean = mostTaints === 0 ? 100 : 100 - (100 * (taints[index] ?? 0)) / mostTaints
    const spread = mostSiblings === 0 ? 100 : 100 - (100 * (siblings[index] ?? 0)) / mostSiblings
    return weights.packing * packing(pod, candidate) + weights.affinity * wanted + weights.spreading * spread + weights.taints * clean
  })
}
