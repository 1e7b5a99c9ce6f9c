/**
 * Why a pod cannot go to a node: one pure function per rule, each answering the reasons as `kubectl describe pod` shows
 * them ("0/3 nodes are available: 1 Insufficient cpu, …"). The first rule that objects decides, cheap ones come first.
 */
import type { Node } from '../api/core/v1/node.ts'
import { matchesNode } from './node-affinity.ts'
import type { NodeInfo, PodInfo } from './node-info.ts'
import { podSlots } from './resources.ts'
import { tolerates } from './tolerations.ts'

interface Candidate extends NodeInfo {
  readonly node: Node
}

type Filter = (pod: PodInfo, candidate: Candidate) => readonly string[]

const fits: readonly string[] = []
const unschedulableTaint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const

const isSchedulable: Filter = ({ pod }, { node }) => {
  if (node.spec.unschedulable !== true) return fits
  const tolerated = pod.spec.tolerations?.some((toleration) => tolerates(toleration, unschedulableTaint)) === true
  return tolerated ? fits : ['node(s) were unschedulable']
}

const hasTaintsTolerated: Filter = ({ pod }, { node }) => {
  for (const taint of node.spec.taints ?? []) {
    if (taint.effect === 'PreferNoSchedule' || pod.spec.tolerations?.some((toleration) => tolerates(toleration, taint)) === true) continue
    return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`]
  }
  return fits
}

const isSelected: Filter = ({ pod }, { node }) => (matchesNode(pod, node) ? fits : ["node(s) didn't match Pod's node affinity/selector"])

const hasFreePorts: Filter = ({ ports }, { pods }) => {
  if (ports.length === 0) return fits
  const any = (ip: string): boolean => ip === '0.0.0.0' || ip === '::'
  for (const other of pods.values()) {
    for (const taken of other.ports) {
      const clash = ports.some((port) => port.port === taken.port && port.protocol === taken.protocol && (port.ip === taken.ip || any(port.ip) || any(taken.ip)))
      if (clash) return ["node(s) didn't have free ports for the requested pod ports"]
    }
  }
  return fits
}

const hasRoom: Filter = ({ requests }, { allocatable, requested }) => {
  let short: string[] | undefined
  for (const name in requests) {
    const amount = requests[name] ?? 0
    if (amount <= 0 || amount + (requested[name] ?? 0) <= (allocatable[name] ?? 0)) continue
    short ??= []
    short.push(name === podSlots ? 'Too many pods' : `Insufficient ${name}`)
  }
  return short ?? fits
}

const filters: readonly Filter[] = [isSchedulable, hasTaintsTolerated, isSelected, hasFreePorts, hasRoom]

/** Empty when the pod may go there. */
export function objections(pod: PodInfo, info: NodeInfo): readonly string[] {
  if (info.node === undefined) return ['node(s) are gone']
  const candidate = info as Candidate
  for (const filter of filters) {
    const reasons = filter(pod, candidate)
    if (reasons.length > 0) return reasons
  }
  return fits
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` */
export function explain(nodes: number, reasons: ReadonlyMap<string, number>): string {
  if (nodes === 0) return 'no nodes available to schedule pods'
  const parts = [...reasons].map(([reason, count]) => `${count} ${reason}`).toSorted()
  return `0/${nodes} nodes are available: ${parts.join(', ')}.`
}
