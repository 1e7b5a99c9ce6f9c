/**
 * Sets of field paths, as `managedFields` keeps them (`FieldsV1`; Kubernetes documentation, "Server-Side Apply"). A set is a
 * tree; a path element is written as FieldsV1 writes it: `f:name` a field or map key, `k:{"name":"web"}` a list item by its
 * keys, `v:"x"` an item of a set. Sets are never changed in place.
 */
import type { AnyField, ListShape, Shape } from './field.ts'
import type { Json, JsonObject, MutableJsonObject } from './json.ts'
import { emptyObject, isJsonArray, isJsonObject, sameJson } from './json.ts'

export interface FieldSet {
  /** Whether the path itself is in the set, not only something below it. */
  readonly member: boolean
  readonly children: ReadonlyMap<string, FieldSet>
}

export const emptySet: FieldSet = { member: false, children: new Map() }
const leaf: FieldSet = { member: true, children: new Map() }

export function isEmptySet(set: FieldSet): boolean {
  return !set.member && [...set.children.values()].every(isEmptySet)
}

function combine(a: FieldSet, b: FieldSet, member: boolean, step: (x: FieldSet, y: FieldSet) => FieldSet): FieldSet {
  const children = new Map<string, FieldSet>()
  for (const key of new Set([...a.children.keys(), ...b.children.keys()])) {
    const child = step(a.children.get(key) ?? emptySet, b.children.get(key) ?? emptySet)
    if (!isEmptySet(child)) children.set(key, child)
  }
  return { member, children }
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, a.member || b.member, union)
}
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, a.member && b.member, intersection)
}
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, a.member && !b.member, difference)
}
/** `a` without the paths of `b` and without everything below them. */
export function withoutBranches(a: FieldSet, b: FieldSet): FieldSet {
  return b.member ? emptySet : combine(a, b, a.member, withoutBranches)
}

/** The JSON of `fieldsV1`. */
export function toFieldsV1(set: FieldSet): JsonObject {
  const result: MutableJsonObject = {}
  if (set.member && set.children.size > 0) result['.'] = {}
  for (const [key, child] of [...set.children].sort(([a], [b]) => (a < b ? -1 : 1))) result[key] = toFieldsV1(child)
  return result
}

/** Reads `fieldsV1`; the root is never a member. */
export function fromFieldsV1(json: JsonObject): FieldSet {
  return { ...readNode(json), member: false }
}

function readNode(json: JsonObject): FieldSet {
  const children = new Map<string, FieldSet>()
  for (const [key, value] of Object.entries(json)) if (key !== '.') children.set(key, readNode(isJsonObject(value) ? value : {}))
  return { member: children.size === 0 || json['.'] !== undefined, children }
}

/** Every path of the set, as kubectl prints conflicts: `.spec.containers[name="web"].image`. */
export function pathsOf(set: FieldSet, prefix = ''): string[] {
  const own = set.member && prefix !== '' ? [prefix] : []
  return [...own, ...[...set.children].flatMap(([key, child]) => pathsOf(child, `${prefix}${shownElement(key)}`))]
}

function shownElement(key: string): string {
  const body = key.slice(2)
  if (key.startsWith('f:')) return `.${body}`
  if (!key.startsWith('k:')) return `[=${body}]`
  const keys: unknown = JSON.parse(body)
  return `[${Object.entries(isJsonObject(keys) ? keys : {}).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}]`
}

/** How a list item is told apart; undefined where the list is one value. */
function elementKey(shape: ListShape, item: Json): string | undefined {
  if (shape.merge === 'set') return `v:${JSON.stringify(item)}`
  if (shape.merge !== 'map' || !isJsonObject(item)) return undefined
  const keys: MutableJsonObject = {}
  for (const name of [...shape.keys].sort()) {
    const value = item[name] ?? keyDefault(shape, name)
    if (value !== undefined) keys[name] = value
  }
  return `k:${JSON.stringify(keys)}`
}

/** A key that was left out stands for its default (`protocol: TCP`). */
function keyDefault(shape: ListShape, name: string): Json | undefined {
  const item = shape.of.facts.shape
  const fallback = item.type === 'object' ? item.fields[name]?.facts.fallback : undefined
  return typeof fallback === 'function' ? undefined : fallback
}

/** One value where nothing inside is owned apart. */
function isWhole(shape: Shape | undefined, value: Json): boolean {
  if (shape === undefined) return true
  if (shape.type === 'object' || shape.type === 'map') return shape.atomic || !isJsonObject(value)
  return shape.type !== 'list' || shape.merge === 'atomic' || !isJsonArray(value)
}

/** The parts of a value under their path elements, each with its shape. */
function parts(shape: Shape, value: Json): (readonly [string, Shape | undefined, Json])[] {
  if (shape.type === 'list' && isJsonArray(value)) {
    return value.map((item) => [elementKey(shape, item) ?? `v:${JSON.stringify(item)}`, shape.of.facts.shape, item] as const)
  }
  if (!isJsonObject(value)) return []
  return Object.entries(value).flatMap(([key, inner]) => (inner === undefined ? [] : [[`f:${key}`, shapeOfKey(shape, key), inner] as const]))
}

function shapeOfKey(shape: Shape, key: string): Shape | undefined {
  if (shape.type === 'map') return shape.of.facts.shape
  const field: AnyField | undefined = shape.type === 'object' && Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined
  return field?.facts.shape
}

/** The fields that a configuration sets: leaves, list items, and what is empty. */
export function fieldSetOf(shape: Shape | undefined, value: Json): FieldSet {
  if (shape === undefined || isWhole(shape, value)) return leaf
  const inner = parts(shape, value)
  const children = new Map<string, FieldSet>()
  for (const [key, childShape, child] of inner) {
    const set = fieldSetOf(childShape, child)
    // A list item is owned as such, besides its fields.
    children.set(key, shape.type === 'list' ? { ...set, member: true } : set)
  }
  return { member: inner.length === 0, children }
}

/** What is wrong with keyed lists, item by item: keys that are missing, and keys that an earlier item has. Such lists cannot be applied. */
export function unaddressableItems(shape: Shape | undefined, value: Json, path = ''): string[] {
  if (shape === undefined || isWhole(shape, value)) return []
  const seen = new Set<string>()
  return parts(shape, value).flatMap(([key, inner, item]) => {
    const at = `${path}${shownElement(key)}`
    const repeated = seen.has(key)
    seen.add(key)
    const missing = shape.type === 'list' && shape.merge === 'map' ? shape.keys.filter((name) => isJsonObject(item) && item[name] === undefined && keyDefault(shape, name) === undefined) : []
    if (missing.length > 0) return [`an item of ${path} lacks its key ${missing.join(', ')}`]
    return repeated ? [`${at} stands there twice`] : unaddressableItems(inner, item, at)
  })
}

export interface Comparison {
  /** Added or modified. */
  readonly changed: FieldSet
  readonly removed: FieldSet
}

/** What differs between two values, path by path. */
export function compareFields(shape: Shape | undefined, before: Json | undefined, after: Json | undefined): Comparison {
  if (before === undefined) return { changed: after === undefined ? emptySet : whole(shape, after), removed: emptySet }
  if (after === undefined) return { changed: emptySet, removed: whole(shape, before) }
  if (shape === undefined || isWhole(shape, before) || isWhole(shape, after)) {
    return sameJson(before, after) ? { changed: emptySet, removed: emptySet } : { changed: leaf, removed: emptySet }
  }
  const [old, next] = [new Map(parts(shape, before).map((part) => [part[0], part])), new Map(parts(shape, after).map((part) => [part[0], part]))]
  const [changed, removed] = [new Map<string, FieldSet>(), new Map<string, FieldSet>()]
  for (const key of new Set([...old.keys(), ...next.keys()])) {
    const [a, b] = [old.get(key), next.get(key)]
    const inner = compareFields((b ?? a)?.[1], a?.[2], b?.[2])
    if (!isEmptySet(inner.changed)) changed.set(key, inner.changed)
    if (!isEmptySet(inner.removed)) removed.set(key, inner.removed)
  }
  return { changed: { member: false, children: changed }, removed: { member: false, children: removed } }
}

/** A value that came or went as a whole: itself, and all its fields. */
function whole(shape: Shape | undefined, value: Json): FieldSet {
  return { ...fieldSetOf(shape, value), member: true }
}

/** The live value with a configuration laid over it: objects and keyed lists merge, everything else is replaced. */
export function overlay(shape: Shape | undefined, live: Json | undefined, applied: Json): Json {
  if (live === undefined || shape === undefined || isWhole(shape, live) || isWhole(shape, applied)) return applied
  if (shape.type === 'list' && isJsonArray(live) && isJsonArray(applied)) return overlayList(shape, live, applied)
  if (!isJsonObject(live) || !isJsonObject(applied)) return applied
  const result = Object.assign(emptyObject(), live)
  for (const [key, value] of Object.entries(applied)) {
    if (value !== undefined && value !== null) result[key] = overlay(shapeOfKey(shape, key), live[key], value)
  }
  return result
}

/** Applied items in their order, after live ones that stand before them; live items keep their places. */
function overlayList(shape: ListShape, live: readonly Json[], applied: readonly Json[]): Json[] {
  const keyOf = (item: Json): string => elementKey(shape, item) ?? ''
  const given = new Map(applied.map((item) => [keyOf(item), item]))
  const known = new Set(live.map(keyOf))
  const merged = live.map((item) => {
    const partner = given.get(keyOf(item))
    return partner === undefined ? item : overlay(shape.of.facts.shape, item, partner)
  })
  return [...merged, ...applied.filter((item) => !known.has(keyOf(item)))]
}

/** The value without the paths of `gone`. Objects and lists that lose their last part go too. */
export function prune(shape: Shape | undefined, value: Json, gone: FieldSet): Json | undefined {
  if (gone.member && (gone.children.size === 0 || shape === undefined || isWhole(shape, value))) return undefined
  if (shape === undefined || isWhole(shape, value) || isEmptySet(gone)) return value
  if (shape.type === 'list' && isJsonArray(value)) return pruneList(shape, value, gone)
  if (!isJsonObject(value)) return value
  const result = Object.assign(emptyObject(), value)
  for (const [key, inner] of Object.entries(value)) {
    const below = gone.children.get(`f:${key}`)
    if (below === undefined || inner === undefined) continue
    const kept = prune(shapeOfKey(shape, key), inner, below)
    if (kept === undefined) delete result[key]
    else result[key] = kept
  }
  return Object.keys(result).length === 0 && gone.member ? undefined : result
}

function pruneList(shape: ListShape, value: readonly Json[], gone: FieldSet): Json | undefined {
  const kept = value.flatMap((item) => {
    const below = gone.children.get(elementKey(shape, item) ?? '')
    if (below === undefined) return [item]
    // An item that nobody owns any more goes with all that defaults put into it.
    if (below.member) return []
    const left = prune(shape.of.facts.shape, item, below)
    return left === undefined ? [] : [left]
  })
  return kept.length === 0 ? undefined : kept
}
