/**
 * Rules about who else is where: required pod affinity and anti-affinity ("Assigning Pods to Nodes: Inter-pod affinity")
 * and topology spread constraints that must hold ("Pod Topology Spread Constraints"). Looked at once per pod, over all
 * nodes, and only when somebody has such a rule. Pure.
 */
import type { LabelSelectorLike } from '#schema/selector.ts'
import { selects } from '#schema/selector.ts'
import type { PodAffinityTerm, TopologySpreadConstraint } from '../api/core/v1/affinity.ts'
import type { Node } from '../api/core/v1/node.ts'
import type { Pod } from '../api/core/v1/pod.ts'
import { matchesNode } from './node-affinity.ts'
import type { NodeInfo, PodInfo } from './node-info.ts'
import { tolerates } from './tolerations.ts'

/** Labels of a namespace, for terms with a namespaceSelector. */
export type NamespaceLabels = (namespace: string) => Readonly<Record<string, string>>

export interface Neighbourhood {
  readonly nodes: readonly NodeInfo[]
  /** Placed pods with required anti-affinity, by uid, and the node of each. */
  readonly repelling: ReadonlyMap<string, NodeInfo>
  readonly namespaceLabels: NamespaceLabels
}

/** Answers why the pod cannot go to a node; undefined when no such rule concerns the pod at all. */
export type NeighbourRule = (node: Node) => readonly string[]

const requiredAffinity = ({ spec }: Pod): readonly PodAffinityTerm[] => spec.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []
export const requiredAntiAffinity = ({ spec }: Pod): readonly PodAffinityTerm[] => spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []
const requiredSpread = ({ spec }: Pod): readonly TopologySpreadConstraint[] => (spec.topologySpreadConstraints ?? []).filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule')

/** Its place depends on other pods: when others come, it may fit. */
export function looksAtNeighbours(pod: Pod): boolean {
  return requiredAffinity(pod).length > 0 || requiredSpread(pod).length > 0
}

export function neighbourRule({ pod }: PodInfo, around: Neighbourhood): NeighbourRule | undefined {
  const checks: NeighbourRule[] = []
  const spread = requiredSpread(pod)
  if (spread.length > 0) checks.push(...spread.map((constraint) => spreadRule(pod, constraint, around)))
  if (around.repelling.size > 0) checks.push(repelledRule(pod, around))
  const anti = requiredAntiAffinity(pod)
  if (anti.length > 0) checks.push(antiAffinityRule(pod, anti, around))
  const affinity = requiredAffinity(pod)
  if (affinity.length > 0) checks.push(affinityRule(pod, affinity, around))
  if (checks.length === 0) return undefined
  return (node) => {
    for (const check of checks) {
      const reasons = check(node)
      if (reasons.length > 0) return reasons
    }
    return []
  }
}

/** Whether `other` is one of those that a term of `owner` speaks of. */
function concerns(owner: Pod, term: PodAffinityTerm, other: Pod, namespaceLabels: NamespaceLabels): boolean {
  const { namespaces = [], namespaceSelector, labelSelector } = term
  const { namespace } = other.metadata
  const named = namespaces.length === 0 && namespaceSelector === undefined ? namespace === owner.metadata.namespace : namespaces.includes(namespace)
  const selected = named || (namespaceSelector !== undefined && selects(namespaceSelector, namespaceLabels(namespace)))
  return selected && labelSelector !== undefined && selects(withKeys(labelSelector, owner, term), other.metadata.labels)
}

/** `matchLabelKeys` and `mismatchLabelKeys` are further conditions, with the owner's own values. */
function withKeys(selector: LabelSelectorLike, { metadata: { labels = {} } }: Pod, keys: { readonly matchLabelKeys?: readonly string[]; readonly mismatchLabelKeys?: readonly string[] }): LabelSelectorLike {
  const { matchLabelKeys = [], mismatchLabelKeys = [] } = keys
  if (matchLabelKeys.length + mismatchLabelKeys.length === 0) return selector
  const conditions = (operator: 'In' | 'NotIn', names: readonly string[]): { key: string; operator: 'In' | 'NotIn'; values: string[] }[] =>
    names.flatMap((key) => (labels[key] === undefined ? [] : [{ key, operator, values: [labels[key]] }]))
  return { ...selector, matchExpressions: [...(selector.matchExpressions ?? []), ...conditions('In', matchLabelKeys), ...conditions('NotIn', mismatchLabelKeys)] }
}

/** A place is a node label with its value. */
const placeOf = (key: string, node: Node | undefined): string | undefined => {
  const value = node?.metadata.labels?.[key]
  return value === undefined ? undefined : `${key}=${value}`
}

const isAt = (places: ReadonlySet<string>, key: string, node: Node): boolean => {
  const place = placeOf(key, node)
  return place !== undefined && places.has(place)
}

function repelledRule(pod: Pod, { repelling, namespaceLabels }: Neighbourhood): NeighbourRule {
  const forbidden = new Set<string>()
  const keys = new Set<string>()
  for (const [uid, { pods, node }] of repelling) {
    const other = pods.get(uid)?.pod
    for (const term of other === undefined ? [] : requiredAntiAffinity(other)) {
      const place = placeOf(term.topologyKey, node)
      if (other === undefined || place === undefined || !concerns(other, term, pod, namespaceLabels)) continue
      forbidden.add(place)
      keys.add(term.topologyKey)
    }
  }
  return (node) => ([...keys].some((key) => isAt(forbidden, key, node)) ? ["node(s) didn't satisfy existing pods anti-affinity rules"] : [])
}

function antiAffinityRule(pod: Pod, terms: readonly PodAffinityTerm[], { nodes, namespaceLabels }: Neighbourhood): NeighbourRule {
  const forbidden = new Set<string>()
  for (const { node, pods } of nodes) {
    for (const term of terms) {
      const place = placeOf(term.topologyKey, node)
      if (place !== undefined && !forbidden.has(place) && some(pods, (other) => concerns(pod, term, other, namespaceLabels))) forbidden.add(place)
    }
  }
  return (node) => (terms.some(({ topologyKey }) => isAt(forbidden, topologyKey, node)) ? ["node(s) didn't match pod anti-affinity rules"] : [])
}

function affinityRule(pod: Pod, terms: readonly PodAffinityTerm[], { nodes, namespaceLabels }: Neighbourhood): NeighbourRule {
  const wanted = new Set<string>()
  const isFriend = (other: Pod): boolean => terms.every((term) => concerns(pod, term, other, namespaceLabels))
  for (const { node, pods } of nodes) {
    if (!some(pods, isFriend)) continue
    for (const { topologyKey } of terms) {
      const place = placeOf(topologyKey, node)
      if (place !== undefined) wanted.add(place)
    }
  }
  // The first of a group that wants to be together begins it, anywhere that has the label.
  const first = wanted.size === 0 && isFriend(pod)
  const fits = (node: Node): boolean => terms.every(({ topologyKey }) => (first ? placeOf(topologyKey, node) !== undefined : isAt(wanted, topologyKey, node)))
  return (node) => (fits(node) ? [] : ["node(s) didn't match pod affinity rules"])
}

function spreadRule(pod: Pod, constraint: TopologySpreadConstraint, { nodes }: Neighbourhood): NeighbourRule {
  const { topologyKey, maxSkew, minDomains = 1, labelSelector, nodeAffinityPolicy = 'Honor', nodeTaintsPolicy = 'Ignore' } = constraint
  const selector = labelSelector === undefined ? undefined : withKeys(labelSelector, pod, { matchLabelKeys: constraint.matchLabelKeys })
  const counts = new Map<string, number>()
  const counted = (other: Pod): boolean => other.metadata.namespace === pod.metadata.namespace && other.metadata.deletionTimestamp === undefined && selector !== undefined && selects(selector, other.metadata.labels)
  for (const { node, pods } of nodes) {
    const place = placeOf(topologyKey, node)
    if (node === undefined || place === undefined) continue
    if (nodeAffinityPolicy === 'Honor' && !matchesNode(pod, node)) continue
    if (nodeTaintsPolicy === 'Honor' && !toleratesAll(pod, node)) continue
    let count = 0
    for (const other of pods.values()) if (counted(other.pod)) count += 1
    counts.set(place, (counts.get(place) ?? 0) + count)
  }
  const least = counts.size < minDomains ? 0 : Math.min(...counts.values())
  const own = selector !== undefined && selects(selector, pod.metadata.labels) ? 1 : 0
  return (node) => {
    const place = placeOf(topologyKey, node)
    if (place === undefined) return ["node(s) didn't match pod topology spread constraints (missing required label)"]
    return (counts.get(place) ?? 0) + own - least > maxSkew ? ["node(s) didn't match pod topology spread constraints"] : []
  }
}

function toleratesAll({ spec }: Pod, node: Node): boolean {
  return (node.spec.taints ?? []).every((taint) => taint.effect === 'PreferNoSchedule' || spec.tolerations?.some((toleration) => tolerates(toleration, taint)) === true)
}

function some(pods: ReadonlyMap<string, PodInfo>, test: (pod: Pod) => boolean): boolean {
  for (const { pod } of pods.values()) if (pod.metadata.deletionTimestamp === undefined && test(pod)) return true
  return false
}
