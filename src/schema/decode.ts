/**
 * From parsed JSON to a submitted object: types are checked here, once; unknown and duplicate fields are refused, warned
 * about or ignored as the client's `fieldValidation` says (Kubernetes reference, "API concepts: field validation").
 */
import { Fault } from '#base/fault.ts'
import { ambiguousKeys } from './duplicates.ts'
import type { AnyField, ObjectShape, Shape } from './field.ts'
import type { Json, JsonObject } from './json.ts'
import { isJsonArray, isJsonObject, textOf } from './json.ts'
import type { KindDefinition, KindIdentity } from './kind.ts'
import { parseQuantity } from './quantity.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

export interface DecodeOptions {
  readonly fieldValidation: FieldValidation
  /** The JSON text, where there is one: only it shows duplicate keys. */
  readonly text?: string
}

export interface Decoded<I> {
  readonly object: I
  /** For `Warning: 299` headers. */
  readonly warnings: readonly string[]
}

/** Throws `invalidArgument` (400) for a body of another kind, a wrong type, or, when strict, unknown and duplicate fields. */
export function decodeObject<I, O>(kind: KindDefinition<I, O>, body: unknown, options: DecodeOptions): Decoded<I> {
  if (!isJsonObject(body)) throw new Fault('invalidArgument', `the body must be a JSON object of kind ${kind.kind}`)
  checkIdentity(kind, body)
  const complaints: string[] = []
  const wrong = typeProblem(kind.schema.facts.shape, body, '')
  if (wrong !== undefined) throw new Fault('invalidArgument', `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: ${wrong}`)
  if (options.fieldValidation !== 'Ignore') {
    collectUnknown(kind.schema.facts.shape, body, '', complaints)
    if (options.text !== undefined) complaints.push(...ambiguousKeys(options.text).map((path) => `duplicate field "${path}"`))
  }
  if (options.fieldValidation === 'Strict' && complaints.length > 0) {
    throw new Fault('invalidArgument', `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: strict decoding error: ${complaints.join(', ')}`)
  }
  return { object: body as I, warnings: complaints }
}

function checkIdentity(kind: KindIdentity & { readonly apiVersion: string }, body: JsonObject): void {
  const { apiVersion, kind: name } = body
  if (apiVersion !== undefined && apiVersion !== kind.apiVersion) {
    throw new Fault('invalidArgument', `the API version in the data (${textOf(apiVersion)}) does not match the expected API version (${kind.apiVersion})`)
  }
  if (name !== undefined && name !== kind.kind) {
    throw new Fault('invalidArgument', `the kind in the data (${textOf(name)}) does not match the expected kind (${kind.kind})`)
  }
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

/** The first value of a wrong JSON type, as a sentence; undefined when all types are right. Null means absent. */
function typeProblem(shape: Shape, value: Json, path: string): string | undefined {
  if (value === null) return undefined
  const wanted = (what: string): string => `${path === '' ? 'the object' : path}: expected ${what}, got ${described(value)}`
  switch (shape.type) {
    case 'string':
    case 'time':
    case 'bytes':
      return typeof value === 'string' ? undefined : wanted(shape.type === 'time' ? 'a time as a string' : shape.type === 'bytes' ? 'base64 as a string' : 'a string')
    case 'boolean':
      return typeof value === 'boolean' ? undefined : wanted('true or false')
    case 'integer':
      return integerProblem(value, shape.bits) ? wanted(`an integer of ${shape.bits} bits`) : undefined
    case 'intOrString':
      return typeof value === 'string' || !integerProblem(value, 32) ? undefined : wanted('an integer of 32 bits or a string')
    case 'quantity':
      return (typeof value === 'string' || typeof value === 'number') && parseQuantity(String(value)) !== undefined ? undefined : wanted('a quantity such as 100m or 512Mi')
    case 'raw':
      return isJsonObject(value) ? undefined : wanted('an object')
    case 'object':
      return isJsonObject(value) ? firstProblem(objectEntries(shape, value, path)) : wanted('an object')
    case 'map':
      return isJsonObject(value) ? firstProblem(mapEntries(shape.of, value, path)) : wanted('an object')
    case 'list':
      return isJsonArray(value) ? firstProblem(value.map((item, index) => [shape.of.facts.shape, item, `${path}[${index}]`])) : wanted('an array')
  }
}

type Entry = readonly [Shape, Json, string]

function objectEntries(shape: ObjectShape, value: JsonObject, path: string): Entry[] {
  const entries: Entry[] = []
  for (const [name, field] of shape.entries) {
    const inner = value[name]
    if (inner !== undefined) entries.push([field.facts.shape, inner, join(path, name)])
  }
  return entries
}

function mapEntries(of: AnyField, value: JsonObject, path: string): Entry[] {
  return Object.entries(value).map(([key, item]) => [of.facts.shape, item ?? null, join(path, key)])
}

function firstProblem(entries: readonly Entry[]): string | undefined {
  for (const [shape, value, path] of entries) {
    const problem = typeProblem(shape, value, path)
    if (problem !== undefined) return problem
  }
  return undefined
}

function integerProblem(value: Json, bits: 32 | 64): boolean {
  if (typeof value !== 'number' || !Number.isInteger(value)) return true
  return bits === 32 ? value < -(2 ** 31) || value > 2 ** 31 - 1 : !Number.isSafeInteger(value)
}

function described(value: Json): string {
  if (isJsonArray(value)) return 'an array'
  if (isJsonObject(value)) return 'an object'
  return typeof value === 'string' ? `the string ${JSON.stringify(value.slice(0, 80))}` : `${JSON.stringify(value)}`
}

/** Paths of fields that the kind does not have. */
export function unknownFields<I, O>(kind: KindDefinition<I, O>, object: JsonObject): readonly string[] {
  const complaints: string[] = []
  collectUnknown(kind.schema.facts.shape, object, '', complaints)
  return complaints.map((complaint) => complaint.slice('unknown field "'.length, -1))
}

function collectUnknown(shape: Shape, value: Json, path: string, into: string[]): void {
  if (shape.type === 'list' && isJsonArray(value)) {
    value.forEach((item, index) => collectUnknown(shape.of.facts.shape, item, `${path}[${index}]`, into))
  } else if (shape.type === 'map' && isJsonObject(value)) {
    for (const [key, item] of Object.entries(value)) collectUnknown(shape.of.facts.shape, item ?? null, join(path, key), into)
  } else if (shape.type === 'object' && isJsonObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      const field = Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined
      if (field === undefined) into.push(`unknown field "${join(path, key)}"`)
      else if (item !== undefined) collectUnknown(field.facts.shape, item, join(path, key), into)
    }
  }
}
