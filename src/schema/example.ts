/** Stored objects for tests and simulations: defaulted, with the metadata that a server would have assigned. */
import { withDefaults } from './defaults.ts'
import type { KindDefinition, StoredObject, SubmittedObject } from './kind.ts'

/** Metadata that was submitted stands; uid and resourceVersion derive from the name where they were not. */
export function exampleOf<I extends SubmittedObject, O extends StoredObject>(kind: KindDefinition<I, O>, submitted: I): O {
  const { metadata } = submitted
  const name = metadata?.name ?? 'example'
  const assigned = { name, uid: `uid-of-${name}`, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata }
  const placed = kind.namespaced ? { namespace: 'default', ...assigned } : assigned
  return withDefaults(kind, { ...submitted, metadata: placed })
}
