/**
 * The engine's networks: definitions, address leases, sandboxes, published ports. This file owns the state and the order of
 * effects; `definition.ts`, `ipam.ts` and `ports.ts` decide, `drivers.ts` makes interfaces, `packet-filter.ts` and
 * `sandbox-names.ts` keep rules and DNS, `records.ts` remembers.
 *
 * Order of effects: what exists in the kernel is recorded first, what is forgotten is removed from the kernel first. A crash in
 * between leaves a record too many, which `recover` sweeps, and never an interface that nobody knows.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { present } from '#base/assert.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Clock } from '#base/clock.ts'
import { parsePrefix, requireIpPrefix, type Family, type Prefix } from '#base/ip.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import { KeyedSerial } from '#base/task.ts'
import type { Links } from '#linux/contract/links.ts'
import type { Namespaces, NamespacesRequest } from '#linux/contract/namespaces.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { Endpoint, EndpointSpec, Network, NetworkId, Networks, NetworkSpec, PortBinding, Sandbox, SandboxOptions } from '../contract/networks.ts'
import { configured, checkUnused } from './config-network.ts'
import { checkName, checkPools, checkSpec, choosePools, flagOf, option, predefinedNames, recordOf, withGateway } from './definition.ts'
import { bridgeDriver, macvlanDriver, type NetworkDriver } from './drivers.ts'
import { endpointRecord, gatewayOf, routeHolder, shownEndpoint } from './endpoint.ts'
import { HostFirewall } from './host-firewall.ts'
import { NetworkLeases, type EndpointAddresses } from './ipam.ts'
import type { NamedEndpoint } from './names.ts'
import { PacketFilter } from './packet-filter.ts'
import { HostPorts, type PortProbe } from './ports.ts'
import { hostResolver, type ResolverSettings } from './resolver.ts'
import { NetworkRecords, type EndpointRecord, type NetworkRecord, type SandboxRecord } from './records.ts'
import { familyOf, type FilteredNetwork, type PublishedPort } from './rules.ts'
import { SandboxNames } from './sandbox-names.ts'

export interface NetworksOptions {
  readonly links: Links
  readonly namespaces: Namespaces
  readonly nftables: Nftables
  /** For name servers that stand in the containers' namespaces. */
  readonly sockets: Pick<Poller, 'bindBoth'>
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

/** When a closed sandbox's interface is looked for again. */
const lingerMs = 2000

interface LiveNetwork {
  readonly record: NetworkRecord
  /** Undefined for host and none. */
  readonly leases: NetworkLeases | undefined
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
  readonly #filter: PacketFilter
  readonly #names: SandboxNames
  readonly #drivers: Readonly<Record<'bridge' | 'macvlan', NetworkDriver>>
  readonly #networks = new Map<NetworkId, LiveNetwork>()
  readonly #sandboxes = new Map<string, SandboxRecord>()
  /** Networks that somebody is about to join, once for each. */
  readonly #joining: NetworkId[] = []
  readonly #serial = new KeyedSerial<string>()
  /** Host ends of closed sandboxes, which should vanish by themselves. */
  readonly #leaving = new Set<string>()

  constructor(options: NetworksOptions) {
    const { nftables, table, logger, links, sockets, clock, processes } = options
    this.#options = options
    this.#records = new NetworkRecords(options.stateDir, options.runDir)
    this.#ports = new HostPorts(options.portProbe)
    this.#drivers = { bridge: bridgeDriver(links), macvlan: macvlanDriver(links) }
    this.#filter = new PacketFilter({
      nftables, table, logger, clock,
      firewall: processes === undefined ? undefined : new HostFirewall(processes, table),
      networks: () => [...this.#networks.values()].flatMap(({ record }) => filtered(record)),
      ports: () => [...this.#sandboxes.values()].flatMap(({ endpoints }) => endpoints.flatMap(publishedPorts)),
    })
    this.#names = new SandboxNames({ nftables, sockets, clock, logger, visible: (id) => this.#visibleFrom(id), upstreams: (id) => this.#upstreamsOf(id) })
  }

  /** Reads the records and brings interfaces and rules to what they say; containers that run are not touched. */
  async open(): Promise<void> {
    await mkdir(this.#namespaceFolder(), { recursive: true, mode: 0o711 })
    const stored = await this.#records.open()
    for (const record of stored.networks) this.#add(record)
    for (const sandbox of stored.sandboxes) {
      this.#sandboxes.set(sandbox.containerId, sandbox)
      for (const endpoint of sandbox.endpoints) {
        this.#networks.get(endpoint.networkId)?.leases?.restore(endpoint)
        this.#ports.restore(endpoint.ports)
      }
    }
    await this.#ensurePredefined()
    await this.#options.links.setSysctl('net.ipv4.ip_forward', '1')
    for (const live of this.#networks.values()) await this.#ensureDevice(live)
    await this.#filter.open()
  }

  /** After a restart of the machine a parent may be gone: then this network's containers do not start, all others do. */
  async #ensureDevice({ record, leases }: LiveNetwork): Promise<void> {
    if (leases === undefined) return
    if (record.enableIPv6) await forwardIPv6(this.#options.links)
    try {
      await this.#driverOf(record).ensure(record, leases)
    } catch (error) {
      if (record.driver !== 'macvlan') throw error
      this.#options.logger.warn({ network: record.name, error: String(error) }, 'the parent interface of a macvlan network is not there')
    }
  }

  async #ensurePredefined(): Promise<void> {
    const before = this.#networks.size
    const { defaultBridge } = this.#options
    const named = new Map([...this.#networks.values()].map(({ record }) => [record.name, record]))
    const options = {
      'com.docker.network.bridge.default_bridge': 'true',
      [option.betweenContainers]: 'true',
      [option.masquerade]: 'true',
      [option.hostAddress]: '0.0.0.0',
      [option.name]: defaultBridge.name,
      [option.mtu]: '1500',
    }
    const bridge = named.get('bridge')
    if (bridge === undefined) this.#define({ name: 'bridge', options }, 'bridge', defaultBridge.name, [defaultBridge.subnet])
    // Earlier versions kept none.
    else if (Object.keys(bridge.options).length === 0) this.#add({ ...bridge, options, madeDevice: true })
    if (!named.has('host')) this.#define({ name: 'host' }, 'host', '', [])
    if (!named.has('none')) this.#define({ name: 'none' }, 'null', '', [])
    if (before < this.#networks.size) await this.#saveNetworks()
  }

  #define(spec: NetworkSpec, driver: Network['driver'], device: string, subnets: readonly string[]): void {
    const { random, clock } = this.#options
    this.#add({ ...recordOf(spec, { id: randomHex(random, 64), driver, device, pools: subnets.map((subnet) => withGateway({ subnet })), createdAtNs: clock.nowNs() }), madeDevice: true })
  }

  async create(wanted: NetworkSpec): Promise<Network> {
    checkName(wanted)
    checkPools(wanted)
    return this.#serial.run('networks', async () => {
      const others = [...this.#networks.values()].map(({ record }) => record)
      if (others.some(({ name }) => name === wanted.name)) throw new Fault('alreadyExists', `network with name ${wanted.name} already exists`)
      const spec = configured(wanted, others)
      if (spec.configOnly === true) return this.#createConfigOnly(spec)
      const driver = checkSpec(spec)
      const { random, clock, addressPools } = this.#options
      const id = randomHex(random, 64)
      const device = this.#drivers[driver].device(id, { options: spec.options ?? {}, internal: spec.internal ?? false }, others)
      if (driver === 'bridge' && others.some(({ bridge }) => bridge === device)) throw new Fault('permissionDenied', `cannot create network ${id} (${device}): conflicts with network ${others.find(({ bridge }) => bridge === device)?.id ?? ''} (${device}): networks have same bridge name`)
      const pools = choosePools(spec, { taken: this.#subnets(), onHost: await this.#hostPrefixes(), addressPools, random })
      const record = recordOf(spec, { id, driver, pools, createdAtNs: clock.nowNs(), device })
      const installed = this.#add(driver === 'macvlan' && record.internal ? { ...record, options: { ...record.options, [option.parent]: device } } : record)
      await this.#install(installed)
      this.#publish('create', record)
      return shown(installed.record)
    })
  }

  async #createConfigOnly(spec: NetworkSpec): Promise<Network> {
    const { random, clock } = this.#options
    const { record } = this.#add(recordOf(spec, { id: randomHex(random, 64), driver: 'null', pools: spec.ipam?.config ?? [], createdAtNs: clock.nowNs(), device: '' }))
    await this.#saveNetworks()
    this.#publish('create', record)
    return shown(record)
  }

  /** All or nothing. */
  async #install(live: LiveNetwork): Promise<void> {
    const { record } = live
    try {
      await this.#saveNetworks()
      if (record.enableIPv6) await forwardIPv6(this.#options.links)
      const madeDevice = await this.#driverOf(record).ensure(record, present(live.leases, 'the leases of a network with endpoints'))
      if (madeDevice) {
        this.#networks.set(record.id, { ...live, record: { ...record, madeDevice } })
        await this.#saveNetworks()
      }
      for (const network of filtered(record)) await this.#filter.add(network)
    } catch (error) {
      const { record: found } = this.#networks.get(record.id) ?? live
      this.#networks.delete(record.id)
      await this.#driverOf(record).remove(found)
      await this.#saveNetworks()
      throw error
    }
  }

  #add(record: NetworkRecord): LiveNetwork {
    const live = { record, leases: record.ipam.config.length === 0 || record.configOnly === true ? undefined : new NetworkLeases(record.ipam.config) }
    this.#networks.set(record.id, live)
    return live
  }

  #driverOf({ name, driver }: NetworkRecord): NetworkDriver {
    if (driver === 'host' || driver === 'null') throw new Fault('invalidArgument', `network ${name} takes no endpoints: its driver is ${driver}`)
    return this.#drivers[driver]
  }

  #subnets(): Prefix[] {
    return [...this.#networks.values()].flatMap(({ record, leases }) => (leases === undefined ? [] : record.ipam.config).map(({ subnet }) => requireIpPrefix(subnet, 'subnet')))
  }

  async #hostPrefixes(): Promise<Prefix[]> {
    return (await this.#options.links.list()).flatMap(({ addresses }) => addresses.flatMap((address) => parsePrefix(address) ?? []))
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
      if (predefinedNames.includes(record.name)) throw new Fault('permissionDenied', `${record.name} is a pre-defined network and cannot be removed`)
      if (this.#joining.includes(record.id) || this.#endpointRecords(record.id).length > 0) {
        throw new Fault('permissionDenied', `error while removing network: network ${record.name} id ${record.id} has active endpoints`)
      }
      checkUnused(record, [...this.#networks.values()].map((live) => live.record))
      for (const network of filtered(record)) await this.#filter.remove(network)
      if (record.configOnly !== true) await this.#driverOf(record).remove(record)
      this.#networks.delete(record.id)
      await this.#filter.openFirewall()
      await this.#saveNetworks()
      // As dockerd, which tells of a configuration's coming alone.
      if (record.configOnly !== true) this.#publish('destroy', record)
      return shown(record)
    })
  }

  openSandbox(containerId: string, options: SandboxOptions = {}): Promise<Sandbox> {
    if (!/^[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127}$/.test(containerId)) throw new Fault('invalidArgument', `'${containerId}' is no container id`)
    return this.#serial.run(containerId, async () => {
      const existing = this.#sandboxes.get(containerId)
      if (existing !== undefined) return shownSandbox(existing)
      const netnsPath = join(this.#namespaceFolder(), containerId.slice(0, 24))
      const owner = ownerOf(options, `${netnsPath}.user`)
      const sandbox: SandboxRecord = { containerId, netnsPath, ...(owner === undefined ? {} : 'path' in owner ? { usernsPath: owner.path } : { usernsPath: owner.pinAt, ownsUserns: true }), ...(options.dnsServers === undefined || options.dnsServers.length === 0 ? {} : { dnsServers: options.dnsServers }), endpoints: [] }
      await this.#records.saveSandbox(sandbox)
      try {
        await this.#options.namespaces.create({ pinAt: { net: netnsPath }, ...(owner === undefined ? {} : { owner }), sysctls: options.sysctls })
      } catch (error) {
        await this.#records.removeSandbox(containerId)
        throw error
      }
      this.#sandboxes.set(containerId, sandbox)
      return shownSandbox(sandbox)
    })
  }

  connect(containerId: string, networkId: NetworkId, spec: EndpointSpec): Promise<Endpoint> {
    return this.#serial.run(containerId, async () => {
      const sandbox = this.#sandboxes.get(containerId)
      if (sandbox === undefined) throw new Fault('notFound', `container ${containerId} has no network sandbox`)
      const { record, leases } = this.#find(networkId)
      if (record.configOnly === true) throw new Fault('permissionDenied', 'cannot create endpoint on configuration-only network')
      if (leases === undefined) throw new Fault('invalidArgument', `network ${record.name} takes no endpoints: its driver is ${record.driver}`)
      if (sandbox.endpoints.some((endpoint) => endpoint.networkId === record.id)) {
        throw new Fault('alreadyExists', `endpoint for container ${containerId} already exists in network ${record.name}`)
      }
      this.#joining.push(record.id)
      try {
        return shownEndpoint(await this.#join(sandbox, { record, leases }, spec))
      } finally {
        this.#joining.splice(this.#joining.indexOf(record.id), 1)
      }
    })
  }

  async #join(sandbox: SandboxRecord, { record, leases }: { readonly record: NetworkRecord; readonly leases: NetworkLeases }, spec: EndpointSpec): Promise<EndpointRecord> {
    const id = randomHex(this.#options.random, 64)
    const addresses = leases.take(spec)
    let ports: readonly PortBinding[] = []
    try {
      ports = await this.#reserve(record, addresses, spec).catch((error: unknown) => {
        throw error instanceof Fault ? new Fault(error.code, `driver failed programming external connectivity on endpoint ${spec.containerName ?? sandbox.containerId} (${id}): ${error.message}`, { cause: error, details: error.details }) : error
      })
      const endpoint = endpointRecord({ id, sandbox, record, leases, addresses, spec, ports })
      await this.#attach(sandbox, endpoint, { record, sysctls: spec.driverOptions?.['com.docker.network.endpoint.sysctls'] ?? '' })
      return endpoint
    } catch (error) {
      leases.release(addresses)
      this.#ports.release(ports)
      throw error
    }
  }

  /** Nobody comes in to an internal network from the host's ports, nor to a macvlan, which has addresses of the world's. */
  async #reserve(record: NetworkRecord, { ipv4Address, ipv6Address }: EndpointAddresses, { ports = [] }: EndpointSpec): Promise<readonly PortBinding[]> {
    if (record.internal || record.driver !== 'bridge') return []
    const families: readonly Family[] = [...(ipv4Address === '' ? [] : [4 as const]), ...(ipv6Address === '' ? [] : [6 as const])]
    const hostAddress = record.options[option.hostAddress]
    const preset = hostAddress === undefined || hostAddress === '0.0.0.0' ? '' : hostAddress
    return this.#ports.reserve(ports.map((port) => (port.hostIp === '' ? { ...port, hostIp: preset } : port)), families)
  }

  async #attach(before: SandboxRecord, endpoint: EndpointRecord, { record, sysctls }: { readonly record: NetworkRecord; readonly sysctls: string }): Promise<void> {
    const sandbox: SandboxRecord = { ...before, endpoints: [...before.endpoints, endpoint] }
    const driver = this.#driverOf(record)
    this.#sandboxes.set(sandbox.containerId, sandbox)
    try {
      await this.#records.saveSandbox(sandbox)
      const gateways = families.flatMap((family) => (routeHolder(sandbox.endpoints, family) === endpoint ? [gatewayOf(endpoint, family)] : []))
      await driver.attach(record, endpoint, { netns: sandbox.netnsPath, gateways })
      for (const [name, value] of interfaceSysctls(sysctls, endpoint.interfaceName)) await this.#options.links.setSysctl(name, value, { netns: sandbox.netnsPath })
      await this.#filter.publish(publishedPorts(endpoint))
      await this.#followNames(sandbox)
    } catch (error) {
      await driver.detach(endpoint, sandbox.netnsPath)
      this.#sandboxes.set(sandbox.containerId, before)
      await this.#records.saveSandbox(before)
      await this.#followNames(before)
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
      await this.#filter.unpublish(publishedPorts(endpoint))
      await this.#driverOf(record).detach(endpoint, sandbox.netnsPath)
      this.#release(endpoint)
      this.#sandboxes.set(containerId, kept)
      await this.#records.saveSandbox(kept)
      await this.#followNames(kept)
      for (const family of families) {
        const heir = routeHolder(kept.endpoints, family)
        if (heir === undefined || routeHolder(sandbox.endpoints, family) !== endpoint) continue
        await this.#options.links.route({ destination: 'default', gateway: gatewayOf(heir, family), device: heir.interfaceName }, { netns: sandbox.netnsPath })
      }
    })
  }

  #release(endpoint: EndpointRecord): void {
    this.#networks.get(endpoint.networkId)?.leases?.release(endpoint)
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
      await this.#filter.unpublish(sandbox.endpoints.flatMap(publishedPorts))
      // A socket of ours in the namespace would keep it.
      await this.#names.close(containerId)
      // The kernel takes the interfaces along with the namespace, many at a time. Deleting one by name would hold its network lock for 30 ms.
      await this.#options.namespaces.remove(sandbox.netnsPath)
      if (sandbox.ownsUserns === true && sandbox.usernsPath !== undefined) await this.#options.namespaces.remove(sandbox.usernsPath)
      for (const endpoint of sandbox.endpoints) this.#release(endpoint)
      this.#expectGone(sandbox.endpoints.flatMap(({ hostInterface }) => hostInterface || []))
      this.#sandboxes.delete(containerId)
      await this.#records.removeSandbox(containerId)
    })
  }

  async resolver(containerId: string): Promise<ResolverSettings> {
    const sandbox = this.#sandboxes.get(containerId)
    if (sandbox === undefined) throw new Fault('notFound', `container ${containerId} has no network sandbox`)
    const host = await hostResolver()
    if (this.#isNamed(sandbox)) return { nameservers: ['127.0.0.11'], search: host.search, options: [...host.options.filter((option) => !option.startsWith('ndots:')), 'ndots:0'] }
    // A server on the host's loopback is another machine's inside a container.
    return { ...host, nameservers: host.nameservers.filter((address) => !isLoopback(address)) }
  }

  // ---- names -------------------------------------------------------------------------------------------------------

  /** As with Docker, the default bridge knows no names. */
  #isNamed({ endpoints }: SandboxRecord): boolean {
    return endpoints.some(({ networkName }) => !predefinedNames.includes(networkName))
  }

  async #followNames(sandbox: SandboxRecord): Promise<void> {
    if (this.#isNamed(sandbox)) await this.#names.open(sandbox.containerId, sandbox.netnsPath)
    else await this.#names.close(sandbox.containerId)
  }

  /** The endpoints on all networks with names that a container is on, under its own links' aliases, too. */
  #visibleFrom(containerId: string): readonly NamedEndpoint[] {
    const own = (this.#sandboxes.get(containerId)?.endpoints ?? []).filter(({ networkName }) => !predefinedNames.includes(networkName))
    return own.flatMap(({ networkId, links = [] }) =>
      this.#endpointRecords(networkId).map((endpoint) => {
        const linked = links.map((link) => link.split(':')).filter(([name = '']) => endpoint.aliases.includes(name) || (name.length >= 12 && endpoint.containerId.startsWith(name)))
        return linked.length === 0 ? endpoint : { ...endpoint, aliases: [...endpoint.aliases, ...linked.flatMap(([name = '', alias = name]) => alias)] }
      }),
    )
  }

  async #upstreamsOf(containerId: string): Promise<readonly string[]> {
    const sandbox = this.#sandboxes.get(containerId)
    const leadsOut = sandbox?.endpoints.some(({ networkId }) => this.#networks.get(networkId)?.record.internal === false) ?? false
    if (sandbox === undefined || !leadsOut) return []
    return sandbox.dnsServers ?? (await hostResolver()).nameservers
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

  /** After a restart of ours its name server is another one. What one container's namespace has become keeps no other from its names. */
  async #renewNames(sandbox: SandboxRecord): Promise<void> {
    try {
      await this.#followNames(sandbox)
    } catch (error) {
      this.#options.logger.error({ container: sandbox.containerId, error: String(error) }, 'could not give a container its name server back')
    }
  }

  /** Removes every interface, namespace and rule of this instance. Definitions stay: the next `open` makes the bridges again. */
  async tearDown(): Promise<void> {
    for (const containerId of [...this.#sandboxes.keys()]) await this.closeSandbox(containerId)
    await this.#deleteLingering()
    await this[Symbol.asyncDispose]()
    for (const { record, leases } of this.#networks.values()) if (leases !== undefined) await this.#driverOf(record).remove(record)
    await this.#filter.close()
  }

  /** Stops the name servers. Containers, interfaces and rules stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#filter.pause()
    await this.#names[Symbol.asyncDispose]()
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

const families = [4, 6] as const

function shownSandbox({ containerId, netnsPath, usernsPath }: SandboxRecord): Sandbox {
  return { containerId, netnsPath, ...(usernsPath === undefined ? {} : { usernsPath }) }
}

function ownerOf({ owner }: SandboxOptions, pinAt: string): NamespacesRequest['owner'] {
  return owner === undefined || 'path' in owner ? owner : { ...owner, pinAt }
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1'
}

/** Nothing for a network that the packet filter does not know. */
function filtered(record: NetworkRecord): FilteredNetwork[] {
  if (record.driver !== 'bridge') return []
  const subnets = record.ipam.config.map(({ subnet }) => ({ family: familyOf(subnet), subnet }))
  return [{ bridge: record.bridge, subnets, internal: record.internal, masquerade: flagOf(record, option.masquerade, true) }]
}

function publishedPorts({ ports, ipv4Address, ipv6Address }: EndpointRecord): PublishedPort[] {
  return ports.map((port) => ({ ...port, address: familyOf(port.hostIp) === 4 ? ipv4Address : ipv6Address }))
}

/** `net.ipv4.conf.IFNAME.log_martians=1,…`, as Docker's endpoint option has it. */
function interfaceSysctls(text: string, interfaceName: string): [string, string][] {
  return text.split(',').flatMap((line) => {
    if (line === '') return []
    const [, family, group, setting, value] = /^net\.(ipv4|ipv6|mpls)\.(\w+)\.(?:IFNAME|ifname)\.(\w+)=(.*)$/.exec(line) ?? []
    if (family === undefined || group === undefined || setting === undefined || value === undefined) throw new Fault('invalidArgument', `unrecognised network interface sysctl '${line}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`)
    return [[`net/${family}/${group}/${interfaceName}/${setting}`, value]]
  })
}

/** A forwarding host takes no more routes from its router (accept_ra 1) unless it is told to go on (2). */
async function forwardIPv6(links: Links): Promise<void> {
  const folder = '/proc/sys/net/ipv6/conf'
  if ((await readSetting(`${folder}/all/forwarding`)) === '1') return
  for (const name of await readdir(folder)) if (name !== 'all' && name !== 'default' && (await readSetting(`${folder}/${name}/accept_ra`)) === '1') await links.setSysctl(`net/ipv6/conf/${name}/accept_ra`, '2').catch(async (error: unknown) => {
    // An interface that went meanwhile takes no routes.
    if ((await readSetting(`${folder}/${name}/accept_ra`)) !== undefined) throw error
  })
  await links.setSysctl('net/ipv6/conf/default/forwarding', '1')
  await links.setSysctl('net/ipv6/conf/all/forwarding', '1')
}

/** Undefined: there is no such interface any more, or no IPv6 at all. */
async function readSetting(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function shown({ bridge: _, madeDevice: __, createdAtNs, ...network }: NetworkRecord): Network {
  return { ...network, createdAtNs: BigInt(createdAtNs) }
}
