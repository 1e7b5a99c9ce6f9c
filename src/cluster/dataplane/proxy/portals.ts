/**
 * Which addresses lead to which endpoints: Services and EndpointSlices as a flat list of portals. Pure. Rules from Kubernetes,
 * "Virtual IPs and Service Proxies": ready endpoints; where none is ready, those that end but still serve; the Local traffic
 * policies keep to endpoints of this node.
 */
import type { Service, ServicePort } from '../../api/core/v1/service.ts'
import type { Endpoint, EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'

export type Protocol = 'tcp' | 'udp' | 'sctp'

export interface Target {
  readonly ip: string
  readonly port: number
}

/** One way in: an address and port, or a port on all of the node's addresses. */
export interface Portal {
  /** `namespace/name:port`, for people reading the rules. */
  readonly name: string
  readonly protocol: Protocol
  /** Undefined: a node port. */
  readonly ip?: string
  readonly port: number
  /** Sorted; empty = refused. */
  readonly targets: readonly Target[]
  /** All connections of a client go to the same target. */
  readonly affinity: boolean
  /** The source becomes the node's address, so that answers come back this way. */
  readonly masquerade: boolean
}

export const serviceNameLabel = 'kubernetes.io/service-name'

export interface PortalOptions {
  readonly nodeName: string
}

export function portalsOf(services: readonly Service[], slices: readonly EndpointSlice[], options: PortalOptions): Portal[] {
  const byService = new Map<string, EndpointSlice[]>()
  for (const slice of slices) {
    const name = slice.metadata.labels?.[serviceNameLabel]
    if (name === undefined || slice.addressType !== 'IPv4') continue
    const key = `${slice.metadata.namespace}/${name}`
    byService.set(key, [...(byService.get(key) ?? []), slice])
  }
  return services.flatMap((service) => servicePortals(service, byService.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [], options))
}

function servicePortals(service: Service, slices: readonly EndpointSlice[], options: PortalOptions): Portal[] {
  const { spec, status, metadata } = service
  if (spec.type === 'ExternalName' || spec.clusterIP === undefined || spec.clusterIP === '' || spec.clusterIP === 'None') return []
  const inner = [...new Set([spec.clusterIP, ...(spec.clusterIPs ?? [])])].filter(isIpv4)
  const outer = [...(spec.externalIPs ?? []), ...(status.loadBalancer.ingress ?? []).flatMap(({ ip, ipMode }) => (ip === undefined || ipMode === 'Proxy' ? [] : [ip]))].filter(isIpv4)
  const affinity = spec.sessionAffinity === 'ClientIP'
  const outerLocal = spec.externalTrafficPolicy === 'Local'
  return (spec.ports ?? []).flatMap((port) => {
    const endpoints = endpointsOf(slices, port)
    const common = { name: `${metadata.namespace}/${metadata.name}:${port.name ?? port.port}`, protocol: protocolOf(port), affinity }
    const innerTargets = usable(endpoints, spec.internalTrafficPolicy === 'Local' ? options.nodeName : undefined)
    const outerTargets = usable(endpoints, outerLocal ? options.nodeName : undefined)
    const portals: Portal[] = inner.map((ip) => ({ ...common, ip, port: port.port, targets: innerTargets, masquerade: false }))
    for (const ip of outer) portals.push({ ...common, ip, port: port.port, targets: outerTargets, masquerade: !outerLocal })
    if (port.nodePort !== undefined && port.nodePort !== 0) portals.push({ ...common, port: port.nodePort, targets: outerTargets, masquerade: !outerLocal })
    return portals
  })
}

function protocolOf({ protocol }: ServicePort): Protocol {
  return ({ TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const)[protocol]
}

function isIpv4(ip: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+$/.test(ip)
}

interface Candidate {
  readonly target: Target
  readonly endpoint: Endpoint
}

function endpointsOf(slices: readonly EndpointSlice[], servicePort: ServicePort): Candidate[] {
  const found: Candidate[] = []
  for (const { endpoints, ports } of slices) {
    const match = ports.find(({ name, protocol }) => (name ?? '') === (servicePort.name ?? '') && protocol === servicePort.protocol)
    if (match?.port === undefined) continue
    for (const endpoint of endpoints ?? []) {
      const [ip] = endpoint.addresses
      if (ip !== undefined && isIpv4(ip)) found.push({ target: { ip, port: match.port }, endpoint })
    }
  }
  return found
}

function usable(candidates: readonly Candidate[], onlyNode: string | undefined): Target[] {
  const near = onlyNode === undefined ? candidates : candidates.filter(({ endpoint }) => endpoint.nodeName === onlyNode)
  const ready = near.filter(({ endpoint: { conditions } }) => conditions.ready !== false)
  const chosen = ready.length > 0 ? ready : near.filter(({ endpoint: { conditions } }) => conditions.serving === true && conditions.terminating === true)
  const unique = new Map(chosen.map(({ target }) => [`${target.ip}:${target.port}`, target]))
  return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, target]) => target)
}
