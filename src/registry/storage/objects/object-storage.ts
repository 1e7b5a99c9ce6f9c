/** Storage in an object storage: records and content under their own keys. */
import type { Random } from '#base/random.ts'
import type { RegistryStorage } from '../contract.ts'
import type { ObjectStore } from './contract.ts'
import { ObjectContent } from './object-content.ts'
import { ObjectRecords } from './object-records.ts'

export function openObjectStorage(objects: ObjectStore, random: Random): RegistryStorage {
  return { content: new ObjectContent(objects, random), records: new ObjectRecords(objects, random), [Symbol.asyncDispose]: () => objects[Symbol.asyncDispose]() }
}
