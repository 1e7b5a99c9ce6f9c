/** Label and field selector of a request, parsed once into one predicate over stored objects. */
import { isJsonObject, type JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { checkFieldSelector, matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector, type Labels } from '#schema/selector.ts'

/** True for objects that are selected. */
export type Predicate = (object: JsonObject) => boolean

export interface FieldTerm {
  readonly path: string
  readonly value: string
}

/** A field and the value that everything selected has there: the first `path=value` of the selector, if it has one. */
export function equalityTerm(fieldSelector: string | undefined): FieldTerm | undefined {
  const found = parseFieldSelector(fieldSelector ?? '').find(({ operator }) => operator === '=')
  return found === undefined ? undefined : { path: found.field, value: found.value }
}

function labelsOf({ metadata }: JsonObject): Labels {
  const labels = isJsonObject(metadata) ? metadata['labels'] : undefined
  return isJsonObject(labels) ? (labels as Labels) : undefined
}

/** Undefined when everything is selected. Throws `invalidArgument` for what cannot be parsed or selected by. */
export function selection(kind: AnyKind, labelSelector: string | undefined, fieldSelector: string | undefined): Predicate | undefined {
  const labels = parseLabelSelector(labelSelector ?? '')
  const fields = parseFieldSelector(fieldSelector ?? '')
  checkFieldSelector(kind, fields)
  if (labels.length === 0 && fields.length === 0) return undefined
  return (object) => matchesFields(kind, fields, object) && matchesLabels(labels, labelsOf(object))
}
