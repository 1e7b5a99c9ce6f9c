/** The OpenAPI documents of Berth's own kinds. Made on demand: they cost some 20 ms and a few megabytes. */
import type { JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import type { OpenapiInfo } from '#schema/openapi.ts'
import { openapiV2, openapiV3, openapiV3Path } from '#schema/openapi.ts'
import type { SharedTypes } from '#schema/openapi-paths.ts'
import { Scale } from './autoscaling/v1/scale.ts'
import { deleteOptions } from './meta/v1/options.ts'
import { listMeta } from './meta/v1/list-meta.ts'
import { status } from './meta/v1/status.ts'

export const sharedTypes: SharedTypes = { listMeta, status, deleteOptions, scale: Scale }

export function openapiV2Of(kinds: readonly AnyKind[], info: OpenapiInfo): JsonObject {
  return openapiV2(kinds, sharedTypes, info)
}

/** By the path under `/openapi/v3`: `api/v1`, `apis/apps/v1` … */
export function openapiV3Of(kinds: readonly AnyKind[], info: OpenapiInfo): ReadonlyMap<string, JsonObject> {
  const byVersion = Map.groupBy(kinds, ({ group, version }) => openapiV3Path(group, version))
  return new Map([...byVersion].map(([path, members]) => [path, openapiV3(members, sharedTypes, info)]))
}
