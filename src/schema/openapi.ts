/** OpenAPI documents of a set of kinds: v2 for all, v3 for each group and version. Their protobuf form: `openapi-protobuf.ts`. */
import type { JsonObject } from './json.ts'
import type { AnyKind } from './kind.ts'
import type { SharedTypes } from './openapi-paths.ts'
import { kindPaths } from './openapi-paths.ts'
import type { GroupVersionKind } from './openapi-schema.ts'
import { definitionName, Definitions } from './openapi-schema.ts'

export interface OpenapiInfo {
  readonly title: string
  /** Version of the API server, e.g. `v1.36.0`. */
  readonly version: string
}

/** `/openapi/v2` for all kinds. */
export function openapiV2(kinds: readonly AnyKind[], shared: SharedTypes, info: OpenapiInfo): JsonObject {
  const definitions = new Definitions('v2')
  const paths = allPaths(kinds, shared, definitions)
  return { swagger: '2.0', info: { title: info.title, version: info.version }, paths, definitions: definitions.all() }
}

/** `/openapi/v3/<path>` for the kinds of one group and version. */
export function openapiV3(kinds: readonly AnyKind[], shared: SharedTypes, info: OpenapiInfo): JsonObject {
  const definitions = new Definitions('v3')
  const paths = allPaths(kinds, shared, definitions)
  return { openapi: '3.0.0', info: { title: info.title, version: info.version }, paths, components: { schemas: definitions.all() } }
}

function allPaths(kinds: readonly AnyKind[], shared: SharedTypes, definitions: Definitions): JsonObject {
  const paths = Object.assign({}, ...kinds.map((kind) => kindPaths(kind, shared, definitions)))
  markShared(kinds, shared, definitions)
  return Object.fromEntries(Object.entries<JsonObject>(paths).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Status belongs to the core group; DeleteOptions are taken in every group and version. */
function markShared(kinds: readonly AnyKind[], shared: SharedTypes, definitions: Definitions): void {
  const nameOf = (shape: SharedTypes['status']['facts']['shape']): string => (shape.type === 'object' ? definitionName(shape.name) : '')
  definitions.mark(nameOf(shared.status.facts.shape), [{ group: '', version: 'v1', kind: 'Status' }])
  const versions = new Map(kinds.map(({ group, version, apiVersion }): [string, GroupVersionKind] => [apiVersion, { group, version, kind: 'DeleteOptions' }]))
  definitions.mark(nameOf(shared.deleteOptions.facts.shape), [...versions.values()])
}

/** `api/v1` or `apis/apps/v1`: the key of a group and version in `/openapi/v3`. */
export function openapiV3Path(group: string, version: string): string {
  return group === '' ? `api/${version}` : `apis/${group}/${version}`
}
