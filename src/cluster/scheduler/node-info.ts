/** The scheduler's view of its nodes: what each offers and who sits on it, pods included that are only on their way there. */
import type { Node } from '../api/core/v1/node.ts'
import type { Pod } from '../api/core/v1/pod.ts'
import type { Amounts } from './resources.ts'
import { amountsOf, minus, plus, podRequests } from './resources.ts'

export interface PortClaim {
  readonly ip: string
  readonly protocol: string
  readonly port: number
}

/** A pod with what the filters need of it, computed once. */
export interface PodInfo {
  readonly pod: Pod
  readonly key: string
  readonly uid: string
  readonly requests: Amounts
  readonly ports: readonly PortClaim[]
  /** The uid of its controller; '' without one. */
  readonly owner: string
  /** It has required anti-affinity. */
  readonly repels: boolean
}

export function podInfo(pod: Pod): PodInfo {
  const ports = pod.spec.containers.flatMap((container) => container.ports ?? []).flatMap(({ hostPort, hostIP, protocol }) =>
    hostPort === undefined || hostPort === 0 ? [] : [{ ip: hostIP === undefined || hostIP === '' ? '0.0.0.0' : hostIP, protocol: protocol ?? 'TCP', port: hostPort }],
  )
  return {
    pod,
    key: `${pod.metadata.namespace}/${pod.metadata.name}`,
    uid: pod.metadata.uid,
    requests: podRequests(pod),
    ports,
    owner: pod.metadata.ownerReferences?.find(({ controller }) => controller === true)?.uid ?? '',
    repels: (pod.spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).length > 0,
  }
}

export interface NodeInfo {
  readonly name: string
  /** Undefined: pods name it, but it is not (or no longer) there. */
  node: Node | undefined
  allocatable: Amounts
  requested: Amounts
  readonly pods: Map<string, PodInfo>
  /** How many of them each controller has here. */
  readonly owners: Map<string, number>
}

export class ClusterView {
  readonly #infos = new Map<string, NodeInfo>()
  /** Where each pod (by uid) sits. */
  readonly #places = new Map<string, string>()
  /** Placed pods with required anti-affinity: they concern every pod that comes after them. */
  readonly repelling = new Map<string, NodeInfo>()
  #schedulable: NodeInfo[] | undefined

  /** The nodes that exist, in a stable order. */
  get nodes(): readonly NodeInfo[] {
    this.#schedulable ??= [...this.#infos.values()].filter(({ node }) => node !== undefined)
    return this.#schedulable
  }

  get(name: string): NodeInfo | undefined {
    return this.#infos.get(name)
  }

  setNode(node: Node): void {
    const info = this.#need(node.metadata.name)
    if (info.node === undefined) this.#schedulable = undefined
    info.node = node
    info.allocatable = amountsOf(node.status.allocatable ?? node.status.capacity)
  }

  removeNode(name: string): void {
    const info = this.#infos.get(name)
    if (info === undefined) return
    info.node = undefined
    this.#schedulable = undefined
    if (info.pods.size === 0) this.#infos.delete(name)
  }

  /** Puts the pod on the node, from wherever it was counted before. */
  place(pod: PodInfo, nodeName: string): void {
    this.remove(pod.uid)
    const info = this.#need(nodeName)
    info.pods.set(pod.uid, pod)
    if (pod.owner !== '') info.owners.set(pod.owner, (info.owners.get(pod.owner) ?? 0) + 1)
    info.requested = plus(info.requested, pod.requests)
    this.#places.set(pod.uid, nodeName)
    if (pod.repels) this.repelling.set(pod.uid, info)
  }

  /** Answers whether it was counted anywhere. */
  remove(uid: string): boolean {
    const name = this.#places.get(uid)
    const info = name === undefined ? undefined : this.#infos.get(name)
    const pod = info?.pods.get(uid)
    if (info === undefined || pod === undefined) return false
    info.pods.delete(uid)
    const siblings = (info.owners.get(pod.owner) ?? 1) - 1
    if (siblings > 0) info.owners.set(pod.owner, siblings)
    else info.owners.delete(pod.owner)
    info.requested = minus(info.requested, pod.requests)
    this.#places.delete(uid)
    this.repelling.delete(uid)
    if (info.node === undefined && info.pods.size === 0) this.#infos.delete(info.name)
    return true
  }

  #need(name: string): NodeInfo {
    let info = this.#infos.get(name)
    if (info === undefined) this.#infos.set(name, (info = { name, node: undefined, allocatable: {}, requested: {}, pods: new Map(), owners: new Map() }))
    return info
  }
}
