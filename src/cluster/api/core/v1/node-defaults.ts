/** Defaults of nodes that look at more than one field. */
import type { Json, JsonObject } from '#schema/json.ts'

/** Without reservations, all of a node's capacity may be allocated. */
export function capacityOf(status: JsonObject): Json | undefined {
  return status['capacity']
}
