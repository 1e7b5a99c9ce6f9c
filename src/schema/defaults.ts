/**
 * Defaults, and the canonical form in which objects are stored and printed. Both in one pass: nulls and unset fields go,
 * zero values of `omitEmpty` fields go, defaults come, value structs are always there. The result is a fixed point:
 * defaulting it again changes nothing. Input is never changed; unchanged parts are shared.
 *
 * Values of the wrong type are left for `violations` to refuse. Unknown fields are dropped here; `unknown.ts` reports them.
 */
import type { AnyField, FieldFacts, ObjectShape, Shape } from './field.ts'
import type { Json, JsonObject, MutableJsonObject } from './json.ts'
import { emptyObject, isJsonArray, isJsonObject } from './json.ts'
import type { KindDefinition } from './kind.ts'
import { canonicalQuantity } from './quantity.ts'
import { canonicalTime } from './time-text.ts'
import { zeroOf } from './vocabulary.ts'

/** The object as it is stored: defaulted and canonical. Server-assigned metadata is not invented here. */
export function withDefaults<I, O>(kind: KindDefinition<I, O>, object: I): O {
  const { shape } = kind.schema.facts
  const named = { ...(object as JsonObject), apiVersion: kind.apiVersion, kind: kind.kind }
  return canonical(shape, named, false) as O
}

/** Defaults of one field's value, for parts that are stored by themselves or tested by themselves. */
export function defaulted<I, O>(field: { readonly facts: FieldFacts; readonly '~in': I; readonly '~out': O }, value: I): O {
  return canonical(field.facts.shape, value as Json, false) as O
}

function isZero(shape: Shape, value: Json): boolean {
  switch (shape.type) {
    case 'string':
    case 'bytes':
      return value === ''
    case 'integer':
      return value === 0
    case 'intOrString':
      return value === 0 || value === ''
    case 'boolean':
      return value === false
    case 'list':
      return isJsonArray(value) && value.length === 0
    case 'map':
      return isJsonObject(value) && Object.keys(value).length === 0
    case 'time':
      return value === ''
    case 'quantity':
    case 'object':
    case 'raw':
      return false
  }
}

function canonical(shape: Shape, value: Json, reported: boolean): Json {
  switch (shape.type) {
    case 'object':
      return isJsonObject(value) ? canonicalObject(shape, value, reported || shape.reported) : value
    case 'list':
      return isJsonArray(value) ? value.map((item) => canonicalItem(shape.of, item, reported)) : value
    case 'map':
      return isJsonObject(value) ? canonicalMap(shape.of, value, reported) : value
    case 'quantity':
      return canonicalQuantity(value) ?? value
    case 'time':
      return typeof value === 'string' ? (canonicalTime(value, shape.precision) ?? value) : value
    case 'string':
    case 'integer':
    case 'boolean':
    case 'bytes':
    case 'intOrString':
    case 'raw':
      return value
  }
}

/** A null item is the zero value, as Go decodes it. */
function canonicalItem(of: AnyField, item: Json, reported: boolean): Json {
  const { shape } = of.facts
  return canonical(shape, item === null ? zeroOf(shape) : item, reported)
}

function canonicalMap(of: AnyField, value: JsonObject, reported: boolean): JsonObject {
  const result = emptyObject()
  for (const key of Object.keys(value).sort()) {
    const item = value[key]
    if (item !== undefined) result[key] = canonicalItem(of, item, reported)
  }
  return result
}

function canonicalObject(shape: ObjectShape, value: JsonObject, reported: boolean): JsonObject {
  const result: MutableJsonObject = {}
  for (const [name, field] of shape.entries) {
    const settled = settle(field.facts, value[name] ?? undefined, result, reported)
    if (settled !== undefined) result[name] = settled
  }
  return shape.complete === undefined ? result : shape.complete(result)
}

/** The value a field ends up with; undefined when it is not there. `parent` holds the fields declared before it. */
function settle(facts: FieldFacts, given: Json | undefined, parent: JsonObject, reported: boolean): Json | undefined {
  const { shape, emission, fallback } = facts
  // An empty list and no list are one and the same, on the wire and to the rules.
  const absent = given === undefined || ((emission === 'whenNonzero' || shape.type === 'list') && isZero(shape, given))
  if (!absent) {
    const value = canonical(shape, given, reported)
    return emission === 'whenNonzero' && isZero(shape, value) ? undefined : value
  }
  const replacement = typeof fallback === 'function' ? fallback(parent) : fallback
  if (replacement !== undefined) return canonical(shape, replacement, reported)
  if (emission !== 'always') return undefined
  // A required field that is missing stays missing, for `violations` to say so; reported and optional ones print their zero.
  if (facts.presence === 'required' && !reported) return undefined
  const zero = zeroOf(shape)
  return zero === null ? undefined : canonical(shape, zero, reported)
}
