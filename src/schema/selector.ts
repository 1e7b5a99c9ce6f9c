/**
 * Label and field selectors: parsing what kubectl sends, and matching (Kubernetes documentation, "Labels and Selectors",
 * "Field Selectors"). A selector is a list of requirements that must all hold; the empty list matches everything.
 */
import { Fault } from '#base/fault.ts'
import type { AnyField } from './field.ts'
import type { Json } from './json.ts'
import { isJsonObject } from './json.ts'
import type { AnyKind } from './kind.ts'
import { formatProblem } from './text-formats.ts'

export interface LabelRequirement {
  readonly key: string
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt'
  readonly values: readonly string[]
}
export type Labels = { readonly [key: string]: string } | undefined

/** Structurally `meta.v1.LabelSelector`. */
export interface LabelSelectorLike {
  readonly matchLabels?: { readonly [key: string]: string } | undefined
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'; readonly values?: readonly string[] | undefined }[] | undefined
}

export function matchesLabels(requirements: readonly LabelRequirement[], labels: Labels): boolean {
  return requirements.every((requirement) => meets(requirement, labels))
}

function meets({ key, operator, values }: LabelRequirement, labels: Labels): boolean {
  const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined
  switch (operator) {
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Gt':
    case 'Lt': {
      if (value === undefined || !/^-?\d+$/.test(value)) return false
      const [left, right] = [BigInt(value), BigInt(values[0] ?? '0')]
      return operator === 'Gt' ? left > right : left < right
    }
  }
}

/** Requirements of a structured selector. An absent selector matches nothing: the caller decides what absence means. */
export function requirementsOf(selector: LabelSelectorLike): readonly LabelRequirement[] {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]): LabelRequirement => ({ key, operator: 'In', values: [value] }))
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }): LabelRequirement => ({ key, operator, values: values ?? [] }))
  return [...equal, ...expressions]
}

/** Whether a structured selector matches; undefined matches nothing, an empty one everything. */
export function selects(selector: LabelSelectorLike | undefined, labels: Labels): boolean {
  return selector !== undefined && matchesLabels(requirementsOf(selector), labels)
}

/** Requirements of a plain map of labels, as in a Service or a node selector. */
export function requirementsOfLabels(labels: { readonly [key: string]: string }): readonly LabelRequirement[] {
  return requirementsOf({ matchLabels: labels })
}

/** The text form, as `scale` puts it into `status.selector` and kubectl sends it back. */
export function formatLabelSelector(requirements: readonly LabelRequirement[]): string {
  return requirements.map(formatRequirement).join(',')
}

function formatRequirement({ key, operator, values }: LabelRequirement): string {
  switch (operator) {
    case 'Exists':
      return key
    case 'DoesNotExist':
      return `!${key}`
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${[...values].sort().join(',')})`
    case 'NotIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${[...values].sort().join(',')})`
    case 'Gt':
      return `${key}>${values[0]}`
    case 'Lt':
      return `${key}<${values[0]}`
  }
}

/** Parses `app=web,tier in (a,b),!old,gen>3`. Throws `invalidArgument` naming the part that is wrong. */
export function parseLabelSelector(text: string): readonly LabelRequirement[] {
  const parts = splitOutsideParentheses(text)
  return parts.map((part) => parseRequirement(part, text))
}

function splitOutsideParentheses(text: string): string[] {
  if (text.trim() === '') return []
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let index = 0; index < text.length; index++) {
    const mark = text[index]
    if (mark === '(') depth++
    else if (mark === ')') depth--
    else if (mark === ',' && depth === 0) {
      parts.push(text.slice(start, index))
      start = index + 1
    }
  }
  return [...parts, text.slice(start)].map((part) => part.trim())
}

function parseRequirement(part: string, whole: string): LabelRequirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part)
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim())
    return checked({ key: set[1] ?? '', operator: set[2] === 'in' ? 'In' : 'NotIn', values }, part, whole)
  }
  const absent = /^!\s*(\S+)$/.exec(part)
  if (absent !== null) return checked({ key: absent[1] ?? '', operator: 'DoesNotExist', values: [] }, part, whole)
  const compared = /^([^\s=!<>]+)\s*(==|=|!=|>|<)\s*([^\s=!<>]*)$/.exec(part)
  if (compared !== null) {
    const operators = { '=': 'In', '==': 'In', '!=': 'NotIn', '>': 'Gt', '<': 'Lt' } as const
    const sign = compared[2]
    const operator = sign === '=' || sign === '==' || sign === '!=' || sign === '>' || sign === '<' ? operators[sign] : 'In'
    return checked({ key: compared[1] ?? '', operator, values: [compared[3] ?? ''] }, part, whole)
  }
  return checked({ key: part, operator: 'Exists', values: [] }, part, whole)
}

function checked(requirement: LabelRequirement, part: string, whole: string): LabelRequirement {
  const refuse = (problem: string): never => {
    throw new Fault('invalidArgument', `unable to parse requirement '${part}' of selector '${whole}': ${problem}`)
  }
  const keyProblem = formatProblem('labelKey', requirement.key)
  if (keyProblem !== undefined) refuse(`key '${requirement.key}': ${keyProblem}`)
  const counted = requirement.operator === 'Gt' || requirement.operator === 'Lt'
  for (const value of requirement.values) {
    const problem = counted ? (/^-?\d+$/.test(value) ? undefined : 'must be an integer') : formatProblem('labelValue', value)
    if (problem !== undefined) refuse(`value '${value}': ${problem}`)
  }
  return requirement
}

export interface FieldRequirement {
  readonly field: string
  readonly operator: '=' | '!='
  readonly value: string
}

/** Parses `status.phase=Running,spec.nodeName!=n1`; `\` escapes `,`, `=` and itself in values. */
export function parseFieldSelector(text: string): readonly FieldRequirement[] {
  const terms = text.match(/(?:\\.|[^\\,])+/g) ?? []
  return terms.map((term) => {
    const match = /^\s*([^=!\s]+)\s*(==|=|!=)((?:\\.|[^\\=])*)$/.exec(term)
    if (match === null) throw new Fault('invalidArgument', `invalid field selector '${term}': write path=value or path!=value`)
    return { field: match[1] ?? '', operator: match[2] === '!=' ? '!=' : '=', value: (match[3] ?? '').replace(/\\(.)/g, '$1').trim() }
  })
}

/** Field paths that a kind can be selected by. */
function selectableFields(kind: AnyKind): readonly string[] {
  return ['metadata.name', ...(kind.namespaced ? ['metadata.namespace'] : []), ...kind.selectable]
}

/** Throws `invalidArgument` for a field the kind cannot be selected by. */
export function checkFieldSelector(kind: AnyKind, requirements: readonly FieldRequirement[]): void {
  const allowed = selectableFields(kind)
  for (const { field } of requirements) {
    if (allowed.includes(field) || field === 'metadata.namespace') continue
    throw new Fault('invalidArgument', `field label not supported: ${field} (${kind.plural} can be selected by ${allowed.join(', ')})`)
  }
}

export function matchesFields(kind: AnyKind, requirements: readonly FieldRequirement[], object: object): boolean {
  return requirements.every(({ field, operator, value }) => (fieldText(kind, field, object) === value) === (operator === '='))
}

/** What a field selector compares with: the text of a scalar, and of its zero value when absent. */
export function fieldText(kind: AnyKind, path: string, object: object): string {
  let value: unknown = object
  let field: AnyField | undefined = kind.schema
  for (const key of (kind.selectorAliases[path] ?? path).split('.')) {
    value = isJsonObject(value) ? value[key] : undefined
    field = field?.facts.shape.type === 'object' ? field.facts.shape.fields[key] : undefined
  }
  return scalarText(value, field)
}

function scalarText(value: unknown, field: AnyField | undefined): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const type = field?.facts.shape.type
  return type === 'boolean' ? 'false' : type === 'integer' ? '0' : ''
}

/** The value at a dotted path, for scale subresources. */
export function valueAt(object: object, path: string): Json | undefined {
  let value: unknown = object
  for (const key of path.split('.')) value = isJsonObject(value) ? value[key] : undefined
  return value as Json | undefined
}
