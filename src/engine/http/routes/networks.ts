/** Networks (Engine API, tag `Network`). */
import { rfc3339Nano } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import type { Container } from '../../contract/containers.ts'
import type { IpamPool, Network, NetworkSpec } from '../../contract/networks.ts'
import type { EngineBackend } from '../backend.ts'
import { plainEndpointId } from '../container-json.ts'
import { checkDefaultBridge, endpointOf } from '../create/network.ts'
import { jsonBody, param, type Exchange, type Handler } from '../exchange.ts'
import { anyOf, labelsMatch, parseFilters, type Filters } from '../filters.ts'
import { JsonInput } from '../json-input.ts'
import { shaped } from '../version-shape.ts'
import { untilNs } from './containers.ts'

const predefined = ['bridge', 'host', 'none']

function networkJson(network: Network, minorVersion: number, containers: object): object {
  const { ipam } = network
  const answer = {
    Name: network.name,
    Id: network.id,
    Created: rfc3339Nano(network.createdAtNs),
    Scope: network.scope,
    Driver: network.driver,
    EnableIPv4: network.enableIPv4 ?? true,
    EnableIPv6: network.enableIPv6,
    IPAM: {
      Driver: ipam.driver,
      Options: ipam.options,
      Config: ipam.config.map(({ subnet, gateway, ipRange, auxiliaryAddresses }) => ({ Subnet: subnet, ...(ipRange === undefined ? {} : { IPRange: ipRange }), ...(gateway === undefined ? {} : { Gateway: gateway }), ...(auxiliaryAddresses === undefined ? {} : { AuxiliaryAddresses: auxiliaryAddresses }) })),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: network.configFrom ?? '' },
    ConfigOnly: network.configOnly ?? false,
    Containers: containers,
    Options: network.options,
    Labels: network.labels,
  }
  return shaped('network', answer, minorVersion)
}

async function containersJson({ networks, containers }: EngineBackend, network: Network): Promise<object> {
  const rows: Record<string, object> = {}
  const plain = network.driver === 'host' ? 'host' : network.driver === 'null' && network.configOnly !== true ? 'none' : undefined
  const running = plain === undefined ? [] : containers.list().filter((container) => isUp(container) && container.spec.network?.mode === plain)
  for (const container of running) rows[container.id] = { Name: container.name, EndpointID: plainEndpointId(container, network.id), MacAddress: '', IPv4Address: '', IPv6Address: '' }
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

function isUp({ state }: Container): boolean {
  return state.status === 'running' || state.status === 'paused'
}

async function isUsed(backend: EngineBackend, network: Network): Promise<boolean> {
  return Object.keys(await containersJson(backend, network)).length > 0
}

function danglingOf(filters: Filters): boolean | undefined {
  const values = filters.get('dangling')
  if (values === undefined) return undefined
  if (values.length > 1) throw new Fault('invalidArgument', 'got more than one value for filter key "dangling"')
  const [value = ''] = values
  if (['1', 'true'].includes(value)) return true
  if (['0', 'false'].includes(value)) return false
  throw new Fault('invalidArgument', `invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`)
}

async function list({ backend, query, res, minorVersion }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'])
  const dangling = danglingOf(filters)
  for (const type of filters.get('type') ?? []) if (type !== 'custom' && type !== 'builtin') throw new Fault('invalidArgument', `invalid filter: 'type'='${type}'`)
  const shown: Network[] = []
  for (const network of await backend.networks.list()) {
    const custom = !predefined.includes(network.name)
    if (!anyOf(filters, 'driver', (driver) => network.driver === driver) || !anyOf(filters, 'id', (id) => network.id.startsWith(id)) || !anyOf(filters, 'name', (name) => network.name.includes(name))) continue
    if (!anyOf(filters, 'scope', (scope) => network.scope === scope) || !anyOf(filters, 'type', (type) => (type === 'custom') === custom) || !labelsMatch(filters, network.labels)) continue
    if (dangling !== undefined && dangling !== (custom && !(await isUsed(backend, network)))) continue
    shown.push(network)
  }
  // Clients before 1.28 expect the containers in the list.
  const rows = shown.map(async (network) => networkJson(network, minorVersion, minorVersion < 28 ? await containersJson(backend, network) : {}))
  sendJson(res, await Promise.all(rows))
}

async function inspect(exchange: Exchange): Promise<void> {
  const { backend, query, res, minorVersion } = exchange
  const verbose = query.get('verbose') ?? ''
  if (!['', '1', 't', 'T', 'true', 'TRUE', 'True', '0', 'f', 'F', 'false', 'FALSE', 'False'].includes(verbose)) throw new Fault('invalidArgument', `invalid value for verbose: ${verbose}: strconv.ParseBool: parsing ${JSON.stringify(verbose)}: invalid syntax`)
  const name = param(exchange, 'id')
  const network = await backend.networks.get(name)
  const scope = query.get('scope') ?? ''
  if (scope !== '' && scope !== network.scope) throw new Fault('notFound', `network ${name} not found`)
  sendJson(res, networkJson(network, minorVersion, await containersJson(backend, network)))
}

function poolOf(input: JsonInput): IpamPool {
  const [ipRange, gateway] = [input.string('IPRange'), input.string('Gateway')]
  return { subnet: input.string('Subnet') ?? '', ...(ipRange ? { ipRange } : {}), ...(gateway ? { gateway } : {}), ...(input.has('AuxiliaryAddresses') ? { auxiliaryAddresses: input.stringMap('AuxiliaryAddresses') ?? {} } : {}) }
}

function isEmpty({ subnet, ipRange, gateway, auxiliaryAddresses }: IpamPool): boolean {
  return subnet === '' && ipRange === undefined && gateway === undefined && auxiliaryAddresses === undefined
}

async function create(exchange: Exchange): Promise<void> {
  const { backend, res, minorVersion } = exchange
  const input = JsonInput.of(await jsonBody(exchange), '')
  if (input.boolean('Ingress') === true) throw new Fault('permissionDenied', 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.')
  const ipam = input.object('IPAM')
  const enableIPv4 = minorVersion >= 48 ? input.boolean('EnableIPv4') : undefined
  const spec: NetworkSpec = {
    name: input.string('Name') ?? '',
    driver: input.string('Driver') || 'bridge',
    internal: input.boolean('Internal') ?? false,
    attachable: input.boolean('Attachable') ?? false,
    ...(enableIPv4 === undefined ? {} : { enableIPv4 }),
    enableIPv6: input.boolean('EnableIPv6') ?? false,
    // Clients send an empty pool for none; one that says something without a subnet is refused.
    ipam: { driver: ipam.string('Driver') || 'default', options: ipam.stringMap('Options') ?? null, config: ipam.objects('Config').map(poolOf).filter((pool) => !isEmpty(pool)) },
    options: input.stringMap('Options') ?? {},
    labels: input.stringMap('Labels') ?? {},
    scope: input.string('Scope') ?? '',
    configOnly: input.boolean('ConfigOnly') ?? false,
    configFrom: input.object('ConfigFrom').string('Network') ?? '',
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
  const { backend, res } = exchange
  const input = JsonInput.of(await jsonBody(exchange), '')
  const network = await backend.networks.get(param(exchange, 'id'))
  const spec = endpointOf(input.object('EndpointConfig'))
  if (network.name === 'bridge') checkDefaultBridge(spec)
  await backend.containers.connectNetwork(input.string('Container') ?? '', network.id, spec)
  sendEmpty(res)
}

async function disconnect(exchange: Exchange): Promise<void> {
  const { backend, res } = exchange
  const input = JsonInput.of(await jsonBody(exchange), '')
  const ref = input.string('Container') ?? ''
  const force = input.boolean('Force') ?? false
  try {
    await backend.containers.disconnectNetwork(ref, param(exchange, 'id'), { force })
  } catch (error) {
    // Forced, the endpoint is looked for, and not the container.
    throw force && isFault(error, 'notFound') && error.message.startsWith('No such container') ? new Fault('notFound', `endpoint ${ref} not found`, { cause: error }) : error
  }
  sendEmpty(res)
}

async function prune({ backend, query, res }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['label', 'label!', 'until'])
  const [text, ...more] = filters.get('until') ?? []
  if (more.length > 0) throw new Fault('invalidArgument', 'more than one until filter specified')
  const until = text === undefined ? undefined : untilNs(text, backend.clock.nowNs())
  const deleted: string[] = []
  for (const network of await backend.networks.list()) {
    if (predefined.includes(network.name) || network.configOnly === true || !labelsMatch(filters, network.labels)) continue
    if (filters.has('label!') && labelsMatch(filters, network.labels, 'label!')) continue
    if (until !== undefined && network.createdAtNs > until) continue
    try {
      await backend.networks.remove(network.id)
      deleted.push(network.name)
    } catch (error) {
      // In use.
      if (!isFault(error, 'permissionDenied')) throw error
    }
  }
  backend.events.publish({ type: 'network', action: 'prune', actor: { id: '', attributes: { reclaimed: '0' } } })
  sendJson(res, { NetworksDeleted: deleted.length === 0 ? null : deleted })
}

export const networkRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/networks', list],
  // The one list that dockerd serves with a slash at its end, too.
  ['GET', '/networks/', list],
  ['POST', '/networks/create', create],
  ['POST', '/networks/prune', prune],
  ['GET', '/networks/:id', inspect],
  ['DELETE', '/networks/:id', remove],
  ['POST', '/networks/:id/connect', connect],
  ['POST', '/networks/:id/disconnect', disconnect],
]
