/**
 * Services: cluster IPs and node ports. Nothing is stored beside the services themselves: an address is free when no service
 * has it, and writes of services run one after another, so that it is given once.
 * https://kubernetes.io/docs/reference/networking/virtual-ips/
 */
import { Fault, type FaultCause } from '#base/fault.ts'
import { formatAddress, formatPrefix, parseAddress, prefixSize, requirePrefix, type Prefix } from '#base/ipv4.ts'
import { randomInt, type Random } from '#base/random.ts'
import { invalidObject } from '#schema/cause.ts'
import type { JsonObject } from '#schema/json.ts'
import type { Service, ServiceSpec } from '../../api/core/v1/service.ts'
import { asJson, asKind } from '../entry.ts'
import type { AdmissionRequest, Strategy, Surroundings } from '../strategy.ts'
import { inertServiceFields } from './inert.ts'

export interface ServiceRanges {
  /** E.g. `10.43.0.0/16`. */
  readonly serviceCidr: string
  /** Inclusive, e.g. `[30000, 32767]`. */
  readonly nodePorts: readonly [number, number]
}

const services = { group: '', plural: 'services', kind: 'Service' } as const

/** Throws `invalidArgument` for what is no range between /8 and /30. */
function serviceRange(cidr: string): Prefix {
  const range = requirePrefix(cidr, 'service range')
  if (range.length < 8 || range.length > 30) throw new Fault('invalidArgument', `the service range ${cidr} must be between /8 and /30`)
  return range
}

interface Taken {
  readonly addresses: Set<string>
  /** `protocol/port`. */
  readonly nodePorts: Set<string>
}

function taken(surroundings: Surroundings, own: Service | undefined): Taken {
  const found: Taken = { addresses: new Set(), nodePorts: new Set() }
  for (const object of surroundings.objects(services)) {
    const service = asKind<Service>(object)
    if (service.metadata.uid === own?.metadata.uid) continue
    for (const address of service.spec.clusterIPs ?? []) found.addresses.add(address)
    for (const { protocol, nodePort } of service.spec.ports ?? []) if (nodePort !== undefined) found.nodePorts.add(`${protocol}/${nodePort}`)
  }
  return found
}

function refuse(name: string, field: string, value: string, why: string): never {
  const cause: FaultCause = { reason: 'FieldValueInvalid', field, message: `Invalid value: ${value}: ${why}` }
  throw invalidObject(services, name, [cause])
}

function freeAddress(range: Prefix, used: ReadonlySet<string>, random: Random): string | undefined {
  // The first addresses are kept for services that ask for one (DNS asks for the tenth).
  const size = prefixSize(range)
  const kept = Math.min(16, size / 4)
  const count = size - 1 - kept
  const start = randomInt(random, count)
  for (let step = 0; step < count; step += 1) {
    const address = formatAddress(range.base + kept + ((start + step) % count))
    if (!used.has(address)) return address
  }
  return undefined
}

function withAddress(service: Service, previous: Service | undefined, range: Prefix, used: Taken, random: Random): ServiceSpec {
  const { spec } = service
  const { name } = service.metadata
  if (spec.type === 'ExternalName') return { ...spec, clusterIP: undefined, clusterIPs: undefined }
  const kept = previous !== undefined && previous.spec.type !== 'ExternalName' ? previous.spec.clusterIP : undefined
  const wanted = spec.clusterIP ?? spec.clusterIPs?.[0] ?? kept
  if (kept !== undefined && wanted !== kept) refuse(name, 'spec.clusterIPs[0]', JSON.stringify([wanted]), 'may not change once set')
  if (wanted === 'None') return { ...spec, clusterIP: 'None', clusterIPs: ['None'] }
  if (wanted === undefined) {
    const address = freeAddress(range, used.addresses, random)
    if (address === undefined) refuse(name, 'spec.clusterIPs', '[]', `failed to allocate a service address: the range ${formatPrefix(range)} is full`)
    return { ...spec, clusterIP: address, clusterIPs: [address] }
  }
  const number = parseAddress(wanted)
  const offset = (number ?? 0) - range.base
  if (number === undefined || !(offset > 0 && offset < prefixSize(range) - 1)) {
    refuse(name, 'spec.clusterIPs', JSON.stringify([wanted]), `failed to allocate IP ${wanted}: the provided IP is not in the valid range. The range of valid IPs is ${formatPrefix(range)}`)
  }
  if (used.addresses.has(wanted)) refuse(name, 'spec.clusterIPs', JSON.stringify([wanted]), `failed to allocate IP ${wanted}: provided IP is already allocated`)
  return { ...spec, clusterIP: wanted, clusterIPs: [wanted] }
}

function freePort(protocol: string, [low, high]: ServiceRanges['nodePorts'], used: ReadonlySet<string>, random: Random): number | undefined {
  const count = high - low + 1
  const start = randomInt(random, count)
  for (let step = 0; step < count; step += 1) {
    const port = low + ((start + step) % count)
    if (!used.has(`${protocol}/${port}`)) return port
  }
  return undefined
}

function withNodePorts(service: Service, previous: Service | undefined, ranges: ServiceRanges, used: Taken, random: Random): ServiceSpec {
  const { spec } = service
  const { name } = service.metadata
  const needs = spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false)
  if (!needs) {
    // A node port left over from a former type goes; one that the client asks for with ClusterIP is refused by validation.
    const former = new Set((previous?.spec.ports ?? []).map(({ nodePort }) => nodePort))
    return { ...spec, ports: spec.ports?.map((port) => (former.has(port.nodePort) ? { ...port, nodePort: undefined } : port)) }
  }
  const given = new Set(used.nodePorts)
  const ports = spec.ports?.map((port, index) => {
    const same = previous?.spec.ports?.find((old) => old.port === port.port && old.protocol === port.protocol)
    let nodePort = port.nodePort ?? same?.nodePort
    if (nodePort !== undefined && port.nodePort !== undefined && (nodePort < ranges.nodePorts[0] || nodePort > ranges.nodePorts[1])) {
      refuse(name, `spec.ports[${index}].nodePort`, String(nodePort), `provided port is not in the valid range. The range of valid ports is ${ranges.nodePorts.join('-')}`)
    }
    if (nodePort !== undefined && given.has(`${port.protocol}/${nodePort}`)) {
      if (port.nodePort !== undefined) refuse(name, `spec.ports[${index}].nodePort`, String(nodePort), 'provided port is already allocated')
      nodePort = undefined
    }
    nodePort ??= freePort(port.protocol, ranges.nodePorts, given, random)
    if (nodePort === undefined) refuse(name, `spec.ports[${index}].nodePort`, '0', `failed to allocate a nodePort: the range ${ranges.nodePorts.join('-')} is full`)
    given.add(`${port.protocol}/${nodePort}`)
    return { ...port, nodePort }
  })
  return { ...spec, ports }
}

export function serviceStrategy(ranges: ServiceRanges): Strategy {
  const range = serviceRange(ranges.serviceCidr)
  return {
    serialWrites: true,
    answersDeleted: true,
    warnings: inertServiceFields,
    admit(object: JsonObject, request: AdmissionRequest): JsonObject {
      if (request.subresource !== '') return object
      const service = asKind<Service>(object)
      const previous = request.previous === undefined ? undefined : asKind<Service>(request.previous)
      const used = taken(request.surroundings, previous)
      const { random } = request.surroundings
      const addressed = { ...service, spec: withAddress(service, previous, range, used, random) }
      return asJson({ ...addressed, spec: withNodePorts(addressed, previous, ranges, used, random) })
    },
  }
}
