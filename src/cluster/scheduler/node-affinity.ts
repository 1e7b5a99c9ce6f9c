/** Node selectors ("Assigning Pods to Nodes: Node affinity"). Pure. */
import type { NodeSelector, NodeSelectorRequirement, NodeSelectorTerm } from '../api/core/v1/affinity.ts'
import type { Node } from '../api/core/v1/node.ts'
import type { Pod } from '../api/core/v1/pod.ts'

function holds({ key, operator, values = [] }: NodeSelectorRequirement, actual: string | undefined): boolean {
  void key
  switch (operator) {
    case 'In':
      return actual !== undefined && values.includes(actual)
    case 'NotIn':
      return actual === undefined || !values.includes(actual)
    case 'Exists':
      return actual !== undefined
    case 'DoesNotExist':
      return actual === undefined
    case 'Gt':
    case 'Lt': {
      const [bound = ''] = values
      if (actual === undefined || !/^-?\d+$/.test(actual) || !/^-?\d+$/.test(bound)) return false
      return operator === 'Gt' ? BigInt(actual) > BigInt(bound) : BigInt(actual) < BigInt(bound)
    }
  }
}

/** All parts must hold; a term without parts matches nothing. */
function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, node: Node): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false
  return (
    matchExpressions.every((requirement) => holds(requirement, node.metadata.labels?.[requirement.key])) &&
    matchFields.every((requirement) => holds(requirement, requirement.key === 'metadata.name' ? node.metadata.name : undefined))
  )
}

function matchesSelector({ nodeSelectorTerms }: NodeSelector, node: Node): boolean {
  return nodeSelectorTerms.some((term) => matchesTerm(term, node))
}

/** `spec.nodeSelector` and the required part of the node affinity. */
export function matchesNode({ spec }: Pod, node: Node): boolean {
  const labels = node.metadata.labels ?? {}
  if (!Object.entries(spec.nodeSelector ?? {}).every(([name, value]) => labels[name] === value)) return false
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  return required === undefined || matchesSelector(required, node)
}

/** The sum of the weights of preferred terms that match. */
export function preference({ spec }: Pod, node: Node): number {
  const preferred = spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []
  return preferred.reduce((sum, { weight, preference: term }) => sum + (isEmpty(term) || matchesTerm(term, node) ? weight : 0), 0)
}

const isEmpty = ({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm): boolean => matchExpressions.length === 0 && matchFields.length === 0
