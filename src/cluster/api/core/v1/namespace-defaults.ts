/** What the server adds to namespaces: the name label and the finalizer that empties them before they go. */
import type { JsonObject } from '#schema/json.ts'
import { isJsonArray, isJsonObject } from '#schema/json.ts'

/** Every namespace carries its own name as a label, so that selectors can name it. */
export function nameLabel(namespace: JsonObject): JsonObject {
  const metadata = namespace['metadata']
  if (!isJsonObject(metadata) || typeof metadata['name'] !== 'string' || metadata['name'] === '') return namespace
  const labels = isJsonObject(metadata['labels']) ? metadata['labels'] : {}
  return { ...namespace, metadata: { ...metadata, labels: { ...labels, 'kubernetes.io/metadata.name': metadata['name'] } } }
}

/** The `kubernetes` finalizer keeps a deleted namespace until its contents are gone; it is active until then. */
export function withKubernetesFinalizer(namespace: JsonObject): JsonObject {
  const spec = isJsonObject(namespace['spec']) ? namespace['spec'] : {}
  const given = isJsonArray(spec['finalizers']) ? spec['finalizers'] : []
  const finalizers = given.includes('kubernetes') ? given : [...given, 'kubernetes']
  return { ...namespace, spec: { ...spec, finalizers }, status: { phase: 'Active' } }
}
