/** `stringData` is for writing only: its values become base64 under `data` and win over what stood there. */
import type { JsonObject, MutableJsonObject } from '#schema/json.ts'
import { isJsonObject } from '#schema/json.ts'

export function foldStringData(secret: JsonObject): JsonObject {
  const { stringData, ...kept } = secret
  if (!isJsonObject(stringData)) return secret
  const data: MutableJsonObject = Object.assign(Object.create(null), isJsonObject(secret['data']) ? secret['data'] : {})
  for (const [key, value] of Object.entries(stringData)) {
    if (typeof value === 'string') data[key] = Buffer.from(value, 'utf8').toString('base64')
  }
  return { ...kept, data }
}
