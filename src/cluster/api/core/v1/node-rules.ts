/** Rules of nodes and of bindings to them. */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, forbidden, invalid, notSupported, required } from '#schema/cause.ts'
import { formatProblem } from '#schema/text-formats.ts'
import type { NodeSpec } from './node.ts'
import type { ObjectReference } from './object-reference.ts'

export function nodeRules({ spec }: { readonly spec: NodeSpec }): readonly FaultCause[] {
  const seen = new Set<string>()
  const taints = (spec.taints ?? []).flatMap((taint, index) => {
    const key = `${taint.key}:${taint.effect}`
    const repeated = seen.has(key)
    seen.add(key)
    const valueProblem = taint.value === undefined ? undefined : formatProblem('labelValue', taint.value)
    return [
      ...(repeated ? [duplicate(`spec.taints[${index}]`, { key: taint.key, effect: taint.effect })] : []),
      ...(valueProblem === undefined ? [] : [invalid(`spec.taints[${index}].value`, taint.value, valueProblem)]),
    ]
  })
  const ranges = (spec.podCIDRs ?? []).flatMap((range, index) => {
    const problem = formatProblem('cidr', range)
    return problem === undefined ? [] : [invalid(`spec.podCIDRs[${index}]`, range, problem)]
  })
  return [...taints, ...ranges]
}

/** A node keeps the range and the provider's id it was given. */
export function nodeUpdateRules(next: { readonly spec: NodeSpec }, previous: { readonly spec: NodeSpec }): readonly FaultCause[] {
  const set = (['podCIDR', 'providerID'] as const).filter((field) => previous.spec[field] !== undefined && next.spec[field] !== previous.spec[field])
  return set.map((field) => forbidden(`spec.${field}`, 'node updates may not change it except from ""'))
}

export function bindingRules({ target }: { readonly target: ObjectReference }): readonly FaultCause[] {
  const kind = target.kind === undefined || target.kind === 'Node' ? [] : [notSupported('target.kind', target.kind, ['Node', '<empty>'])]
  return target.name === undefined ? [...kind, required('target.name')] : kind
}
