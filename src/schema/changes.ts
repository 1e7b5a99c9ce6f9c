/**
 * What may change in a stored object: fields marked `.immutable()`, metadata that the server owns, and the kind's own
 * update rules (pods, services, frozen config maps).
 */
import type { FaultCause } from '#base/fault.ts'
import { invalid } from './cause.ts'
import type { ObjectShape, Shape } from './field.ts'
import type { Json, JsonObject } from './json.ts'
import { isJsonArray, isJsonObject, sameJson } from './json.ts'
import type { AnyKind, UpdateRuleContext } from './kind.ts'

/** Everything in `next` that may not differ from `previous`. Both are defaulted objects of the kind. */
export function changes(kind: AnyKind, next: object, previous: object, context: UpdateRuleContext = { subresource: '' }): readonly FaultCause[] {
  const [after, before] = [next as JsonObject, previous as JsonObject]
  const causes: FaultCause[] = []
  collect(kind.schema.facts.shape, after, before, '', causes)
  return [...causes, ...(kind.validateUpdate?.(after, before, context) ?? [])]
}

function collect(shape: Shape, next: Json | undefined, previous: Json | undefined, path: string, into: FaultCause[]): void {
  if (previous === undefined || next === undefined || next === previous) return
  if (shape.type === 'object' && isJsonObject(next) && isJsonObject(previous)) return collectFields(shape, next, previous, path, into)
  if (shape.type === 'list' && shape.merge === 'map' && isJsonArray(next) && isJsonArray(previous)) {
    next.forEach((item, index) => {
      const partner = previous.find((other) => sameKeys(shape.keys, item, other))
      collect(shape.of.facts.shape, item, partner, `${path}[${index}]`, into)
    })
  }
}

function collectFields(shape: ObjectShape, next: JsonObject, previous: JsonObject, path: string, into: FaultCause[]): void {
  for (const [name, { facts }] of shape.entries) {
    const at = path === '' ? name : `${path}.${name}`
    const [after, before] = [next[name], previous[name]]
    if (facts.immutable && before !== undefined && !sameJson(after, before)) into.push(invalid(at, after ?? null, 'field is immutable'))
    else collect(facts.shape, after, before, at, into)
  }
}

function sameKeys(keys: readonly string[], a: Json, b: Json): boolean {
  return isJsonObject(a) && isJsonObject(b) && keys.every((key) => sameJson(a[key], b[key]))
}
