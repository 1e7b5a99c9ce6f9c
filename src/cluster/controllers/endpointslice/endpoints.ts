/** Which endpoints a Service has, grouped by the ports they serve ("EndpointSlices" in the Kubernetes documentation). Pure. */
import type { Pod } from '../../api/core/v1/pod.ts'
import type { Service } from '../../api/core/v1/service.ts'
import type { Endpoint, EndpointPort } from '../../api/discovery/v1/endpoint-slice.ts'
import { isPodFinished, isPodReady } from '../pod-state.ts'

export type AddressType = 'IPv4' | 'IPv6'

/** Endpoints that share one set of ports, and so may share slices. */
export interface EndpointGroup {
  readonly ports: readonly EndpointPort[]
  readonly endpoints: readonly Endpoint[]
}

/** Ports in an order that does not depend on who lists them; equal texts mean equal sets. */
export function portsKey(ports: readonly EndpointPort[]): string {
  return JSON.stringify(ports.map(({ name, protocol, port, appProtocol }) => JSON.stringify([name ?? '', protocol ?? 'TCP', port ?? 0, appProtocol ?? ''])).toSorted())
}

const familyOf = (address: string): AddressType => (address.includes(':') ? 'IPv6' : 'IPv4')

function addressesOf(pod: Pod, type: AddressType): string[] {
  const all = pod.status.podIPs?.map(({ ip }) => ip ?? '') ?? [pod.status.podIP ?? '']
  return all.filter((address) => address !== '' && familyOf(address) === type)
}

/** Only ports that the pod has: named ones are looked up in its containers, sidecars included. */
function portsOf(service: Service, pod: Pod): EndpointPort[] {
  const found: EndpointPort[] = []
  for (const { name, protocol, targetPort, appProtocol } of service.spec.ports ?? []) {
    const port = typeof targetPort === 'number' ? targetPort : namedPort(pod, targetPort, protocol)
    if (port === undefined || port === 0) continue
    found.push({ name: name ?? '', protocol: protocol ?? 'TCP', port, ...(appProtocol === undefined ? {} : { appProtocol }) })
  }
  return found
}

function namedPort(pod: Pod, name: string | undefined, protocol: string | undefined): number | undefined {
  const sidecars = (pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always')
  for (const container of [...pod.spec.containers, ...sidecars]) {
    for (const port of container.ports ?? []) if (port.name === name && (port.protocol ?? 'TCP') === (protocol ?? 'TCP')) return port.containerPort
  }
  return undefined
}

function endpointOf(service: Service, pod: Pod, addresses: readonly string[], zone: string | undefined): Endpoint {
  const serving = isPodReady(pod)
  const terminating = pod.metadata.deletionTimestamp !== undefined
  const { hostname, subdomain, nodeName } = pod.spec
  return {
    addresses,
    conditions: { ready: service.spec.publishNotReadyAddresses === true || (serving && !terminating), serving, terminating },
    ...(hostname !== undefined && hostname !== '' && subdomain === service.metadata.name ? { hostname } : {}),
    targetRef: { kind: 'Pod', namespace: pod.metadata.namespace, name: pod.metadata.name, uid: pod.metadata.uid },
    ...(nodeName === undefined || nodeName === '' ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
  }
}

/** `pods` are those the Service selects; `zoneOf` answers the zone of a node. */
export function endpointGroups(service: Service, pods: readonly Pod[], type: AddressType, zoneOf: (nodeName: string) => string | undefined): EndpointGroup[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>()
  for (const pod of pods) {
    const addresses = addressesOf(pod, type)
    if (addresses.length === 0 || isPodFinished(pod)) continue
    const ports = portsOf(service, pod)
    const key = portsKey(ports)
    let group = groups.get(key)
    if (group === undefined) groups.set(key, (group = { ports, endpoints: [] }))
    group.endpoints.push(endpointOf(service, pod, addresses, zoneOf(pod.spec.nodeName ?? '')))
  }
  return [...groups.values()]
}
