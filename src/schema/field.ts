/**
 * The field vocabulary: what one field of a Kubernetes object is, as plain frozen data plus phantom types.
 *
 * A kind is written once in these words (`vocabulary.ts`); every behaviour (defaults, validation, OpenAPI, merge,
 * protobuf …) is a fold over `shape` in a file of its own, one exhaustive switch each.
 *
 * Presence, in Go's terms (Kubernetes API conventions, "Optional vs. Required"):
 *   required     `T` without omitempty: a client must send it; it is always printed, zero or not.
 *   .optional()  `*T`: printed as sent when it was sent, zero or not; otherwise absent.
 *   .omitEmpty() `T` with omitempty: the zero value ("" 0 false [] {}) and absence are one and the same.
 *   .always()    a value struct, or a value without omitempty that is marked optional: clients may leave it out, it is always printed.
 *   .default(x)  as its presence says; when absent, x (or x(parent)) takes its place before storage.
 *   .assigned()  the server sets it: clients may leave it out, stored objects always have it.
 * `.default` goes last of these: it keeps when the field is printed and changes what the types promise.
 */
import type { FaultCause } from '#base/fault.ts'
import type { Json, JsonObject } from './json.ts'

/** How the static types treat a field: in what is submitted (`In`) and in what is stored (`Out`). */
export type Presence = 'required' | 'optional' | 'assigned'

/** When the canonical form prints a field. */
export type Emission = 'always' | 'whenPresent' | 'whenNonzero'

export type StringFormat =
  | 'dnsLabel' | 'dnsSubdomain' | 'dns1035Label' | 'labelKey' | 'labelValue' | 'qualifiedName' | 'ip' | 'cidr'
  | 'portName' | 'envVarName' | 'configMapKey' | 'absolutePath' | 'uid'

export interface StringShape {
  readonly type: 'string'
  readonly format?: StringFormat
  /** The closed set of allowed values. */
  readonly values?: readonly string[]
  readonly minLength?: number
  readonly maxLength?: number
}
export interface IntegerShape {
  readonly type: 'integer'
  readonly bits: 32 | 64
  readonly min?: number
  readonly max?: number
}
export interface ObjectShape {
  readonly type: 'object'
  /** `core.v1.Container`: the OpenAPI definition is `io.k8s.api.core.v1.Container`. */
  readonly name: string
  readonly fields: Fields
  /** The same in order of declaration, for the folds: made once. */
  readonly entries: readonly (readonly [string, AnyField])[]
  /** Server-side apply treats it as one value. */
  readonly atomic: boolean
  /** Strategic merge: `$retainKeys` is expected on this object (unions). */
  readonly retainKeys: boolean
  /** Reported by components, not asked for by people (status): what is missing is zero, and nothing in it is `Required`. */
  readonly reported: boolean
  readonly doc: string
  /** Last step of defaulting: sees the object with its fields' defaults in place, returns the object to use. */
  readonly complete?: (value: JsonObject) => JsonObject
  /** Rules between the fields of the object. */
  readonly check?: ObjectCheck
}
export interface ListShape {
  readonly type: 'list'
  readonly of: AnyField
  /** Server-side apply: one value, a set of scalars, or objects told apart by `keys`. */
  readonly merge: 'atomic' | 'set' | 'map'
  readonly keys: readonly string[]
  /** Strategic merge patch: `merge` by `patchKey` (scalars: by value); `replace` otherwise. Not always the apply keys. */
  readonly patch: 'merge' | 'replace'
  readonly patchKey?: string
  readonly minItems?: number
  readonly maxItems?: number
}
export interface MapShape {
  readonly type: 'map'
  readonly of: AnyField
  readonly atomic: boolean
  readonly keyFormat?: StringFormat
}
export type Shape =
  | StringShape
  | IntegerShape
  | { readonly type: 'boolean' }
  | { readonly type: 'bytes' }
  | { readonly type: 'quantity' }
  | { readonly type: 'intOrString' }
  | { readonly type: 'time'; readonly precision: 'seconds' | 'micros' }
  /** Any JSON, kept as it came (`FieldsV1`, `RawExtension`). */
  | { readonly type: 'raw'; readonly name: 'FieldsV1' | 'RawExtension' }
  | ObjectShape
  | ListShape
  | MapShape

/** A rule inside one object. `path` is where it stands, e.g. `spec.containers[0]`. */
export type ObjectCheck = (value: JsonObject, path: string) => readonly FaultCause[]

/** A default that looks at its siblings, already defaulted in the order of declaration; undefined leaves the field absent. */
export type DefaultFrom = (parent: JsonObject) => Json | undefined

export interface FieldFacts {
  readonly shape: Shape
  readonly presence: Presence
  readonly emission: Emission
  readonly fallback?: Json | DefaultFrom
  readonly immutable: boolean
  readonly doc: string
  /** Protobuf field numbers from the enclosing message down; more than one where Go embeds a struct inline in JSON. */
  readonly proto: readonly number[]
  readonly secret: boolean
}

export interface Fields {
  readonly [name: string]: AnyField
}

/** A field whose types are not known statically. Folds take this. */
export type AnyField = Field<unknown, unknown, Presence>

/**
 * One field. Every modifier returns a new field; nothing is changed in place.
 * `I` is the type of what clients submit, `O` of what is stored.
 */
export class Field<I, O, P extends Presence = 'required'> {
  declare readonly '~in': I
  declare readonly '~out': O
  declare readonly '~presence': P
  readonly facts: FieldFacts

  constructor(facts: FieldFacts) {
    this.facts = Object.freeze(facts)
  }

  optional(): Field<I, O, 'optional'> {
    return new Field({ ...this.facts, presence: 'optional', emission: 'whenPresent' })
  }
  omitEmpty(): Field<I, O, 'optional'> {
    return new Field({ ...this.facts, presence: 'optional', emission: 'whenNonzero' })
  }
  always(): Field<I, O, 'assigned'> {
    return new Field({ ...this.facts, presence: 'assigned', emission: 'always' })
  }
  assigned(): Field<I, O, 'assigned'> {
    return new Field({ ...this.facts, presence: 'assigned', emission: 'whenNonzero' })
  }
  /** A value, or a function of the parent object (a test must cover it). */
  default(fallback: I | DefaultFrom): Field<I, O, 'assigned'> {
    return new Field({ ...this.facts, presence: 'assigned', fallback: fallback as Json | DefaultFrom })
  }
  /** A default that holds only in some cases: the field stays optional in stored objects. */
  defaultWhen(fallback: DefaultFrom): Field<I, O, 'optional'> {
    return new Field({ ...this.facts, presence: 'optional', fallback })
  }
  /** May not change once the object is stored. */
  immutable(): Field<I, O, P> {
    return new Field({ ...this.facts, immutable: true })
  }
  /** What `kubectl explain` prints. Our own words. */
  doc(doc: string): Field<I, O, P> {
    return new Field({ ...this.facts, doc })
  }
  proto(...proto: readonly number[]): Field<I, O, P> {
    return new Field({ ...this.facts, proto })
  }
  /** Its values never show in logs or messages. */
  confidential(): Field<I, O, P> {
    return new Field({ ...this.facts, secret: true })
  }
}
