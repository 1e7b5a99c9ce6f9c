/** Rules of label selectors: keys and values are label syntax, and operators have the values they need. */
import type { FaultCause } from '#base/fault.ts'
import { forbidden, invalid, required } from '#schema/cause.ts'
import type { JsonObject } from '#schema/json.ts'
import { isJsonArray } from '#schema/json.ts'
import { formatProblem } from '#schema/text-formats.ts'
import { labelViolations } from '#schema/violations.ts'

export function labelSelectorRules(selector: JsonObject, path: string): readonly FaultCause[] {
  return labelViolations(selector['matchLabels'], `${path}.matchLabels`)
}

export function labelRequirementRules(requirement: JsonObject, path: string): readonly FaultCause[] {
  const { key, operator, values } = requirement
  const count = isJsonArray(values) ? values.length : 0
  const causes: FaultCause[] = []
  const problem = typeof key === 'string' ? formatProblem('labelKey', key) : undefined
  if (problem !== undefined) causes.push(invalid(`${path}.key`, key, problem))
  if ((operator === 'In' || operator === 'NotIn') && count === 0) causes.push(required(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"))
  if ((operator === 'Exists' || operator === 'DoesNotExist') && count > 0) causes.push(forbidden(`${path}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
  return causes
}
