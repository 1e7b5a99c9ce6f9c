/** JSON values as the folds see them before a type is known. Objects from the wire have no prototype (`__proto__` is a legal key). */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json | undefined
}
export interface MutableJsonObject {
  [key: string]: Json | undefined
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isJsonArray(value: unknown): value is readonly Json[] {
  return Array.isArray(value)
}

/** A value in a message or where text is wanted: strings as they are, everything else as JSON. */
export function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined')
}

/** An empty object without a prototype, so that every key is data. */
export function emptyObject(): MutableJsonObject {
  const bare: MutableJsonObject = Object.create(null)
  return bare
}

/** Structural equality; a key whose value is undefined counts as absent. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (isJsonArray(a) && isJsonArray(b)) return a.length === b.length && a.every((item, index) => sameJson(item, b[index]))
  if (!isJsonObject(a) || !isJsonObject(b)) return false
  const keys = Object.keys(a).filter((key) => a[key] !== undefined)
  if (keys.length !== Object.keys(b).filter((key) => b[key] !== undefined).length) return false
  return keys.every((key) => b[key] !== undefined && sameJson(a[key], b[key]))
}
