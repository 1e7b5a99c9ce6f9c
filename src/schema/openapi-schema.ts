/**
 * JSON Schema of fields and kinds, as OpenAPI v2 and v3 documents hold it (Kubernetes documentation, "The Kubernetes API:
 * OpenAPI"; extensions: "x-kubernetes-*" in the API reference). `kubectl explain` reads the descriptions, `kubectl apply`
 * the merge keys.
 */
import type { AnyField, FieldFacts, ListShape, ObjectShape, Shape } from './field.ts'
import type { Json, JsonObject, MutableJsonObject } from './json.ts'
import { isJsonArray, sameJson } from './json.ts'
import type { AnyKind } from './kind.ts'
import { zeroOf } from './vocabulary.ts'

/** v3 wraps references so that a description and a default may stand beside them. */
export type Dialect = 'v2' | 'v3'

export interface GroupVersionKind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

/** Definitions of a document, by full name; filled while schemas are made. */
export class Definitions {
  readonly dialect: Dialect
  readonly #schemas = new Map<string, JsonObject>()

  constructor(dialect: Dialect) {
    this.dialect = dialect
  }

  /** Sorted by name. */
  all(): JsonObject {
    return Object.fromEntries([...this.#schemas].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  ref(name: string, make: () => JsonObject): JsonObject {
    if (!this.#schemas.has(name)) {
      // Reserve the name first: definitions may refer to themselves.
      this.#schemas.set(name, {})
      this.#schemas.set(name, make())
    }
    return { $ref: `${this.dialect === 'v2' ? '#/definitions/' : '#/components/schemas/'}${name}` }
  }

  /** Adds the group-version-kinds that a definition stands for. */
  mark(name: string, identities: readonly GroupVersionKind[]): void {
    const known = this.#schemas.get(name) ?? {}
    const earlier = known[gvkExtension]
    const before = isJsonArray(earlier) ? earlier : []
    const marks = identities.map(({ group, kind, version }): JsonObject => ({ group, kind, version }))
    const fresh = marks.filter((mark) => !before.some((other) => sameJson(other, mark)))
    this.#schemas.set(name, { ...known, [gvkExtension]: [...before, ...fresh] })
  }
}

export const gvkExtension = 'x-kubernetes-group-version-kind'
const metaPrefix = 'io.k8s.apimachinery.pkg.apis.meta.v1.'

/** `core.v1.Pod` → `io.k8s.api.core.v1.Pod`. */
export function definitionName(shortName: string): string {
  return shortName.startsWith('meta.v1.') ? `${metaPrefix}${shortName.slice('meta.v1.'.length)}` : `io.k8s.api.${shortName}`
}

const wellKnown = {
  quantity: ['io.k8s.apimachinery.pkg.api.resource.Quantity', { type: 'string', description: 'An exact amount with a suffix: 100m, 2, 512Mi, 1G.' }],
  intOrString: ['io.k8s.apimachinery.pkg.util.intstr.IntOrString', { type: 'string', format: 'int-or-string', description: 'A number, or a name or percentage as a string.' }],
  seconds: [`${metaPrefix}Time`, { type: 'string', format: 'date-time', description: 'RFC 3339 with whole seconds.' }],
  micros: [`${metaPrefix}MicroTime`, { type: 'string', format: 'date-time', description: 'RFC 3339 with microseconds.' }],
  FieldsV1: [`${metaPrefix}FieldsV1`, { type: 'object', description: 'A set of fields, as a tree of their paths.' }],
  RawExtension: ['io.k8s.apimachinery.pkg.runtime.RawExtension', { type: 'object', description: 'Any object.' }],
} as const satisfies { readonly [name: string]: readonly [string, JsonObject] }

function wellKnownRef(into: Definitions, which: keyof typeof wellKnown): JsonObject {
  const [name, schema] = wellKnown[which]
  // In v3 this one type is told as the union it is.
  const union: JsonObject = { description: schema.description, oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' }
  const number: JsonObject = { description: schema.description, oneOf: [{ type: 'string' }, { type: 'number' }] }
  const special = into.dialect === 'v3' ? (which === 'intOrString' ? union : which === 'quantity' ? number : undefined) : undefined
  return into.ref(name, () => special ?? schema)
}

/** The schema of a shape; objects become references into `into`. */
function shapeSchema(shape: Shape, into: Definitions): JsonObject {
  switch (shape.type) {
    case 'string':
      return shape.values === undefined ? { type: 'string' } : { type: 'string', enum: [...shape.values].sort() }
    case 'integer':
      return { type: 'integer', format: shape.bits === 32 ? 'int32' : 'int64' }
    case 'boolean':
      return { type: 'boolean' }
    case 'bytes':
      return { type: 'string', format: 'byte' }
    case 'quantity':
      return wellKnownRef(into, 'quantity')
    case 'intOrString':
      return wellKnownRef(into, 'intOrString')
    case 'time':
      return wellKnownRef(into, shape.precision)
    case 'raw':
      return wellKnownRef(into, shape.name)
    case 'object':
      return into.ref(definitionName(shape.name), () => objectSchema(shape, into))
    case 'map': {
      const schema: JsonObject = { type: 'object', additionalProperties: element(shape.of, into) }
      return shape.atomic ? { ...schema, 'x-kubernetes-map-type': 'atomic' } : schema
    }
    case 'list':
      return { type: 'array', items: element(shape.of, into), ...listExtensions(shape) }
  }
}

function element(of: AnyField, into: Definitions): JsonObject {
  const schema = shapeSchema(of.facts.shape, into)
  if (into.dialect === 'v2') return schema
  return '$ref' in schema ? { allOf: [schema], default: zeroForV3(of.facts.shape) } : { ...schema, ...(of.facts.shape.type === 'string' ? { default: '' } : {}) }
}

function zeroForV3(shape: Shape): Json {
  return shape.type === 'object' ? {} : shape.type === 'quantity' || shape.type === 'intOrString' || shape.type === 'time' ? {} : zeroOf(shape)
}

function listExtensions(shape: ListShape): JsonObject {
  const extensions: MutableJsonObject = { 'x-kubernetes-list-type': shape.merge }
  if (shape.merge === 'map') extensions['x-kubernetes-list-map-keys'] = shape.keys
  const inner = shape.of.facts.shape
  const retains = inner.type === 'object' && inner.retainKeys
  if (shape.patchKey !== undefined) extensions['x-kubernetes-patch-merge-key'] = shape.patchKey
  if (shape.patch === 'merge') extensions['x-kubernetes-patch-strategy'] = retains ? 'merge,retainKeys' : 'merge'
  return extensions
}

function objectSchema(shape: ObjectShape, into: Definitions): JsonObject {
  const properties: MutableJsonObject = {}
  const required: string[] = []
  for (const [name, { facts }] of [...shape.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    properties[name] = propertySchema(facts, into)
    if (facts.presence === 'required') required.push(name)
  }
  return {
    ...(shape.doc === '' ? {} : { description: shape.doc }),
    type: 'object',
    ...(required.length === 0 ? {} : { required }),
    properties,
    ...(shape.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  }
}

function propertySchema(facts: FieldFacts, into: Definitions): JsonObject {
  const schema = shapeSchema(facts.shape, into)
  const description = facts.doc === '' ? {} : { description: facts.doc }
  const fallback = typeof facts.fallback === 'function' || facts.fallback === undefined ? {} : { default: facts.fallback }
  const retains: JsonObject = facts.shape.type === 'object' && facts.shape.retainKeys ? { 'x-kubernetes-patch-strategy': 'retainKeys' } : {}
  if (!('$ref' in schema)) return { ...description, ...schema, ...fallback }
  if (into.dialect === 'v2') return { ...description, ...schema, ...retains }
  return { ...description, allOf: [schema], ...fallback, ...(facts.emission === 'always' && facts.shape.type === 'object' ? { default: {} } : {}), ...retains }
}

/** A reference to the definition of an object field. */
export function refOf(field: AnyField, into: Definitions): JsonObject {
  return shapeSchema(field.facts.shape, into)
}

/** The definition of a kind and of its list. Returns their full names. */
export function defineKindSchemas(kind: AnyKind, listMeta: AnyField, into: Definitions): { readonly item: string; readonly list: string } {
  const { shape } = kind.schema.facts
  if (shape.type !== 'object') throw new TypeError(`kind ${kind.kind} is no object`)
  const item = definitionName(shape.name)
  const list = `${item}List`
  const identity = { group: kind.group, version: kind.version }
  const itemRef = into.ref(item, () => objectSchema(shape, into))
  into.mark(item, [{ ...identity, kind: kind.kind }])
  into.ref(list, () => ({
    description: `A list of ${kind.plural}.`,
    type: 'object',
    required: ['items'],
    properties: {
      apiVersion: { type: 'string', description: 'Group and version of the list.' },
      items: { type: 'array', description: 'The objects.', items: into.dialect === 'v2' ? itemRef : { allOf: [itemRef], default: {} } },
      kind: { type: 'string', description: 'Kind of the list.' },
      metadata: propertySchema(listMeta.facts, into),
    },
  }))
  into.mark(list, [{ ...identity, kind: kind.listKind }])
  return { item, list }
}
