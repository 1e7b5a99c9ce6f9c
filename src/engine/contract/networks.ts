/**
 * `Networks`: named networks that containers join. A container's *sandbox* is a network namespace of its own, pinned by path,
 * which outlives the container's processes and Berth itself; an *endpoint* is one sandbox's place in one network: interface,
 * address, aliases, published ports.
 *
 *     const network = await networks.create({ name: 'shop', driver: 'bridge' })
 *     const sandbox = await networks.openSandbox(containerId, { hostname: 'web-1' })     // before the runtime's create
 *     const endpoint = await networks.connect(containerId, network.id, { aliases: ['web'], ports: [...] })
 *     …                                                                                  // spec joins sandbox.netnsPath
 *     await networks.closeSandbox(containerId)                                            // all endpoints, rules and leases go
 *
 * Networks named `bridge`, `host` and `none` exist from the start and cannot be removed; `host` and `none` have no endpoints with
 * addresses: a container on `host` opens no sandbox, one on `none` opens a sandbox and connects to nothing.
 *
 * Published ports and NAT are nftables rules, one atomic transaction per change; there is no proxy process. Leases and rules are
 * found again after a restart: `recover` is called once with what the engine knows to be alive, and the rest is swept.
 *
 * Faults: `notFound` (`network NAME not found`), `alreadyExists` (`network with name NAME already exists`), `conflict` (endpoints
 * active; a port already allocated), `permissionDenied` (a predefined network; pools that overlap; an address in use), `notFound` and `invalidArgument` (subnet, address, driver),
 * `resourceExhausted` (no free address or port).
 */

import type { IdMapping } from '#linux/contract/id-mapping.ts'

/** 64 hex digits. */
export type NetworkId = string

export type NetworkDriverName = 'bridge' | 'macvlan' | 'host' | 'null'

export interface Network {
  readonly id: NetworkId
  readonly name: string
  readonly driver: NetworkDriverName
  readonly scope: 'local'
  readonly createdAtNs: bigint
  readonly internal: boolean
  readonly attachable: boolean
  /** Absent in records of earlier versions, which had IPv4 always. */
  readonly enableIPv4?: boolean
  readonly enableIPv6: boolean
  /** Gateway and subnets, IPv4 first, e.g. `{ subnet: '172.29.0.0/16', gateway: '172.29.0.1' }`. Empty for host and none. `options` as given. */
  readonly ipam: { readonly driver: string; readonly options: Readonly<Record<string, string>> | null; readonly config: readonly IpamPool[] }
  readonly options: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  /** Holds a configuration for others and takes no endpoints; its driver is shown as `null`. */
  readonly configOnly?: boolean
  /** Name of the network whose configuration this one has. */
  readonly configFrom?: string
}

export interface IpamPool {
  readonly subnet: string
  readonly ipRange?: string
  readonly gateway?: string
  readonly auxiliaryAddresses?: Readonly<Record<string, string>>
}

export interface NetworkSpec {
  readonly name: string
  /** `bridge` unless told otherwise, or `macvlan` (options `parent`, `macvlan_mode`). Docker's others: `notFound`, or `invalidArgument` with the reason. */
  readonly driver?: string
  readonly internal?: boolean
  readonly attachable?: boolean
  /** Without a subnet of the family, one is chosen. */
  readonly enableIPv4?: boolean
  readonly enableIPv6?: boolean
  readonly ipam?: { readonly driver?: string; readonly options?: Readonly<Record<string, string>> | null; readonly config?: readonly IpamPool[] }
  readonly options?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  /** `local` (as none), or `permissionDenied`. */
  readonly scope?: string
  /** Nothing is made and no subnet chosen: a configuration for later networks. */
  readonly configOnly?: boolean
  /** Name of a network with `configOnly`: subnets, options, labels and families are its; naming any here is `permissionDenied`. */
  readonly configFrom?: string
}

export interface NetworkCatalog {
  create(spec: NetworkSpec): Promise<Network>
  /** By name, id or unique id prefix; a full id wins over a name. */
  get(nameOrId: string): Promise<Network>
  list(): Promise<readonly Network[]>
  /** `conflict` while an endpoint is there: `network NAME id ID has active endpoints`. */
  remove(nameOrId: string): Promise<Network>
  /** Who is connected, by container id. */
  endpoints(networkId: NetworkId): Promise<readonly Endpoint[]>
}

export interface Sandbox {
  readonly containerId: string
  /** Pinned network namespace, to be named in the runtime spec. */
  readonly netnsPath: string
  /** The user namespace that owns it, where that is not the machine's. */
  readonly usernsPath?: string
}

export interface PortBinding {
  readonly containerPort: number
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** Empty or `0.0.0.0`: all addresses. */
  readonly hostIp: string
  /** 0: a free one is chosen (and told in the endpoint). */
  readonly hostPort: number
  /** With a range, the first free port of `hostPort..hostPortEnd`. */
  readonly hostPortEnd?: number
}

export interface EndpointSpec {
  /** Names under which others on the network find it (container name and short id are added by the engine). */
  readonly aliases?: readonly string[]
  /** For messages about the endpoint. */
  readonly containerName?: string
  /** `NAME:ALIAS`: whoever has NAME on this network is found by ALIAS, too, by this container alone. */
  readonly links?: readonly string[]
  /** Further addresses of the interface, e.g. `169.254.5.5`. */
  readonly linkLocalAddresses?: readonly string[]
  /** The endpoint with the highest gives the default route; among equals the first that joined. */
  readonly gatewayPriority?: number
  /** A wanted address; `permissionDenied` when taken, `invalidArgument` when outside the subnet. */
  readonly ipv4Address?: string
  readonly ipv6Address?: string
  readonly macAddress?: string
  /** Kept and shown; `com.docker.network.endpoint.ifname` names the interface, `….sysctls` are set on it. */
  readonly driverOptions?: Readonly<Record<string, string>>
  /** By `docker network connect`, not when the container was made. */
  readonly connectedLater?: boolean
  /** `IPAMConfig` as its creator wrote it, to be shown again. */
  readonly ipamConfig?: Readonly<Record<string, unknown>> | null
  /** Published on the host. One transaction: either all are published or the connect fails. */
  readonly ports?: readonly PortBinding[]
}

export interface Endpoint {
  /** 64 hex digits. */
  readonly id: string
  readonly networkId: NetworkId
  readonly networkName: string
  /** Absent in records of earlier versions: `bridge`. */
  readonly driver?: NetworkDriverName
  readonly containerId: string
  readonly aliases: readonly string[]
  readonly links?: readonly string[]
  readonly gatewayPriority?: number
  readonly macAddress: string
  readonly ipv4Address: string
  readonly ipv4PrefixLength: number
  readonly gateway: string
  readonly ipv6Address: string
  readonly ipv6PrefixLength: number
  readonly ipv6Gateway: string
  /** As published: every `hostPort` is set; where no `hostIp` was wanted, one binding of `0.0.0.0` and one of `::` for the families the endpoint has. */
  readonly ports: readonly PortBinding[]
}

export interface SandboxOptions {
  /** `net.*` only. */
  readonly sysctls?: Readonly<Record<string, string>>
  /** Asked instead of the host's. */
  readonly dnsServers?: readonly string[]
  /** Who owns the namespace, and so may change its interfaces: a user namespace of its own, or the one at a path. Absent: the machine's. */
  readonly owner?: { readonly mapping: IdMapping } | { readonly path: string }
}

export interface NetworkSandboxes {
  /** Makes the namespace with `lo` up. Idempotent per container id. */
  openSandbox(containerId: string, options?: SandboxOptions): Promise<Sandbox>
  /** Joins a network: `eth0`, `eth1` … in order of joining. */
  connect(containerId: string, networkId: NetworkId, spec: EndpointSpec): Promise<Endpoint>
  disconnect(containerId: string, networkId: NetworkId): Promise<void>
  /** Leaves all networks and removes the namespace. Idempotent. */
  closeSandbox(containerId: string): Promise<void>
  /**
   * What a container's `/etc/resolv.conf` shall say: the engine's own DNS at 127.0.0.11 where a user-defined network gives
   * names, else the host's (without loopback servers).
   */
  resolver(containerId: string): Promise<{ readonly nameservers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }>
  /** Once, after a restart: sandboxes of these containers stay as they are, all others are swept. Answers the endpoints kept. */
  recover(containerIds: readonly string[]): Promise<readonly Endpoint[]>
}

export interface Networks extends NetworkCatalog, NetworkSandboxes {}
