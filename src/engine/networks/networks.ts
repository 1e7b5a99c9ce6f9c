/**
 * The engine's networks: bridges, address leases, sandboxes, published ports. This file owns the state and the order of
 * effects; `rules.ts`, `ipam.ts` and `ports.ts` decide, `records.ts` remembers, the linux room acts.
 *
 * Order of effects: what exists in the kernel is recorded first, what is forgotten is removed from the kernel first. A crash in
 * between leaves a record too many, which `recover` sweeps, and never an interface that nobody knows.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { present } from '#base/assert.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import { KeyedSerial } from '#base/task.ts'
import type { Links } from '#linux/contract/links.ts'
import type { Namespaces } from '#linux/contract/namespaces.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { Endpoint, EndpointSpec, IpamPool, Network, NetworkId, Networks, NetworkSpec, PortBinding, Sandbox } from '../contract/networks.ts'
import { HostFirewall } from './host-firewall.ts'
import { AddressLeases, macOfAddress } from './ipam.ts'
import { firstFreePrefix, formatAddress, formatPrefix, overlaps, requirePrefix, type Prefix } from '#base/ipv4.ts'
import { NameServer } from './name-server.ts'
import type { NamedEndpoint } from './names.ts'
import { HostPorts, type PortProbe } from './ports.ts'
import { hostResolver, type ResolverSettings } from './resolver.ts'
import { NetworkRecords, type EndpointRecord, type NetworkRecord, type SandboxRecord } from './records.ts'
import { networkScript, portScript, redirectDnsScript, tableScript, type FilteredNetwork, type PublishedPort } from './rules.ts'

export interface NetworksOptions {
  readonly links: Links
  readonly namespaces: Namespaces
  readonly nftables: Nftables
  /** For iptables, where the host's firewall drops what it does not know. Left out: it is not looked at. */
  readonly processes?: Processes
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly events?: EventPublisher
  /** Definitions live here across restarts of the machine. */
  readonly stateDir: string
  /** Pinned namespaces and endpoint records; short, lost with the machine's uptime. */
  readonly runDir: string
  /** Name of the nftables table, e.g. `berth` or `berth_ab12cd`. */
  readonly table: string
  /** The network `bridge`. */
  readonly defaultBridge: { readonly name: string; readonly subnet: string }
  /** Where subnets of user-defined networks are cut from, e.g. `{ base: '10.89.0.0/16', length: 24 }`. */
  readonly addressPools: readonly { readonly base: string; readonly length: number }[]
  /** Asks whether a host port is free; real sockets unless told otherwise. */
  readonly portProbe?: PortProbe
}

/** Docker's option names for a bridge; others are kept and have no effect. */
const bridgeOption = {
  name: 'com.docker.network.bridge.name',
  masquerade: 'com.docker.network.bridge.enable_ip_masquerade',
  betweenContainers: 'com.docker.network.bridge.enable_icc',
  hostAddress: 'com.docker.network.bridge.host_binding_ipv4',
  mtu: 'com.docker.network.driver.mtu',
} as const

/** When a closed sandbox's interface is looked for again. */
const lingerMs = 2000

interface LiveNetwork {
  readonly record: NetworkRecord
  /** Undefined for host and none. */
  readonly leases: AddressLeases | undefined
}

export async function openNetworks(options: NetworksOptions): Promise<BridgeNetworks> {
  const networks = new BridgeNetworks(options)
  await networks.open()
  return networks
}

export class BridgeNetworks implements Networks, AsyncDisposable {
  readonly #options: NetworksOptions
  readonly #records: NetworkRecords
  readonly #ports: HostPorts
  readonly #firewall: HostFirewall | undefined
  readonly #networks = new Map<NetworkId, LiveNetwork>()
  readonly #sandboxes = new Map<string, SandboxRecord>()
  readonly #serial = new KeyedSerial<string>()
  /** Host ends of closed sandboxes, which should vanish by themselves. */
  readonly #leaving = new Set<string>()
  /** DNS of user-defined networks. */
  readonly #nameServers = new Map<NetworkId, NameServer>()

  constructor(options: NetworksOptions) {
    this.#options = options
    this.#records = new NetworkRecords(options.stateDir, options.runDir)
    this.#ports = new HostPorts(options.portProbe)
    this.#firewall = options.processes === undefined ? undefined : new HostFirewall(options.processes, options.table)
  }

  /** Reads the records and brings bridges and rules to what they say; containers that run are not touched. */
  async open(): Promise<void> {
    await mkdir(this.#namespaceFolder(), { recursive: true, mode: 0o711 })
    const stored = await this.#records.open()
    for (const record of stored.networks) this.#networks.set(record.id, { record, leases: leasesOf(record) })
    for (const sandbox of stored.sandboxes) {
      this.#sandboxes.set(sandbox.containerId, sandbox)
      for (const endpoint of sandbox.endpoints) {
        this.#networks.get(endpoint.networkId)?.leases?.restore(endpoint.ipv4Address)
        this.#ports.restore(endpoint.ports)
      }
    }
    await this.#ensurePredefined()
    await this.#options.links.setSysctl('net.ipv4.ip_forward', '1')
    for (const { record } of this.#networks.values()) if (record.driver === 'bridge') await this.#ensureBridge(record)
    await this.#applyTable()
    await this.#openFirewall()
    for (const { record } of this.#networks.values()) if (hasNames(record)) await this.#openNames(record)
  }

  async #ensurePredefined(): Promise<void> {
    const named = new Set([...this.#networks.values()].map(({ record }) => record.name))
    const { defaultBridge } = this.#options
    const make = (name: string, driver: Network['driver'], pools: readonly IpamPool[], bridge: string): void => {
      if (!named.has(name)) this.#add(this.#record({ name }, driver, pools, bridge))
    }
    make('bridge', 'bridge', [poolWithGateway({ subnet: defaultBridge.subnet })], defaultBridge.name)
    make('host', 'host', [], '')
    make('none', 'null', [], '')
    if (named.size < this.#networks.size) await this.#saveNetworks()
  }

  async create(spec: NetworkSpec): Promise<Network> {
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(spec.name)) {
      throw new Fault('invalidArgument', `invalid network name '${spec.name}': expected letters, digits, '_', '.' or '-', the first a letter or digit`)
    }
    const driver = spec.driver === undefined || spec.driver === '' || spec.driver === 'default' ? 'bridge' : spec.driver
    if (driver !== 'bridge') throw new Fault('invalidArgument', `network driver '${driver}' is not supported: expected bridge`)
    if (spec.enableIPv6 === true) throw new Fault('invalidArgument', 'IPv6 is not supported yet: leave enableIPv6 out')
    return this.#serial.run('networks', async () => {
      if ([...this.#networks.values()].some(({ record }) => record.name === spec.name)) {
        throw new Fault('alreadyExists', `network with name ${spec.name} already exists`)
      }
      const pools = [await this.#choosePool(spec)]
      const record = this.#record(spec, driver, pools, undefined)
      this.#add(record)
      try {
        await this.#saveNetworks()
        await this.#ensureBridge(record)
        await this.#apply(networkScript('add', this.#options.table, filtered(record)))
        await this.#openFirewall()
        await this.#openNames(record)
      } catch (error) {
        this.#networks.delete(record.id)
        await this.#options.links.deleteLink(record.bridge)
        await this.#saveNetworks()
        throw error
      }
      this.#publish('create', record)
      return shown(record)
    })
  }

  #record(spec: NetworkSpec, driver: Network['driver'], pools: readonly IpamPool[], bridge: string | undefined): NetworkRecord {
    const id = randomHex(this.#options.random, 64)
    const wanted = spec.options?.[bridgeOption.name]
    if (wanted !== undefined && !/^[a-zA-Z0-9_.-]{1,15}$/.test(wanted)) throw new Fault('invalidArgument', `invalid bridge name '${wanted}': expected at most 15 letters, digits, '_', '.' or '-'`)
    return {
      id,
      name: spec.name,
      driver,
      scope: 'local',
      createdAtNs: String(this.#options.clock.nowNs()),
      internal: spec.internal ?? false,
      attachable: spec.attachable ?? false,
      enableIPv6: false,
      ipam: { driver: spec.ipam?.driver ?? 'default', options: spec.ipam?.options ?? {}, config: pools },
      options: spec.options ?? {},
      labels: spec.labels ?? {},
      bridge: bridge ?? wanted ?? `br-${id.slice(0, 12)}`,
    }
  }

  #add(record: NetworkRecord): void {
    this.#networks.set(record.id, { record, leases: leasesOf(record) })
  }

  /** The wanted subnet if it is free, or the first free one of the pools that overlaps no interface of the host either. */
  async #choosePool(spec: NetworkSpec): Promise<IpamPool> {
    const pools = spec.ipam?.config ?? []
    if (pools.length > 1) throw new Fault('invalidArgument', `network ${spec.name} has ${pools.length} subnets: expected at most one`)
    const taken = [...this.#networks.values()].flatMap(({ leases }) => leases?.subnet ?? [])
    const wanted = pools[0]
    if (wanted !== undefined && wanted.subnet !== '') {
      const prefix = requirePrefix(wanted.subnet, 'subnet')
      if (taken.some((each) => overlaps(each, prefix))) throw new Fault('conflict', `Pool overlaps with other one on this address space: ${wanted.subnet}`)
      return poolWithGateway({ ...wanted, subnet: formatPrefix(prefix) })
    }
    const links = await this.#options.links.list()
    const onHost = links.flatMap(({ addresses }) => addresses.filter((address) => !address.includes(':')).map((address) => requirePrefix(address, 'address')))
    for (const { base, length } of this.#options.addressPools) {
      const prefix = firstFreePrefix(requirePrefix(base, 'address pool'), length, [...taken, ...onHost])
      if (prefix !== undefined) return poolWithGateway({ subnet: formatPrefix(prefix) })
    }
    throw new Fault('resourceExhausted', 'could not find an available, non-overlapping IPv4 address pool: name a subnet or remove networks')
  }

  async get(nameOrId: string): Promise<Network> {
    return shown(this.#find(nameOrId).record)
  }

  async list(): Promise<readonly Network[]> {
    return [...this.#networks.values()].map(({ record }) => shown(record))
  }

  async endpoints(networkId: NetworkId): Promise<readonly Endpoint[]> {
    return this.#endpointRecords(networkId).map(shownEndpoint)
  }

  #endpointRecords(networkId: NetworkId): readonly EndpointRecord[] {
    return [...this.#sandboxes.values()].flatMap(({ endpoints }) => endpoints.filter((endpoint) => endpoint.networkId === networkId))
  }

  #find(nameOrId: string): LiveNetwork {
    const byId = this.#networks.get(nameOrId)
    if (byId !== undefined) return byId
    const all = [...this.#networks.values()]
    const byName = all.find(({ record }) => record.name === nameOrId)
    if (byName !== undefined) return byName
    const byPrefix = /^[0-9a-f]+$/.test(nameOrId) ? all.filter(({ record }) => record.id.startsWith(nameOrId)) : []
    if (byPrefix.length > 1) throw new Fault('conflict', `network ${nameOrId} is ambiguous (${byPrefix.length} matches found based on ID prefix)`)
    const found = byPrefix[0]
    if (found === undefined) throw new Fault('notFound', `network ${nameOrId} not found`)
    return found
  }

  async remove(nameOrId: string): Promise<Network> {
    return this.#serial.run('networks', async () => {
      const { record } = this.#find(nameOrId)
      if (isPredefined(record)) throw new Fault('permissionDenied', `${record.name} is a pre-defined network and cannot be removed`)
      if (this.#endpointRecords(record.id).length > 0) {
        throw new Fault('conflict', `error while removing network: network ${record.name} id ${record.id} has active endpoints`)
      }
      await this.#closeNames(record.id)
      await this.#apply(networkScript('delete', this.#options.table, filtered(record)))
      await this.#options.links.deleteLink(record.bridge)
      this.#networks.delete(record.id)
      await this.#openFirewall()
      await this.#saveNetworks()
      this.#publish('destroy', record)
      return shown(record)
    })
  }

  openSandbox(containerId: string, options: { readonly sysctls?: Readonly<Record<string, string>> } = {}): Promise<Sandbox> {
    if (!/^[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127}$/.test(containerId)) throw new Fault('invalidArgument', `'${containerId}' is no container id`)
    return this.#serial.run(containerId, async () => {
      const existing = this.#sandboxes.get(containerId)
      if (existing !== undefined) return { containerId, netnsPath: existing.netnsPath }
      const netnsPath = join(this.#namespaceFolder(), containerId.slice(0, 24))
      const sandbox: SandboxRecord = { containerId, netnsPath, endpoints: [] }
      await this.#records.saveSandbox(sandbox)
      try {
        await this.#options.namespaces.create({ pinAt: { net: netnsPath }, sysctls: options.sysctls })
      } catch (error) {
        await this.#records.removeSandbox(containerId)
        throw error
      }
      this.#sandboxes.set(containerId, sandbox)
      return { containerId, netnsPath }
    })
  }

  connect(containerId: string, networkId: NetworkId, spec: EndpointSpec): Promise<Endpoint> {
    return this.#serial.run(containerId, async () => {
      const sandbox = this.#sandboxes.get(containerId)
      if (sandbox === undefined) throw new Fault('notFound', `container ${containerId} has no network sandbox`)
      const { record, leases } = this.#find(networkId)
      if (leases === undefined) throw new Fault('invalidArgument', `network ${record.name} takes no endpoints: its driver is ${record.driver}`)
      if (spec.ipv6Address !== undefined && spec.ipv6Address !== '') throw new Fault('invalidArgument', 'IPv6 is not supported yet: leave ipv6Address out')
      if (sandbox.endpoints.some((endpoint) => endpoint.networkId === record.id)) {
        throw new Fault('alreadyExists', `endpoint for container ${containerId} already exists in network ${record.name}`)
      }
      const address = leases.take(spec.ipv4Address)
      let ports: readonly PortBinding[] = []
      try {
        ports = await this.#ports.reserve(withDefaultHostAddress(spec.ports ?? [], record))
        const endpoint = this.#endpoint(sandbox, record, leases, address, spec, ports)
        await this.#attach({ ...sandbox, endpoints: [...sandbox.endpoints, endpoint] }, endpoint, record)
        return shownEndpoint(endpoint)
      } catch (error) {
        leases.release(formatAddress(address))
        this.#ports.release(ports)
        throw error
      }
    })
  }

  #endpoint(sandbox: SandboxRecord, record: NetworkRecord, leases: AddressLeases, address: number, spec: EndpointSpec, ports: readonly PortBinding[]): EndpointRecord {
    const id = randomHex(this.#options.random, 64)
    const used = new Set(sandbox.endpoints.map(({ interfaceName }) => interfaceName))
    let number = 0
    while (used.has(`eth${number}`)) number += 1
    return {
      id,
      networkId: record.id,
      networkName: record.name,
      containerId: sandbox.containerId,
      aliases: spec.aliases ?? [],
      macAddress: spec.macAddress ?? macOfAddress(address),
      ipv4Address: formatAddress(address),
      ipv4PrefixLength: leases.subnet.length,
      gateway: record.internal ? '' : formatAddress(leases.gateway),
      ipv6Address: '',
      ipv6PrefixLength: 0,
      ipv6Gateway: '',
      ports,
      hostInterface: `be${id.slice(0, 12)}`,
      interfaceName: `eth${number}`,
    }
  }

  async #attach(sandbox: SandboxRecord, endpoint: EndpointRecord, record: NetworkRecord): Promise<void> {
    const { links, table } = this.#options
    const before = present(this.#sandboxes.get(sandbox.containerId), 'the sandbox that is being connected')
    const hasRoute = before.endpoints.some(({ gateway }) => gateway !== '')
    this.#sandboxes.set(sandbox.containerId, sandbox)
    try {
      await this.#records.saveSandbox(sandbox)
      await links.attach({
        bridge: record.bridge,
        hostName: endpoint.hostInterface,
        netns: sandbox.netnsPath,
        ifName: endpoint.interfaceName,
        mac: endpoint.macAddress,
        mtu: mtuOf(record),
        addresses: [`${endpoint.ipv4Address}/${endpoint.ipv4PrefixLength}`],
        gateways: endpoint.gateway === '' || hasRoute ? [] : [endpoint.gateway],
        // Where br_netfilter is loaded, a container reaches its own published port only so.
        hairpin: true,
        isolated: record.options[bridgeOption.betweenContainers] === 'false',
      })
      if (endpoint.ports.length > 0) await this.#apply(portScript('add', table, publishedPorts(endpoint)))
      await this.#redirectDns(sandbox)
    } catch (error) {
      await links.deleteLink(endpoint.hostInterface)
      this.#sandboxes.set(sandbox.containerId, before)
      await this.#records.saveSandbox(before)
      throw error
    }
  }

  disconnect(containerId: string, networkId: NetworkId): Promise<void> {
    return this.#serial.run(containerId, async () => {
      const { record } = this.#find(networkId)
      const sandbox = this.#sandboxes.get(containerId)
      const endpoint = sandbox?.endpoints.find((each) => each.networkId === record.id)
      if (sandbox === undefined || endpoint === undefined) throw new Fault('notFound', `container ${containerId} is not connected to the network ${record.name}`)
      const kept = { ...sandbox, endpoints: sandbox.endpoints.filter((each) => each !== endpoint) }
      await this.#detach(endpoint)
      this.#sandboxes.set(containerId, kept)
      await this.#records.saveSandbox(kept)
      await this.#redirectDns(kept)
      const heir = kept.endpoints.find(({ gateway }) => gateway !== '')
      if (endpoint.gateway !== '' && heir !== undefined) {
        await this.#options.links.route({ destination: 'default', gateway: heir.gateway, device: heir.interfaceName }, { netns: sandbox.netnsPath })
      }
    })
  }

  /** Takes the endpoint from the kernel and frees its lease and ports. */
  async #detach(endpoint: EndpointRecord): Promise<void> {
    await this.#unpublish(endpoint)
    await this.#options.links.deleteLink(endpoint.hostInterface)
    this.#release(endpoint)
  }

  async #unpublish(endpoint: EndpointRecord): Promise<void> {
    if (endpoint.ports.length > 0) await this.#apply(portScript('delete', this.#options.table, publishedPorts(endpoint)))
  }

  #release(endpoint: EndpointRecord): void {
    this.#networks.get(endpoint.networkId)?.leases?.release(endpoint.ipv4Address)
    this.#ports.release(endpoint.ports)
  }

  /** A process that still stands in a closed sandbox keeps its namespace alive, but not its place in our networks. */
  #expectGone(interfaces: readonly string[]): void {
    if (interfaces.length === 0) return
    if (this.#leaving.size === 0) this.#options.clock.after(lingerMs, () => void this.#deleteLingering(), { background: true })
    for (const name of interfaces) this.#leaving.add(name)
  }

  async #deleteLingering(): Promise<void> {
    const leaving = new Set(this.#leaving)
    this.#leaving.clear()
    try {
      for (const { name } of await this.#options.links.list()) if (leaving.has(name)) await this.#options.links.deleteLink(name)
    } catch (error) {
      this.#options.logger.warn({ error: String(error) }, 'an interface of a closed sandbox could not be deleted')
    }
  }

  closeSandbox(containerId: string): Promise<void> {
    return this.#serial.run(containerId, async () => {
      const sandbox = this.#sandboxes.get(containerId)
      if (sandbox === undefined) return
      for (const endpoint of sandbox.endpoints) await this.#unpublish(endpoint)
      // The kernel takes the interfaces along with the namespace, many at a time. Deleting one by name would hold its network lock for 30 ms.
      await this.#options.namespaces.remove(sandbox.netnsPath)
      for (const endpoint of sandbox.endpoints) this.#release(endpoint)
      this.#expectGone(sandbox.endpoints.map(({ hostInterface }) => hostInterface))
      this.#sandboxes.delete(containerId)
      await this.#records.removeSandbox(containerId)
    })
  }

  async resolver(containerId: string): Promise<ResolverSettings> {
    const sandbox = this.#sandboxes.get(containerId)
    if (sandbox === undefined) throw new Fault('notFound', `container ${containerId} has no network sandbox`)
    const host = await hostResolver()
    if (this.#nameServerOf(sandbox) !== undefined) return { nameservers: ['127.0.0.11'], search: host.search, options: [...host.options.filter((option) => !option.startsWith('ndots:')), 'ndots:0'] }
    // A server on the host's loopback is another machine's inside a container.
    return { ...host, nameservers: host.nameservers.filter((address) => !isLoopback(address)) }
  }

  // ---- names -------------------------------------------------------------------------------------------------------

  async #openNames(record: NetworkRecord): Promise<void> {
    const leases = present(this.#networks.get(record.id)?.leases, 'the leases of a bridge network')
    const server = await NameServer.open({
      address: formatAddress(leases.gateway),
      visible: (address) => this.#visibleFrom(record.id, address),
      upstreams: async () => (record.internal ? [] : (await hostResolver()).nameservers),
      clock: this.#options.clock,
      logger: this.#options.logger,
    })
    this.#nameServers.set(record.id, server)
  }

  async #closeNames(id: NetworkId): Promise<void> {
    await this.#nameServers.get(id)?.[Symbol.asyncDispose]()
    this.#nameServers.delete(id)
  }

  /** The endpoints on all networks with names of the container that has `address` on the network. */
  #visibleFrom(networkId: NetworkId, address: string): readonly NamedEndpoint[] | undefined {
    const sandbox = [...this.#sandboxes.values()].find(({ endpoints }) => endpoints.some((endpoint) => endpoint.networkId === networkId && endpoint.ipv4Address === address))
    return sandbox?.endpoints.filter((endpoint) => this.#nameServers.has(endpoint.networkId)).flatMap((endpoint) => this.#endpointRecords(endpoint.networkId))
  }

  #nameServerOf(sandbox: SandboxRecord): { readonly server: NameServer; readonly endpoint: EndpointRecord } | undefined {
    for (const endpoint of sandbox.endpoints) {
      const server = this.#nameServers.get(endpoint.networkId)
      if (server !== undefined) return { server, endpoint }
    }
    return undefined
  }

  /** Makes 127.0.0.11:53 inside the sandbox the name server of its first network with names. */
  async #redirectDns(sandbox: SandboxRecord): Promise<void> {
    const found = this.#nameServerOf(sandbox)
    if (found === undefined) return
    const { server, endpoint } = found
    const leases = present(this.#networks.get(endpoint.networkId)?.leases, 'the leases of a network with names')
    const where = { netns: sandbox.netnsPath }
    await this.#options.links.setSysctl(`net/ipv4/conf/${endpoint.interfaceName}/route_localnet`, '1', where)
    await this.#options.nftables.apply(redirectDnsScript({ address: formatAddress(leases.gateway), port: server.port }), where)
  }

  async recover(containerIds: readonly string[]): Promise<readonly Endpoint[]> {
    const alive = new Set(containerIds)
    const kept: Endpoint[] = []
    for (const sandbox of [...this.#sandboxes.values()]) {
      if (alive.has(sandbox.containerId) && (await this.#options.namespaces.pinned(sandbox.netnsPath))) {
        kept.push(...sandbox.endpoints.map(shownEndpoint))
        await this.#renewNames(sandbox)
      } else {
        this.#options.logger.info({ containerId: sandbox.containerId }, 'sweeping a network sandbox without a container')
        await this.closeSandbox(sandbox.containerId)
      }
    }
    return kept
  }

  /** After a restart of ours the name servers listen on other ports. What one container's namespace has become keeps no other from its names. */
  async #renewNames(sandbox: SandboxRecord): Promise<void> {
    try {
      await this.#redirectDns(sandbox)
    } catch (error) {
      this.#options.logger.error({ container: sandbox.containerId, error: String(error) }, 'could not give a container its name server back')
    }
  }

  /** Removes every interface, namespace and rule of this instance. Definitions stay: the next `open` makes the bridges again. */
  async tearDown(): Promise<void> {
    for (const containerId of [...this.#sandboxes.keys()]) await this.closeSandbox(containerId)
    await this.#deleteLingering()
    await this[Symbol.asyncDispose]()
    await this.#openFirewall([])
    for (const { record } of this.#networks.values()) if (record.driver === 'bridge') await this.#options.links.deleteLink(record.bridge)
    const { table } = this.#options
    await this.#options.nftables.apply(`add table ip ${table}\ndelete table ip ${table}`)
  }

  /** Stops the name servers. Containers, interfaces and rules stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#nameServers.keys()]) await this.#closeNames(id)
  }

  async #ensureBridge(record: NetworkRecord): Promise<void> {
    const pool = record.ipam.config[0]
    const leases = present(this.#networks.get(record.id)?.leases, 'the leases of a bridge network')
    const gateway = pool?.gateway ?? formatAddress(leases.gateway)
    const { links } = this.#options
    await links.ensureBridge({ name: record.bridge, addresses: [`${gateway}/${leases.subnet.length}`], mtu: mtuOf(record), mac: macOfAddress(leases.gateway) })
    await links.setSysctl(`net/ipv4/conf/${record.bridge}/route_localnet`, '1')
  }

  /** Somebody may have flushed the ruleset (a firewall's reload): then the table is made anew from what we know. */
  async #apply(script: string): Promise<void> {
    try {
      await this.#options.nftables.apply(script)
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      this.#options.logger.warn({ table: this.#options.table }, 'the nftables table was gone: making it anew')
      await this.#applyTable()
      await this.#options.nftables.apply(script)
    }
  }

  async #openFirewall(bridges = [...this.#networks.values()].flatMap(({ record }) => (record.driver === 'bridge' ? record.bridge : []))): Promise<void> {
    await this.#firewall?.letThrough(bridges)
  }

  async #applyTable(): Promise<void> {
    const networks = [...this.#networks.values()].flatMap(({ record }) => (record.driver === 'bridge' ? filtered(record) : []))
    const ports = [...this.#sandboxes.values()].flatMap(({ endpoints }) => endpoints.flatMap(publishedPorts))
    await this.#options.nftables.apply(tableScript(this.#options.table, networks, ports))
  }

  async #saveNetworks(): Promise<void> {
    await this.#records.saveNetworks([...this.#networks.values()].map(({ record }) => record))
  }

  /** Who connects is told by the containers room, which knows their names. */
  #publish(action: 'create' | 'destroy', record: NetworkRecord): void {
    this.#options.events?.publish({ type: 'network', action, actor: { id: record.id, attributes: { name: record.name, type: record.driver } } })
  }

  #namespaceFolder(): string {
    return join(this.#options.runDir, 'netns')
  }
}

function leasesOf(record: NetworkRecord): AddressLeases | undefined {
  const pool = record.ipam.config[0]
  return record.driver === 'bridge' && pool !== undefined ? new AddressLeases(pool) : undefined
}

function poolWithGateway(pool: IpamPool): IpamPool {
  return { ...pool, gateway: formatAddress(new AddressLeases(pool).gateway) }
}

function isPredefined(record: NetworkRecord): boolean {
  return ['bridge', 'host', 'none'].includes(record.name)
}

/** As with Docker, the default bridge knows no names. */
function hasNames(record: NetworkRecord): boolean {
  return record.driver === 'bridge' && !isPredefined(record)
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1'
}

function mtuOf(record: NetworkRecord): number | undefined {
  const text = record.options[bridgeOption.mtu]
  if (text === undefined) return undefined
  const mtu = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (mtu < 68 || mtu > 65535) throw new Fault('invalidArgument', `${bridgeOption.mtu}=${text} is no MTU: expected 68 to 65535`)
  return mtu
}

function filtered(record: NetworkRecord): FilteredNetwork {
  const subnet: Prefix = requirePrefix(record.ipam.config[0]?.subnet ?? '', 'subnet')
  return { bridge: record.bridge, subnet: formatPrefix(subnet), internal: record.internal, masquerade: record.options[bridgeOption.masquerade] !== 'false' }
}

function publishedPorts(endpoint: EndpointRecord): PublishedPort[] {
  return endpoint.ports.map((port) => ({ ...port, address: endpoint.ipv4Address }))
}

function withDefaultHostAddress(ports: readonly PortBinding[], record: NetworkRecord): readonly PortBinding[] {
  const hostIp = record.options[bridgeOption.hostAddress] ?? '0.0.0.0'
  return ports.map((port) => (port.hostIp === '' ? { ...port, hostIp } : port))
}

function shown({ bridge: _, createdAtNs, ...network }: NetworkRecord): Network {
  return { ...network, createdAtNs: BigInt(createdAtNs) }
}

function shownEndpoint({ hostInterface: _, interfaceName: __, ...endpoint }: EndpointRecord): Endpoint {
  return endpoint
}
