/** An endpoint's record: names, addresses, gateways; and which endpoint of a sandbox gives its default routes. */
import { Fault } from '#base/fault.ts'
import type { Family } from '#base/ip.ts'
import type { Endpoint, EndpointSpec, PortBinding } from '../contract/networks.ts'
import { option } from './definition.ts'
import { macOfAddress, type EndpointAddresses, type NetworkLeases } from './ipam.ts'
import type { EndpointRecord, NetworkRecord, SandboxRecord } from './records.ts'

export interface EndpointParts {
  readonly id: string
  readonly sandbox: SandboxRecord
  readonly record: NetworkRecord
  readonly leases: NetworkLeases
  readonly addresses: EndpointAddresses
  readonly spec: EndpointSpec
  readonly ports: readonly PortBinding[]
}

export function endpointRecord({ id, sandbox, record, leases, addresses, spec, ports }: EndpointParts): EndpointRecord {
  const { ipv4Address, ipv6Address } = addresses
  // An internal network leads nowhere.
  const gateway = record.internal ? '' : (leases.ipv4?.gateway ?? '')
  const ipv6Gateway = record.internal ? '' : (leases.ipv6?.gateway ?? '')
  return {
    id,
    networkId: record.id,
    networkName: record.name,
    driver: record.driver,
    containerId: sandbox.containerId,
    aliases: spec.aliases ?? [],
    ...(spec.links === undefined || spec.links.length === 0 ? {} : { links: spec.links }),
    ...(spec.gatewayPriority === undefined ? {} : { gatewayPriority: spec.gatewayPriority }),
    ...(spec.linkLocalAddresses === undefined ? {} : { linkLocalAddresses: spec.linkLocalAddresses }),
    macAddress: spec.macAddress ?? macOfAddress(ipv4Address || ipv6Address),
    ipv4Address,
    ipv4PrefixLength: leases.ipv4?.subnet.length ?? 0,
    gateway,
    ipv6Address,
    ipv6PrefixLength: leases.ipv6?.subnet.length ?? 0,
    ipv6Gateway,
    ports,
    hostInterface: record.driver === 'bridge' ? `be${id.slice(0, 12)}` : '',
    interfaceName: interfaceName(sandbox, record, spec),
  }
}

function interfaceName({ endpoints }: SandboxRecord, { options }: NetworkRecord, { driverOptions }: EndpointSpec): string {
  const used = new Set(['lo', ...endpoints.map((endpoint) => endpoint.interfaceName)])
  const wanted = driverOptions?.['com.docker.network.endpoint.ifname']
  if (wanted !== undefined) {
    if (used.has(wanted) || !/^[^\s/]{1,15}$/.test(wanted)) throw new Fault('invalidArgument', `the interface cannot be named '${wanted}': expected 1 to 15 characters that no other interface of the container has`)
    return wanted
  }
  const prefix = options[option.interfacePrefix] ?? 'eth'
  let number = 0
  while (used.has(`${prefix}${number}`)) number += 1
  return `${prefix}${number}`
}

export function gatewayOf({ gateway, ipv6Gateway }: Endpoint, family: Family): string {
  return family === 4 ? gateway : ipv6Gateway
}

/** The endpoint with the highest priority, among equals the first that joined. */
export function routeHolder(endpoints: readonly EndpointRecord[], family: Family): EndpointRecord | undefined {
  return endpoints.filter((endpoint) => gatewayOf(endpoint, family) !== '').reduce<EndpointRecord | undefined>((best, endpoint) => (best === undefined || (endpoint.gatewayPriority ?? 0) > (best.gatewayPriority ?? 0) ? endpoint : best), undefined)
}

export function shownEndpoint({ hostInterface: _, interfaceName: __, linkLocalAddresses: ___, ...endpoint }: EndpointRecord): Endpoint {
  return endpoint
}
