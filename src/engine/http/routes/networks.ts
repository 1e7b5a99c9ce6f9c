/** Networks (Engine API, tag `Network`). */
import { rfc3339Nano } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import type { IpamPool, Network, NetworkSpec } from '../../contract/networks.ts'
import type { EngineBackend } from '../backend.ts'
import { endpointOf } from '../container-spec.ts'
import { jsonBody, param, type Exchange, type Handler } from '../exchange.ts'
import { anyOf, booleanFilter, labelsMatch, parseFilters } from '../filters.ts'
import { JsonInput } from '../json-input.ts'

const predefined = ['bridge', 'host', 'none']

async function networkJson(backend: EngineBackend, network: Network, withContainers: boolean): Promise<object> {
  const { ipam } = network
  return {
    Name: network.name,
    Id: network.id,
    Created: rfc3339Nano(network.createdAtNs),
    Scope: network.scope,
    Driver: network.driver,
    EnableIPv4: true,
    EnableIPv6: network.enableIPv6,
    IPAM: {
      Driver: ipam.driver,
      Options: ipam.options,
      Config: ipam.config.map(({ subnet, gateway, ipRange, auxiliaryAddresses }) => ({ Subnet: subnet, ...(ipRange === undefined ? {} : { IPRange: ipRange }), ...(gateway === undefined ? {} : { Gateway: gateway }), ...(auxiliaryAddresses === undefined ? {} : { AuxiliaryAddresses: auxiliaryAddresses }) })),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: withContainers ? await containersJson(backend, network) : {},
    Options: network.options,
    Labels: network.labels,
  }
}

async function containersJson({ networks, containers }: EngineBackend, network: Network): Promise<object> {
  const rows: Record<string, object> = {}
  for (const endpoint of await networks.endpoints(network.id)) {
    const { ipv4Address, ipv4PrefixLength, ipv6Address, ipv6PrefixLength, containerId } = endpoint
    let name = containerId
    try {
      name = (await containers.inspect(containerId)).name
    } catch (error) {
      // A pod's sandbox is no container of ours.
      if (!isFault(error, 'notFound')) throw error
    }
    rows[containerId] = { Name: name, EndpointID: endpoint.id, MacAddress: endpoint.macAddress, IPv4Address: ipv4Address === '' ? '' : `${ipv4Address}/${ipv4PrefixLength}`, IPv6Address: ipv6Address === '' ? '' : `${ipv6Address}/${ipv6PrefixLength}` }
  }
  return rows
}

async function list({ backend, query, res }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'])
  const dangling = booleanFilter(filters, 'dangling')
  const shown: Network[] = []
  for (const network of await backend.networks.list()) {
    const custom = !predefined.includes(network.name)
    if (!anyOf(filters, 'driver', (driver) => network.driver === driver) || !anyOf(filters, 'id', (id) => network.id.startsWith(id)) || !anyOf(filters, 'name', (name) => network.name.includes(name))) continue
    if (!anyOf(filters, 'scope', (scope) => network.scope === scope) || !anyOf(filters, 'type', (type) => (type === 'custom') === custom) || !labelsMatch(filters, network.labels)) continue
    if (dangling !== undefined && dangling !== (custom && (await backend.networks.endpoints(network.id)).length === 0)) continue
    shown.push(network)
  }
  sendJson(res, await Promise.all(shown.map((network) => networkJson(backend, network, false))))
}

async function inspect(exchange: Exchange): Promise<void> {
  const network = await exchange.backend.networks.get(param(exchange, 'id'))
  sendJson(exchange.res, await networkJson(exchange.backend, network, true))
}

function poolOf(input: JsonInput): IpamPool {
  const [ipRange, gateway] = [input.string('IPRange'), input.string('Gateway')]
  return { subnet: input.string('Subnet') ?? '', ...(ipRange ? { ipRange } : {}), ...(gateway ? { gateway } : {}), ...(input.has('AuxiliaryAddresses') ? { auxiliaryAddresses: input.stringMap('AuxiliaryAddresses') ?? {} } : {}) }
}

async function create(exchange: Exchange): Promise<void> {
  const { backend, res } = exchange
  const input = JsonInput.of(await jsonBody(exchange), '')
  const ipam = input.object('IPAM')
  const spec: NetworkSpec = {
    name: input.string('Name') ?? '',
    driver: input.string('Driver') || 'bridge',
    internal: input.boolean('Internal') ?? false,
    attachable: input.boolean('Attachable') ?? false,
    enableIPv6: input.boolean('EnableIPv6') ?? false,
    ipam: { driver: ipam.string('Driver') || 'default', options: ipam.stringMap('Options') ?? {}, config: ipam.objects('Config').map(poolOf).filter(({ subnet }) => subnet !== '') },
    options: input.stringMap('Options') ?? {},
    labels: input.stringMap('Labels') ?? {},
  }
  const network = await backend.networks.create(spec)
  sendJson(res, { Id: network.id, Warning: '' }, { status: 201 })
}

async function remove(exchange: Exchange): Promise<void> {
  const { backend, res } = exchange
  await backend.networks.remove(param(exchange, 'id'))
  sendEmpty(res, { status: 204 })
}

async function connect(exchange: Exchange): Promise<void> {
  const input = JsonInput.of(await jsonBody(exchange), '')
  await exchange.backend.containers.connectNetwork(input.string('Container') ?? '', param(exchange, 'id'), endpointOf(input.object('EndpointConfig')))
  sendEmpty(exchange.res)
}

async function disconnect(exchange: Exchange): Promise<void> {
  const input = JsonInput.of(await jsonBody(exchange), '')
  await exchange.backend.containers.disconnectNetwork(input.string('Container') ?? '', param(exchange, 'id'), { force: input.boolean('Force') ?? false })
  sendEmpty(exchange.res)
}

async function prune({ backend, query, res }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['label', 'label!', 'until'])
  const deleted: string[] = []
  for (const network of await backend.networks.list()) {
    if (predefined.includes(network.name) || !labelsMatch(filters, network.labels)) continue
    if (filters.has('label!') && labelsMatch(filters, network.labels, 'label!')) continue
    try {
      await backend.networks.remove(network.id)
      deleted.push(network.name)
    } catch (error) {
      // In use.
      if (!isFault(error, 'conflict')) throw error
    }
  }
  sendJson(res, { NetworksDeleted: deleted.length === 0 ? null : deleted })
}

export const networkRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/networks', list],
  ['POST', '/networks/create', create],
  ['POST', '/networks/prune', prune],
  ['GET', '/networks/:id', inspect],
  ['DELETE', '/networks/:id', remove],
  ['POST', '/networks/:id/connect', connect],
  ['POST', '/networks/:id/disconnect', disconnect],
]
