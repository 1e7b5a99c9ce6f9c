/** Where kinds live under an API server's root ("API concepts", resource URIs), and how options become queries. */
import { assert } from '#base/assert.ts'
import type { ClientKind, DeleteOptions, GetOptions, ListOptions, ObjectRef, WatchOptions, WriteOptions } from '../contract/client.ts'

/** `/api/v1/namespaces/default/pods`, `/apis/apps/v1/deployments`, … */
export function collectionPath(kind: ClientKind, namespace: string | undefined): string {
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`
  const scope = kind.namespaced && namespace !== undefined && namespace !== '' ? `/namespaces/${encodeURIComponent(namespace)}` : ''
  return `${root}${scope}/${kind.plural}`
}

export function objectPath(kind: ClientKind, ref: ObjectRef, subresource?: string): string {
  assert(ref.name !== '', `a ${kind.kind} needs a name to be addressed`)
  assert(!kind.namespaced || (ref.namespace !== undefined && ref.namespace !== ''), `a ${kind.kind} needs a namespace to be addressed`)
  const path = `${collectionPath(kind, ref.namespace)}/${encodeURIComponent(ref.name)}`
  return subresource === undefined ? path : `${path}/${subresource}`
}

function query(pairs: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(pairs)) if (value !== undefined && value !== '') search.set(name, String(value))
  const text = search.toString()
  return text === '' ? '' : `?${text}`
}

export function getQuery(options: GetOptions): string {
  return query({ resourceVersion: options.resourceVersion })
}

export function listQuery(options: ListOptions): string {
  const { labelSelector, fieldSelector, resourceVersion, limit } = options
  return query({ labelSelector, fieldSelector, resourceVersion, limit, continue: options.continue })
}

export function watchQuery(options: WatchOptions): string {
  const { labelSelector, fieldSelector, resourceVersion, timeoutSeconds } = options
  return query({ watch: true, allowWatchBookmarks: true, labelSelector, fieldSelector, resourceVersion, timeoutSeconds })
}

export function writeQuery(options: WriteOptions & { readonly force?: boolean }): string {
  return query({ fieldManager: options.fieldManager, dryRun: options.dryRun === true ? 'All' : undefined, force: options.force })
}

/** The DeleteOptions object that a DELETE carries. */
export function deleteBody(options: DeleteOptions): object {
  const { preconditions, propagationPolicy, gracePeriodSeconds } = options
  return { kind: 'DeleteOptions', apiVersion: 'v1', preconditions, propagationPolicy, gracePeriodSeconds }
}
