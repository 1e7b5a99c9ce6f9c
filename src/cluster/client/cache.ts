/** An indexed map of the objects of one kind: what an informer fills and controllers read. Objects are never copied. */
import type { StoredObject } from '#schema/kind.ts'
import type { ObjectRef } from '../contract/client.ts'

/** `namespace/name`, or `name` for cluster-scoped objects: the key of caches and work queues. */
export function objectKey(object: StoredObject): string {
  const { namespace, name } = object.metadata
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}

function refKey(ref: ObjectRef): string {
  return ref.namespace === undefined || ref.namespace === '' ? ref.name : `${ref.namespace}/${ref.name}`
}

/** The values under which an object is found; none is fine. */
export type IndexFunction<T> = (object: T) => readonly string[]

export interface ReadCache<T> {
  get(ref: ObjectRef): T | undefined
  getKey(key: string): T | undefined
  /** In order of first appearance. */
  list(): readonly T[]
  /** Objects for which the index function of `index` answered `value`. The index must have been added. */
  byIndex(index: string, value: string): readonly T[]
  readonly size: number
}

interface Index<T> {
  readonly values: IndexFunction<T>
  readonly buckets: Map<string, Map<string, T>>
}

export class ObjectCache<T extends StoredObject> implements ReadCache<T> {
  readonly #objects = new Map<string, T>()
  readonly #indexes = new Map<string, Index<T>>()

  get(ref: ObjectRef): T | undefined {
    return this.#objects.get(refKey(ref))
  }

  getKey(key: string): T | undefined {
    return this.#objects.get(key)
  }

  list(): readonly T[] {
    return [...this.#objects.values()]
  }

  keys(): readonly string[] {
    return [...this.#objects.keys()]
  }

  byIndex(index: string, value: string): readonly T[] {
    const found = this.#indexes.get(index)
    if (found === undefined) throw new RangeError(`the cache has no index '${index}': add it with addIndex`)
    return [...(found.buckets.get(value)?.values() ?? [])]
  }

  get size(): number {
    return this.#objects.size
  }

  /** Adding an index twice under one name keeps the first. */
  addIndex(name: string, values: IndexFunction<T>): void {
    if (this.#indexes.has(name)) return
    const index: Index<T> = { values, buckets: new Map() }
    this.#indexes.set(name, index)
    for (const [key, object] of this.#objects) insert(index, key, object)
  }

  /** Answers what stood there before. */
  set(key: string, object: T): T | undefined {
    const previous = this.#objects.get(key)
    for (const index of this.#indexes.values()) {
      if (previous !== undefined) remove(index, key, previous)
      insert(index, key, object)
    }
    this.#objects.set(key, object)
    return previous
  }

  delete(key: string): T | undefined {
    const previous = this.#objects.get(key)
    if (previous === undefined) return undefined
    for (const index of this.#indexes.values()) remove(index, key, previous)
    this.#objects.delete(key)
    return previous
  }
}

function insert<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.values(object)) {
    let bucket = index.buckets.get(value)
    if (bucket === undefined) index.buckets.set(value, (bucket = new Map<string, T>()))
    bucket.set(key, object)
  }
}

function remove<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.values(object)) {
    const bucket = index.buckets.get(value)
    bucket?.delete(key)
    if (bucket?.size === 0) index.buckets.delete(value)
  }
}
