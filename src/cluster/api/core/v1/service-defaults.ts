/** Defaults of services that look at more than one field (Kubernetes reference, "Service v1 core"). */
import type { Json, JsonObject, MutableJsonObject } from '#schema/json.ts'

/** Traffic goes to the port of the same number unless told otherwise. */
export function targetPortFor(port: JsonObject): Json | undefined {
  return port['port']
}

const clientIpTimeoutSeconds = 10_800

/** What depends on the type of the service and on its affinity. Addresses are given by the API server's allocator. */
export function completeServiceSpec(spec: JsonObject): JsonObject {
  const next: MutableJsonObject = { ...spec }
  const type = spec['type']
  if (spec['sessionAffinity'] === 'ClientIP') {
    next['sessionAffinityConfig'] ??= { clientIP: { timeoutSeconds: clientIpTimeoutSeconds } }
  } else delete next['sessionAffinityConfig']
  if (type === 'ExternalName') return next
  if (type === 'NodePort' || type === 'LoadBalancer') next['externalTrafficPolicy'] ??= 'Cluster'
  if (type === 'LoadBalancer') next['allocateLoadBalancerNodePorts'] ??= true
  next['internalTrafficPolicy'] ??= 'Cluster'
  next['ipFamilyPolicy'] ??= 'SingleStack'
  next['ipFamilies'] ??= ['IPv4']
  return next
}
