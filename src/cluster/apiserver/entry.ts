/**
 * One version of one object as the API server holds it: frozen, with its place in history, and serialised at most once per
 * encoding, however many lists and watches send it.
 */
import { present } from '#base/assert.ts'
import { isJsonObject, type JsonObject } from '#schema/json.ts'
import type { ObjectMeta } from '#schema/object-meta.ts'

/** A stored object: `apiVersion`, `kind` and complete metadata are there. */
export interface ApiObject extends JsonObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: JsonObject
}

/** The metadata of a stored object, typed. The one place that trusts that what we stored had passed through the schema. */
export function metaOf(object: JsonObject): ObjectMeta {
  return object['metadata'] as unknown as ObjectMeta
}

/** An object of a known kind, typed: `asKind<Pod>(entry.object)`. Only for what has passed through that kind's schema. */
export function asKind<T>(object: JsonObject): T {
  return object as unknown as T
}

/** The other way: a typed object as JSON, for storing. */
export function asJson(object: object): JsonObject {
  return object as unknown as JsonObject
}

/** `object` with some of its metadata replaced; undefined removes. */
export function withMeta(object: JsonObject, changes: { readonly [K in keyof ObjectMeta]?: ObjectMeta[K] | undefined }): ApiObject {
  const metadata: Record<string, unknown> = { ...(object['metadata'] as JsonObject | undefined), ...changes }
  for (const key of Object.keys(changes)) if (metadata[key] === undefined) delete metadata[key]
  return { ...object, metadata: metadata as JsonObject } as ApiObject
}

/** Freezes a JSON value all the way down. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}

export class Entry {
  readonly key: string
  /** The revision that wrote this version; that of the deletion on the last state of a deleted object. */
  readonly revision: bigint
  /** How to read the object, until somebody has asked for it. */
  #read: (() => JsonObject) | undefined
  #object: ApiObject | undefined
  #json: Buffer | undefined
  /** The stored form, until the served one is made of it. */
  #stored: Buffer | undefined
  #encodings: Map<string, Buffer> | undefined

  /**
   * `object` is stamped with the revision as its resourceVersion, and frozen. 0: it is not stored (a dry run of a creation). A function
   * is called when somebody first wants the object: a server that starts over many objects reads those that are asked for.
   * `stored`: its `storedBytes`, if at hand.
   */
  constructor(key: string, object: JsonObject | (() => JsonObject), revision: bigint, stored?: Buffer) {
    this.key = key
    this.revision = revision
    this.#stored = stored
    if (typeof object === 'function') this.#read = object
    else this.#object = this.#stamped(object)
  }

  get object(): ApiObject {
    if (this.#object === undefined) {
      this.#object = this.#stamped(present(this.#read, 'how to read an entry')())
      this.#read = undefined
    }
    return this.#object
  }

  get meta(): ObjectMeta {
    return metaOf(this.object)
  }

  get json(): Buffer {
    if (this.#json === undefined) {
      this.#json = (this.#stored === undefined ? undefined : withVersion(this.#stored, this.revision)) ?? Buffer.from(JSON.stringify(this.object))
      this.#stored = undefined
    }
    return this.#json
  }

  #stamped(object: JsonObject): ApiObject {
    return deepFreeze(withMeta(object, { resourceVersion: this.revision === 0n ? undefined : String(this.revision) }))
  }

  /** The object in another encoding, made on first use. */
  encoded(encoding: string, encode: (object: ApiObject) => Buffer): Buffer {
    this.#encodings ??= new Map()
    let bytes = this.#encodings.get(encoding)
    if (bytes === undefined) {
      bytes = encode(this.object)
      this.#encodings.set(encoding, bytes)
    }
    return bytes
  }
}

const metadataStart = Buffer.from('"metadata":{')

/** The stored form with its resourceVersion put in: a copy instead of a second serialisation. Undefined when it looks unfamiliar. */
function withVersion(stored: Buffer, revision: bigint): Buffer | undefined {
  const at = stored.indexOf(metadataStart)
  // Only type names come before it, so this is the object's own metadata; which is never empty.
  if (at < 0 || at > 256) return undefined
  const insert = at + metadataStart.length
  return Buffer.concat([stored.subarray(0, insert), Buffer.from(`"resourceVersion":"${revision}",`), stored.subarray(insert)])
}

/** The object as it goes to the store: without its resourceVersion, which the store itself assigns. */
export function storedBytes(object: JsonObject): Buffer {
  return Buffer.from(JSON.stringify(withMeta(object, { resourceVersion: undefined })))
}

/** Reads what `storedBytes` wrote. */
export function parseStored(bytes: Buffer): JsonObject {
  const value: unknown = JSON.parse(bytes.toString())
  if (!isJsonObject(value)) throw new TypeError('a stored object is no JSON object')
  return value
}
