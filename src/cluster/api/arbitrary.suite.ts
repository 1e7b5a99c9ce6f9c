/** Random objects of any kind, for property tests: every field sometimes there, values of the right shape. */
import fc from 'fast-check'
import type { AnyField, Shape } from '#schema/field.ts'
import type { Json, JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'

/** An object of the kind, not necessarily valid, but of the right types. */
export function arbitraryObject(kind: AnyKind): fc.Arbitrary<JsonObject> {
  return arbitraryOf(kind.schema.facts.shape, 0).map((value): JsonObject => ({ ...(value as JsonObject), apiVersion: kind.apiVersion, kind: kind.kind }))
}

const word = fc.constantFrom('a', 'b', 'web', 'x-1', 'Ünï', '0', 'true')
const seconds = fc.integer({ min: 0, max: 2_000_000_000 }).map((value) => `${new Date(value * 1000).toISOString().slice(0, 19)}Z`)

function arbitraryOf(shape: Shape, depth: number): fc.Arbitrary<Json> {
  switch (shape.type) {
    case 'string':
      return shape.values === undefined ? word : fc.constantFrom(...shape.values)
    case 'integer':
      return shape.bits === 32 ? fc.integer() : fc.maxSafeInteger()
    case 'boolean':
      return fc.boolean()
    case 'bytes':
      return fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('base64'))
    case 'quantity':
      return fc.constantFrom('100m', '2', '512Mi', '1G', '0')
    case 'intOrString':
      return fc.oneof(fc.integer(), word)
    case 'time':
      return shape.precision === 'seconds' ? seconds : seconds.map((text) => text.replace('Z', '.123456Z'))
    case 'raw':
      return fc.constant({ 'f:a': {} })
    case 'map':
      return fc.dictionary(word, arbitraryOf(shape.of.facts.shape, depth + 1), { maxKeys: 3 })
    case 'list':
      return fc.array(arbitraryOf(shape.of.facts.shape, depth + 1), { maxLength: 2 })
    case 'object':
      return fc.record<Record<string, Json>>(fieldsOf(shape.fields, depth), { requiredKeys: [] })
  }
}

/** Deep down only a few fields are tried, so that objects stay small. */
function fieldsOf(fields: { readonly [name: string]: AnyField }, depth: number): Record<string, fc.Arbitrary<Json>> {
  const chosen = Object.entries(fields).filter((_, index) => depth < 3 || index % 4 === 0)
  return Object.fromEntries(chosen.map(([name, { facts }]) => [name, fc.option(arbitraryOf(facts.shape, depth + 1), { nil: undefined, freq: 2 }) as fc.Arbitrary<Json>]))
}
