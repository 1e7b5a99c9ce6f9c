/** Defaults of pods that look at more than one field (Kubernetes reference, "Pod v1 core"). */
import type { Json, JsonObject } from '#schema/json.ts'
import { isJsonArray, isJsonObject } from '#schema/json.ts'

/** `Always` for images without a tag or with `:latest`, `IfNotPresent` for any other tag and for digests. */
export function pullPolicyFor(owner: JsonObject): Json {
  const image = owner['image'] ?? owner['reference']
  if (typeof image !== 'string' || image === '') return 'IfNotPresent'
  if (image.includes('@')) return 'IfNotPresent'
  const tag = /:([^/:]+)$/.exec(image)?.[1]
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent'
}

/** A volume without a source is an emptyDir. */
export function emptyDirUnlessSourced(volume: JsonObject): JsonObject {
  const sourced = Object.keys(volume).some((key) => key !== 'name' && volume[key] !== undefined)
  return sourced ? volume : { ...volume, emptyDir: {} }
}

/** `serviceAccount` is the old name of `serviceAccountName`; whichever was sent, both are stored. */
export function completePodSpec(spec: JsonObject): JsonObject {
  const account = spec['serviceAccountName'] ?? spec['serviceAccount']
  return account === undefined ? spec : { ...spec, serviceAccountName: account, serviceAccount: account }
}

/** What holds for pods but not for pod templates: service links, requests from limits, host ports on the host network. */
export function completePod(pod: JsonObject): JsonObject {
  const spec = pod['spec']
  if (!isJsonObject(spec)) return pod
  const onHostNetwork = spec['hostNetwork'] === true
  const complete = (container: Json): Json => (isJsonObject(container) ? completeContainer(container, onHostNetwork) : container)
  const next: Record<string, Json | undefined> = { ...spec, enableServiceLinks: spec['enableServiceLinks'] ?? true }
  for (const list of ['containers', 'initContainers']) {
    const containers = spec[list]
    if (isJsonArray(containers)) next[list] = containers.map(complete)
  }
  return { ...pod, spec: next }
}

function completeContainer(container: JsonObject, onHostNetwork: boolean): JsonObject {
  const withRequests = isJsonObject(container['resources']) ? { ...container, resources: requestsFromLimits(container['resources']) } : container
  const ports = container['ports']
  if (!onHostNetwork || !isJsonArray(ports)) return withRequests
  return { ...withRequests, ports: ports.map((port) => (isJsonObject(port) ? { ...port, hostPort: port['hostPort'] ?? port['containerPort'] } : port)) }
}

/** A resource that is limited but not requested is requested up to its limit. */
function requestsFromLimits(resources: JsonObject): JsonObject {
  const limits = resources['limits']
  if (!isJsonObject(limits) || Object.keys(limits).length === 0) return resources
  return { ...resources, requests: { ...limits, ...(isJsonObject(resources['requests']) ? resources['requests'] : {}) } }
}
