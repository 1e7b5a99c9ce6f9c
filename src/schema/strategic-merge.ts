/**
 * Strategic merge patch (Kubernetes documentation, "Update API Objects in Place Using kubectl patch"; design proposal
 * "Strategic Merge Patch"). Objects merge, lists with a patch key merge item by item, other lists are replaced.
 *
 * Directives: `$patch: replace | delete | merge` on objects and list items, `$retainKeys` on unions,
 * `$deleteFromPrimitiveList/<field>` and `$setElementOrder/<field>` beside lists. Without an explicit order, items of the
 * patch come in the patch's order and, where nothing relates them to the others, before those that only the server has.
 */
import { Fault } from '#base/fault.ts'
import type { AnyField, ListShape, ObjectShape, Shape } from './field.ts'
import type { Json, JsonObject, MutableJsonObject } from './json.ts'
import { emptyObject, isJsonArray, isJsonObject, sameJson } from './json.ts'
import type { AnyKind } from './kind.ts'
import { mergePatch } from './merge-patch.ts'

const deletePrefix = '$deleteFromPrimitiveList/'
const orderPrefix = '$setElementOrder/'

/** The patched object, not yet defaulted. Throws `invalidArgument` when the patch is malformed. */
export function strategicMerge(kind: AnyKind, original: object, patch: unknown): JsonObject {
  if (!isJsonObject(patch)) throw new Fault('invalidArgument', 'a strategic merge patch must be a JSON object')
  return mergeObjects(kind.schema.facts.shape, original as JsonObject, patch, '') ?? {}
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

function fieldOf(shape: Shape | undefined, key: string): AnyField | undefined {
  if (shape?.type === 'map') return shape.of
  return shape?.type === 'object' && Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined
}

/** Undefined when the patch deletes the object. */
function mergeObjects(shape: Shape | undefined, original: JsonObject, patch: JsonObject, path: string): JsonObject | undefined {
  const directive = patch['$patch']
  if (directive === 'delete') return undefined
  const base = directive === 'replace' ? {} : original
  if (directive !== undefined && directive !== 'replace' && directive !== 'merge') {
    throw new Fault('invalidArgument', `${join(path, '$patch')}: unknown directive ${JSON.stringify(directive)}: use replace, delete or merge`)
  }
  const result = retained(base, patch['$retainKeys'], path)
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$') || value === undefined) continue
    const settled = value === null ? undefined : mergeValue(fieldOf(shape, key)?.facts.shape, result[key], value, orderOf(patch, key, path), join(path, key))
    if (settled === undefined) delete result[key]
    else result[key] = settled
  }
  applyListDirectives(shape, result, patch, path)
  return result
}

function retained(original: JsonObject, keep: Json | undefined, path: string): MutableJsonObject {
  const result = Object.assign(emptyObject(), original)
  if (keep === undefined) return result
  if (!isJsonArray(keep)) throw new Fault('invalidArgument', `${join(path, '$retainKeys')}: must be a list of field names`)
  for (const key of Object.keys(result)) if (!keep.includes(key)) delete result[key]
  return result
}

function orderOf(patch: JsonObject, key: string, path: string): readonly Json[] | undefined {
  const order = patch[`${orderPrefix}${key}`]
  if (order === undefined || order === null) return undefined
  if (!isJsonArray(order)) throw new Fault('invalidArgument', `${join(path, `${orderPrefix}${key}`)}: must be a list`)
  return order
}

/** `$deleteFromPrimitiveList`, and an order given for a list that the patch does not otherwise touch. */
function applyListDirectives(shape: Shape | undefined, result: MutableJsonObject, patch: JsonObject, path: string): void {
  for (const [directive, value] of Object.entries(patch)) {
    if (directive.startsWith(deletePrefix)) {
      const key = directive.slice(deletePrefix.length)
      const list = result[key]
      if (!isJsonArray(value)) throw new Fault('invalidArgument', `${join(path, directive)}: must be a list`)
      if (isJsonArray(list)) result[key] = list.filter((item) => !value.some((gone) => sameJson(gone, item)))
    }
    if (directive.startsWith(orderPrefix)) {
      const key = directive.slice(orderPrefix.length)
      const list = result[key]
      const inner = fieldOf(shape, key)?.facts.shape
      if (patch[key] === undefined && isJsonArray(list) && inner?.type === 'list') result[key] = ordered(inner, list, orderOf(patch, key, path) ?? [], list)
    }
  }
}

function mergeValue(shape: Shape | undefined, original: Json | undefined, patch: Json, order: readonly Json[] | undefined, path: string): Json | undefined {
  if (isJsonObject(patch) && (shape === undefined || shape.type === 'raw')) return mergePatch(original, patch)
  if (isJsonObject(patch)) return mergeObjects(shape, isJsonObject(original) ? original : {}, patch, path)
  if (isJsonArray(patch) && shape?.type === 'list' && shape.patch === 'merge') {
    return mergeLists(shape, isJsonArray(original) ? original : [], patch, order, path)
  }
  return isJsonArray(patch) ? patch.map((item) => withoutDirectives(item)) : patch
}

/** A list that is replaced keeps nothing of the patch language. */
function withoutDirectives(value: Json): Json {
  if (!isJsonObject(value)) return value
  const result = emptyObject()
  for (const [key, inner] of Object.entries(value)) if (!key.startsWith('$') && inner !== undefined && inner !== null) result[key] = inner
  return result
}

function mergeLists(shape: ListShape, original: readonly Json[], patch: readonly Json[], order: readonly Json[] | undefined, path: string): Json {
  const element = shape.of.facts.shape
  if (element.type !== 'object') {
    const merged = [...original, ...patch.filter((item) => !original.some((known) => sameJson(known, item)))]
    return ordered(shape, merged, order ?? patch, original)
  }
  const replaced = patch.some((item) => isJsonObject(item) && item['$patch'] === 'replace')
  const items = patch.map((item, index) => keyed(item, shape.patchKey, `${path}[${index}]`))
  const kept = items.filter((item) => item['$patch'] !== 'delete' && !isReplaceMarker(item))
  if (replaced) return kept.map((item) => mergeObjects(element, {}, item, path) ?? {})
  const deleted = items.filter((item) => item['$patch'] === 'delete')
  let merged: Json[] = original.filter((item) => !deleted.some((gone) => sameKey(shape, gone, item)))
  for (const item of kept) merged = mergeItem(shape, element, merged, item, path)
  return ordered(shape, merged, order ?? kept, original)
}

function mergeItem(shape: ListShape, element: ObjectShape, list: readonly Json[], item: JsonObject, path: string): Json[] {
  const found = list.some((known) => sameKey(shape, known, item))
  if (!found) return [...list, mergeObjects(element, {}, item, path) ?? {}]
  return list.map((known) => (sameKey(shape, known, item) && isJsonObject(known) ? (mergeObjects(element, known, item, path) ?? {}) : known))
}

/** `{$patch: replace}` alone only says that the list is replaced. */
function isReplaceMarker(item: JsonObject): boolean {
  return item['$patch'] === 'replace' && Object.keys(item).length === 1
}

function keyed(item: Json, patchKey: string | undefined, path: string): JsonObject {
  if (!isJsonObject(item)) throw new Fault('invalidArgument', `${path}: must be an object`)
  if (patchKey === undefined || item[patchKey] !== undefined || isReplaceMarker(item)) return item
  throw new Fault('invalidArgument', `${path}: does not contain the merge key '${patchKey}'`)
}

function sameKey(shape: ListShape, a: Json, b: Json): boolean {
  if (!isJsonObject(a) || !isJsonObject(b)) return sameJson(a, b)
  return shape.patchKey !== undefined && sameJson(a[shape.patchKey], b[shape.patchKey])
}

/**
 * Items named in `order` follow it; the others keep the server's order. The two sequences are merged by the server's
 * order where it knows both heads, else the named item goes first.
 */
function ordered(shape: ListShape, list: readonly Json[], order: readonly Json[], server: readonly Json[]): Json[] {
  const rank = (items: readonly Json[], item: Json): number => items.findIndex((other) => sameKey(shape, other, item))
  const named = list.filter((item) => rank(order, item) >= 0).sort((a, b) => rank(order, a) - rank(order, b))
  const others = list.filter((item) => rank(order, item) < 0)
  const result: Json[] = []
  while (named.length > 0 && others.length > 0) {
    const [first, second] = [rank(server, others[0] ?? null), rank(server, named[0] ?? null)]
    const next = first >= 0 && second >= 0 && first < second ? others.shift() : named.shift()
    if (next !== undefined) result.push(next)
  }
  return [...result, ...others, ...named]
}
