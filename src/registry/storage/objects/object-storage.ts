/** Storage in an object storage: records and content under their own keys. */
import type { RegistryStorage } from '../contract.ts'
import { ObjectContent } from './object-content.ts'
import { ObjectRecords } from './object-records.ts'
import type { RemovalParts } from './removal.ts'

export function openObjectStorage(parts: RemovalParts): RegistryStorage {
  return { content: new ObjectContent(parts), records: new ObjectRecords(parts), [Symbol.asyncDispose]: () => parts.objects[Symbol.asyncDispose]() }
}
