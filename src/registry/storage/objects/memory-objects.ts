/** An object storage in memory: the same conditions and the same order of lists as S3 has them. For tests, in any clock's time. */
import { Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { digestOf } from '#oci/digest.ts'
import type { Condition, FoundObject, ListedObject, ObjectStat, ObjectStore } from './contract.ts'

export interface MemoryObjectsOptions {
  readonly clock: Pick<Clock, 'nowMs'>
  /** Awaited before each operation takes effect, so that a test decides what happens between two of them. */
  readonly pause?: (operation: string) => Promise<void>
}

export class MemoryObjects implements ObjectStore {
  readonly #options: MemoryObjectsOptions
  readonly #objects = new Map<string, FoundObject>()

  constructor(options: MemoryObjectsOptions) {
    this.#options = options
  }

  async #before(operation: string): Promise<void> {
    await this.#options.pause?.(operation)
  }

  async get(key: string): Promise<FoundObject | undefined> {
    await this.#before(`get ${key}`)
    return this.#objects.get(key)
  }

  async stat(key: string): Promise<ObjectStat | undefined> {
    await this.#before(`stat ${key}`)
    return this.#objects.get(key)
  }

  async open(key: string, range: { readonly start: number; readonly end: number }): Promise<Readable | undefined> {
    await this.#before(`open ${key}`)
    const found = this.#objects.get(key)
    return found === undefined ? undefined : Readable.from([found.body.subarray(range.start, range.end)])
  }

  async put(key: string, body: Uint8Array, condition?: Condition): Promise<boolean> {
    await this.#before(`put ${key}`)
    const found = this.#objects.get(key)
    if (condition !== undefined && ('absent' in condition ? found !== undefined : found?.etag !== condition.etag)) return false
    this.#objects.set(key, { body: Buffer.from(body), etag: digestOf(body), sizeBytes: body.length, writtenAtMs: this.#options.clock.nowMs() })
    return true
  }

  async delete(key: string): Promise<void> {
    await this.#before(`delete ${key}`)
    this.#objects.delete(key)
  }

  async *list(prefix: string, options: { readonly delimiter?: '/' } = {}): AsyncGenerator<ListedObject> {
    await this.#before(`list ${prefix}`)
    // As of now, as one page of S3 is.
    const keys = [...this.#objects].filter(([key]) => key.startsWith(prefix)).sort(([left], [right]) => (left < right ? -1 : 1))
    let last: string | undefined
    for (const [key, found] of keys) {
      const slash = options.delimiter === undefined ? -1 : key.indexOf('/', prefix.length)
      if (slash < 0) yield { isPrefix: false, key, etag: found.etag, sizeBytes: found.sizeBytes, writtenAtMs: found.writtenAtMs }
      else if (key.slice(0, slash + 1) !== last) {
        last = key.slice(0, slash + 1)
        yield { isPrefix: true, key: last }
      }
    }
  }

  /** Every key there is, for tests. */
  keys(): readonly string[] {
    return [...this.#objects.keys()].sort()
  }

  sizeOf(key: string): number {
    return this.#objects.get(key)?.sizeBytes ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
