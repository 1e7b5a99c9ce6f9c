/** What a request is about, from method and URL alone (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris). */

export interface ResourceInfo {
  readonly type: 'resource'
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection'
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly subresource: string
  /** What stands behind the subresource, for proxies: `/api/v1/…/pods/p/proxy/a/b` → `a/b`. */
  readonly rest: string
  readonly namespace: string
  readonly name: string
}

export interface PathInfo {
  readonly type: 'path'
  readonly path: string
  /** The lower-case method. */
  readonly verb: string
}

export type RequestInfo = ResourceInfo | PathInfo

/** Subresources that stand where a namespaced plural could: `/namespaces/n/status`. */
const namespaceSubresources = new Set(['status', 'finalize'])

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (error) {
    if (error instanceof URIError) return part
    throw error
  }
}

function verbOf(method: string, named: boolean, watch: boolean): ResourceInfo['verb'] | undefined {
  switch (method) {
    case 'GET':
    case 'HEAD':
      return watch ? 'watch' : named ? 'get' : 'list'
    case 'POST':
      return 'create'
    case 'PUT':
      return 'update'
    case 'PATCH':
      return 'patch'
    case 'DELETE':
      return named ? 'delete' : 'deletecollection'
    default:
      return undefined
  }
}

function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1' || value === ''
}

export function requestInfo(method: string, url: URL): RequestInfo {
  const path: PathInfo = { type: 'path', path: url.pathname, verb: method.toLowerCase() }
  const parts = url.pathname.split('/').slice(1)
  const isCore = parts[0] === 'api'
  if (!isCore && parts[0] !== 'apis') return path
  const [group, version, ...rest] = isCore ? ['', ...parts.slice(1)] : parts.slice(1)
  if (group === undefined || version === undefined || version === '' || rest.length === 0 || rest[0] === '') return path
  const steps = rest.map(decoded)
  const inNamespace = steps[0] === 'namespaces' && steps.length > 2 && !namespaceSubresources.has(steps[2] ?? '')
  const namespace = inNamespace ? (steps[1] ?? '') : ''
  const [plural = '', name = '', subresource = '', ...more] = inNamespace ? steps.slice(2) : steps
  const verb = verbOf(method, name !== '', name === '' && url.searchParams.has('watch') && isTrue(url.searchParams.get('watch')))
  if (verb === undefined || plural === '') return path
  const ownNamespace = plural === 'namespaces' && group === '' ? name : namespace
  return { type: 'resource', verb, group, version, plural, subresource, rest: more.join('/'), namespace: ownNamespace, name }
}

/** `true`, `1` and a bare parameter are true; absent is undefined. */
export function flag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name)
  return value === null ? undefined : isTrue(value)
}

/** An empty parameter counts as absent, as upstream. */
export function text(query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name)
  return value === null || value === '' ? undefined : value
}

/** NaN when it is no number: the one who uses it says what was wrong. */
export function count(query: URLSearchParams, name: string): number | undefined {
  const value = text(query, name)
  return value === undefined ? undefined : Number(value)
}
