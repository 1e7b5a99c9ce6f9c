/** Reading JSON documents of others (manifests, configs, token answers): every access is checked and names its path. */
import { Fault } from '#base/fault.ts'
import { isRecord } from '#base/json.ts'

/** A JSON object of unknown content together with its place, for messages such as `manifest.layers[2].size: …`. */
export interface Node {
  readonly value: Readonly<Record<string, unknown>>
  readonly path: string
}

export function refuse(path: string, expected: string, found: unknown): Fault {
  return new Fault('invalidArgument', `${path}: expected ${expected}, found ${shown(found)}`)
}

/** A value of somebody else's document, for a message: never longer than people read. */
export function shown(found: unknown): string {
  return found === undefined ? 'nothing' : JSON.stringify(found).slice(0, 120)
}

export function asObject(value: unknown, path: string): Node {
  if (!isRecord(value)) throw refuse(path, 'an object', value)
  return { value, path }
}

export function member(node: Node, key: string): unknown {
  return Object.hasOwn(node.value, key) ? node.value[key] : undefined
}

export function stringAt(node: Node, key: string): string {
  const value = member(node, key)
  if (typeof value !== 'string') throw refuse(`${node.path}.${key}`, 'a string', value)
  return value
}

/** A string, or undefined where it is absent, null or empty. */
export function optionalString(node: Node, key: string): string | undefined {
  const value = member(node, key)
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string') throw refuse(`${node.path}.${key}`, 'a string', value)
  return value
}

/** RFC 6838: type and subtype have at most 127 characters each. */
const longestMediaType = 255

/** A media type, known or not. */
export function mediaTypeAt(node: Node, key: string): string {
  return optionalMediaType(node, key) ?? stringAt(node, key)
}

export function optionalMediaType(node: Node, key: string): string | undefined {
  const value = optionalString(node, key)
  if (value !== undefined && value.length > longestMediaType) throw refuse(`${node.path}.${key}`, `a media type of at most ${longestMediaType} characters`, value)
  return value
}

/** A whole number in [0, 2^53). */
export function countAt(node: Node, key: string): number {
  const value = member(node, key)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw refuse(`${node.path}.${key}`, 'a whole number, not negative', value)
  return value
}

export function optionalBoolean(node: Node, key: string): boolean | undefined {
  const value = member(node, key)
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'boolean') throw refuse(`${node.path}.${key}`, 'true or false', value)
  return value
}

/** The items of an array, each read by `read`; undefined where the array is absent or null. */
export function optionalList<T>(node: Node, key: string, read: (item: unknown, path: string) => T): T[] | undefined {
  const value = member(node, key)
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value)) throw refuse(`${node.path}.${key}`, 'a list', value)
  return value.map((item: unknown, index) => read(item, `${node.path}.${key}[${index}]`))
}

export function readString(value: unknown, path: string): string {
  if (typeof value !== 'string') throw refuse(path, 'a string', value)
  return value
}

/** A map of strings; null-prototype, since the keys are the sender's. */
export function optionalStringMap(node: Node, key: string): Record<string, string> | undefined {
  const value = member(node, key)
  if (value === undefined || value === null) return undefined
  const inner = asObject(value, `${node.path}.${key}`)
  const map: Record<string, string> = Object.create(null)
  for (const name of Object.keys(inner.value)) map[name] = stringAt(inner, name)
  return map
}

/** The keys of a map whose values are empty objects (Docker's way to write a set). */
export function optionalKeySet(node: Node, key: string): string[] | undefined {
  const value = member(node, key)
  if (value === undefined || value === null) return undefined
  return Object.keys(asObject(value, `${node.path}.${key}`).value)
}
