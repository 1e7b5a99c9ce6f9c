/** Defaults of services that look at more than one field (Kubernetes reference, "Service v1 core"). */
import type { Json, JsonObject, MutableJsonObject } from '#schema/json.ts'
import { isJsonArray, isJsonObject, textOf } from '#schema/json.ts'

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
  if (typeof next['clusterIP'] === 'string') next['clusterIPs'] ??= [next['clusterIP']]
  if (type === 'ExternalName') return next
  if (type === 'NodePort' || type === 'LoadBalancer') next['externalTrafficPolicy'] ??= 'Cluster'
  if (type === 'LoadBalancer') next['allocateLoadBalancerNodePorts'] ??= true
  next['internalTrafficPolicy'] ??= 'Cluster'
  next['ipFamilyPolicy'] ??= 'SingleStack'
  next['ipFamilies'] ??= ['IPv4']
  return next
}

/** Addresses and node ports that were allocated stay where an update leaves them out (`kubectl apply`, `replace`). */
export function keepAllocations(next: JsonObject, previous: JsonObject): JsonObject {
  const [after, before] = [next['spec'], previous['spec']]
  if (!isJsonObject(after) || !isJsonObject(before)) return next
  const type = after['type'] ?? 'ClusterIP'
  if (type === 'ExternalName' || before['type'] === 'ExternalName') return next
  const spec: MutableJsonObject = { ...after }
  for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) if (isUnset(spec[field])) spec[field] = before[field]
  if (type === 'NodePort' || type === 'LoadBalancer') {
    spec['ports'] = keepNodePorts(after['ports'], before['ports'])
    if (isUnset(spec['healthCheckNodePort'])) spec['healthCheckNodePort'] = before['healthCheckNodePort']
  }
  return { ...next, spec }
}

function isUnset(value: Json | undefined): boolean {
  return value === undefined || value === null || value === '' || value === 0 || (isJsonArray(value) && value.length === 0)
}

function keepNodePorts(after: Json | undefined, before: Json | undefined): Json | undefined {
  if (!isJsonArray(after) || !isJsonArray(before)) return after
  const keyOf = (port: Json): string => (isJsonObject(port) ? `${textOf(port['protocol'] ?? 'TCP')}/${textOf(port['port'])}` : '')
  return after.map((port) => {
    if (!isJsonObject(port) || !isUnset(port['nodePort'])) return port
    const old = before.find((candidate) => keyOf(candidate) === keyOf(port))
    return isJsonObject(old) && old['nodePort'] !== undefined ? { ...port, nodePort: old['nodePort'] } : port
  })
}
