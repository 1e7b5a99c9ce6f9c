/** The words that kinds are written in. See `field.ts` for what they become, and `cluster/api/` for their use. */
import type { AnyField, FieldFacts, Fields, ListShape, MapShape, ObjectCheck, ObjectShape, Presence, Shape, StringFormat } from './field.ts'
import { Field } from './field.ts'
import type { Json, JsonObject } from './json.ts'

type KeysOf<F extends Fields, P extends Presence> = { [K in keyof F]: F[K]['~presence'] extends P ? K : never }[keyof F]

/** What a client may submit: only `required` fields must be there. */
export type InOf<F extends Fields> = { readonly [K in KeysOf<F, 'required'>]: F[K]['~in'] } & {
  readonly [K in KeysOf<F, 'optional' | 'assigned'>]?: F[K]['~in'] | undefined
}
/** What is stored: required and assigned fields are there. */
export type OutOf<F extends Fields> = { readonly [K in KeysOf<F, 'required' | 'assigned'>]: F[K]['~out'] } & {
  readonly [K in KeysOf<F, 'optional'>]?: F[K]['~out'] | undefined
}
export type In<T extends AnyField> = T['~in']
export type Out<T extends AnyField> = T['~out']

function field<I, O = I>(shape: Shape, doc = ''): Field<I, O> {
  const facts: FieldFacts = { shape: Object.freeze(shape), presence: 'required', emission: 'always', immutable: false, doc, proto: [], secret: false }
  return new Field(facts)
}

export interface StringOptions {
  readonly minLength?: number
  readonly maxLength?: number
  readonly format?: StringFormat
}
export const string = (options: StringOptions = {}): Field<string, string> => field({ type: 'string', ...options })
/** RFC 1123 label: at most 63 of `a-z0-9-`, starting and ending alphanumeric. */
export const dnsLabel = (): Field<string, string> => field({ type: 'string', format: 'dnsLabel' })
/** RFC 1123 subdomain: labels joined by dots, at most 253 characters. */
export const dnsSubdomain = (): Field<string, string> => field({ type: 'string', format: 'dnsSubdomain' })
/** A closed set of words. Sets that may grow (condition types, reasons) are `string()`. */
export const oneOf = <const V extends readonly string[]>(...values: V): Field<V[number], V[number]> => field({ type: 'string', values })
export const int32 = (min?: number, max?: number): Field<number, number> => field({ type: 'integer', bits: 32, min, max })
/** 64 bits on the wire; values beyond 2^53 do not occur in these kinds and are refused. */
export const int64 = (min?: number, max?: number): Field<number, number> => field({ type: 'integer', bits: 64, min, max })
export const bool = (): Field<boolean, boolean> => field({ type: 'boolean' })
/** Base64 in JSON. */
export const bytes = (): Field<string, string> => field({ type: 'bytes' })
/** `100m`, `1Gi`, `2`: parse with `quantity.ts`. Clients may send a bare number; stored quantities are canonical strings. */
export const quantity = (): Field<string | number, string> => field({ type: 'quantity' })
export const intOrString = (): Field<number | string, number | string> => field({ type: 'intOrString' })
/** RFC 3339 with whole seconds. */
export const time = (): Field<string, string> => field({ type: 'time', precision: 'seconds' })
/** RFC 3339 with six decimals. */
export const microTime = (): Field<string, string> => field({ type: 'time', precision: 'micros' })
/** JSON that is kept as it came. */
export const raw = (name: 'FieldsV1' | 'RawExtension'): Field<JsonObject, JsonObject> => field({ type: 'raw', name })

export interface ObjectOptions {
  readonly atomic?: boolean
  readonly retainKeys?: boolean
  readonly reported?: boolean
  readonly doc?: string
  readonly complete?: (value: JsonObject) => JsonObject
  readonly check?: ObjectCheck
}
/** `name` is the type's short OpenAPI name, e.g. `core.v1.Container`. */
export function object<const F extends Fields>(name: string, fields: F, options: ObjectOptions = {}): Field<InOf<F>, OutOf<F>> {
  const { atomic = false, retainKeys = false, reported = false, doc = '', ...rules } = options
  const shape: ObjectShape = { type: 'object', name, fields: Object.freeze(fields), entries: Object.entries<AnyField>(fields), atomic, retainKeys, reported, doc, ...rules }
  return field(shape)
}

/** The fields of a Go struct embedded inline: flat in JSON, a message of their own (number `outer`) in protobuf. */
export function within<F extends Fields>(outer: number, fields: F): F {
  const moved: Record<string, AnyField> = {}
  for (const [name, inner] of Object.entries(fields)) moved[name] = inner.proto(outer, ...inner.facts.proto)
  return moved as F
}

export interface ListOptions {
  readonly patch?: 'merge' | 'replace'
  readonly patchKey?: string
  readonly minItems?: number
  readonly maxItems?: number
}
function list<I, O>(of: Field<I, O, Presence>, merge: ListShape['merge'], keys: readonly string[], options: ListOptions): Field<readonly I[], readonly O[]> {
  const patch = options.patch ?? (options.patchKey === undefined ? 'replace' : 'merge')
  return field<readonly I[], readonly O[]>({ type: 'list', of, merge, keys, ...options, patch })
}
/** A list that is replaced as a whole. */
export const listOf = <I, O>(of: Field<I, O, Presence>, options: ListOptions = {}): Field<readonly I[], readonly O[]> => list(of, 'atomic', [], options)
/** Scalars without duplicates; order carries no meaning. */
export const setOf = <I, O>(of: Field<I, O, Presence>, options: ListOptions = {}): Field<readonly I[], readonly O[]> => list(of, 'set', [], options)
/** Objects told apart by `keys` in server-side apply, and by `patchKey` in strategic merge patches. */
export const listBy = <I, O>(keys: readonly string[], of: Field<I, O, Presence>, options: ListOptions = {}): Field<readonly I[], readonly O[]> =>
  list(of, 'map', keys, options)

export interface MapOptions {
  readonly atomic?: boolean
  readonly keyFormat?: StringFormat
}
export function mapOf<I, O>(of: Field<I, O, Presence>, options: MapOptions = {}): Field<{ readonly [key: string]: I }, { readonly [key: string]: O }> {
  const shape: MapShape = { type: 'map', of, atomic: options.atomic ?? false, keyFormat: options.keyFormat }
  return field(shape)
}

/** A field's shape as an object; asserts that it is one. Kinds and sub-objects are. */
export function objectShape(of: AnyField): ObjectShape {
  if (of.facts.shape.type !== 'object') throw new TypeError(`expected an object field, got ${of.facts.shape.type}`)
  return of.facts.shape
}

/** The zero value that Go prints for a field without omitempty. */
export function zeroOf(shape: Shape): Json {
  switch (shape.type) {
    case 'string':
    case 'bytes':
      return ''
    case 'quantity':
      return '0'
    case 'integer':
    case 'intOrString':
      return 0
    case 'boolean':
      return false
    case 'object':
    case 'map':
      return {}
    case 'list':
      return []
    case 'time':
    case 'raw':
      return null
  }
}
