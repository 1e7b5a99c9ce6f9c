/**
 * Records as objects. Before its content stands a line made up anew for each write, so that a touch changes the object's etag, and a
 * removal that means the former one does not happen (`removal.ts`).
 */
import { Fault } from '#base/fault.ts'
import type { RecordEntry, Records, RecordStat } from '../contract.ts'
import type { FoundObject, ObjectStat, ObjectStore } from './contract.ts'
import type { RemovalParts } from './removal.ts'
import { outlives, removeUnchanged, wordMark } from './removal.ts'

const tokenBytes = 12
/** Others may write between our look and our write; after so many times something else is wrong. */
const maxAttempts = 20

export class ObjectRecords implements Records {
  readonly #parts: RemovalParts

  constructor(parts: RemovalParts) {
    this.#parts = parts
  }

  get #objects(): ObjectStore {
    return this.#parts.objects
  }

  async read(path: string): Promise<Buffer | undefined> {
    const found = await this.#objects.get(path)
    return found === undefined ? undefined : contentOf(found)
  }

  async stat(path: string): Promise<RecordStat | undefined> {
    const found = await this.#objects.stat(path)
    return found === undefined ? undefined : statOf(found)
  }

  async write(path: string, content: string): Promise<void> {
    do await this.#objects.put(path, this.#bytes(content))
    while (!(await outlives(this.#parts, path)))
  }

  async create(path: string, content: string): Promise<boolean> {
    // The look comes first for storages that do not know the condition.
    return (await this.#objects.stat(path)) === undefined && (await this.#objects.put(path, this.#bytes(content), { absent: true }))
  }

  async touch(path: string): Promise<boolean> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const found = await this.#objects.get(path)
      if (found === undefined) return false
      const renewed = await this.#objects.put(path, this.#bytes(contentOf(found).toString()), { etag: found.etag })
      if (renewed && (await outlives(this.#parts, path))) return true
    }
    throw new Fault('unavailable', `record '${path}' was written by others ${maxAttempts} times in a row`)
  }

  async remove(path: string, options: { readonly version?: string } = {}): Promise<boolean> {
    const found = await this.#objects.stat(path)
    if (found === undefined || (options.version !== undefined && found.etag !== options.version)) return false
    if (options.version !== undefined) return await removeUnchanged(this.#parts, path, options.version)
    await this.#objects.delete(path)
    return true
  }

  async *list(folder: string): AsyncGenerator<RecordEntry> {
    const prefix = folder === '' ? '' : `${folder}/`
    for await (const found of this.#objects.list(prefix, { delimiter: '/' })) {
      if (found.key.includes(wordMark)) continue
      const isFolder = found.isPrefix
      const name = isFolder ? found.key.slice(prefix.length, -1) : found.key.slice(prefix.length)
      yield { name, isFolder, stat: async () => (found.isPrefix ? undefined : statOf(found)) }
    }
  }

  #bytes(content: string): Buffer {
    return Buffer.from(`${Buffer.from(this.#parts.random.bytes(tokenBytes)).toString('base64url')}\n${content}`)
  }
}

function contentOf(found: FoundObject): Buffer {
  return found.body.subarray(found.body.indexOf('\n') + 1)
}

function statOf(found: ObjectStat): RecordStat {
  return { version: found.etag, writtenAtMs: found.writtenAtMs }
}
