/** JSON Merge Patch (RFC 7396): null deletes, objects merge, everything else replaces. */
import type { Json, JsonObject } from './json.ts'
import { emptyObject, isJsonObject } from './json.ts'

export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch
  const merged: JsonObject = isJsonObject(target) ? target : {}
  const result = Object.assign(emptyObject(), merged)
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) delete result[key]
    else result[key] = mergePatch(result[key], value)
  }
  return result
}
