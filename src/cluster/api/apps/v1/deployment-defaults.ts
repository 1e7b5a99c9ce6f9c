/** Defaults of deployments that look at more than one field (Kubernetes reference, "Deployment v1 apps"). */
import type { Json, JsonObject } from '#schema/json.ts'

/** Parameters of a rolling update exist only for that strategy; their own defaults fill them. */
export function rollingUpdateFor(strategy: JsonObject): Json | undefined {
  return strategy['type'] === 'RollingUpdate' ? {} : undefined
}
