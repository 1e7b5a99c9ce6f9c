/**
 * Network interfaces, addresses and routes by rtnetlink(7); no `ip` is spawned. `netns` is the path of a pinned network
 * namespace; left out, it is the one the process runs in.
 */

export interface InNamespace {
  /** Path of a network namespace file, e.g. `/run/berth/ns/ab12/net`. */
  readonly netns?: string
}

export interface BridgeRequest extends InNamespace {
  /** At most 15 bytes. */
  readonly name: string
  /** Addresses of the bridge itself, e.g. `172.29.0.1/16`. */
  readonly addresses: readonly string[]
  readonly mtu?: number
  /** A fixed address keeps the bridge's MAC from changing with its ports. */
  readonly mac?: string
}

export interface AttachRequest {
  /** Bridge in our own namespace that the host end joins. Left out: the host end stands alone. */
  readonly bridge?: string
  /** Name of the host end, at most 15 bytes. */
  readonly hostName: string
  /** Network namespace that gets the other end. */
  readonly netns: string
  /** Name inside, usually `eth0`. */
  readonly ifName: string
  readonly mac?: string
  readonly mtu?: number
  /** e.g. `172.29.0.5/16`. */
  readonly addresses: readonly string[]
  /** Default route inside, per family. */
  readonly gateways?: readonly string[]
  /** Further routes inside. */
  readonly routes?: readonly RouteRequest[]
  /** Frames may leave by the port they came in: a container can then reach itself through a published port. */
  readonly hairpin?: boolean
  /** Ports marked isolated do not see each other (`--internal`, icc=false). */
  readonly isolated?: boolean
}

export interface MacvlanRequest {
  /** Interface of our own namespace that carries the frames. */
  readonly parent: string
  readonly mode: 'bridge' | 'private' | 'vepa' | 'passthru'
  /** Network namespace that gets the interface. */
  readonly netns: string
  readonly ifName: string
  readonly mac?: string
  readonly mtu?: number
  readonly addresses: readonly string[]
  /** Default route inside, per family. */
  readonly gateways?: readonly string[]
}

export interface RouteRequest {
  /** `10.42.0.0/24`, or `default`. */
  readonly destination: string
  readonly gateway?: string
  readonly device?: string
  /** The address that packets of the machine itself take on this route. */
  readonly source?: string
  /** Packets to there are refused with "no route" instead of leaving by the default route. */
  readonly type?: 'unicast' | 'unreachable' | 'blackhole'
  readonly metric?: number
}

export interface Link {
  readonly index: number
  readonly name: string
  /** `bridge`, `veth`, …; empty for physical ones and loopback. */
  readonly kind: string
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  /** Name of the bridge it is a port of. */
  readonly master?: string
  readonly addresses: readonly string[]
}

export interface LinkStatistics {
  readonly name: string
  readonly rxBytes: bigint
  readonly rxPackets: bigint
  readonly rxErrors: bigint
  readonly rxDropped: bigint
  readonly txBytes: bigint
  readonly txPackets: bigint
  readonly txErrors: bigint
  readonly txDropped: bigint
}

/** Faults: `alreadyExists`, `notFound`, `invalidArgument`, `permissionDenied`; messages name the interface. */
export interface Links {
  /** Makes the bridge, or brings an existing one to what is asked: addresses added, up. */
  ensureBridge(request: BridgeRequest): Promise<void>
  /** Veth pair, bridge port, addresses, routes and `up` at both ends in one round trip (under 1 ms); all or nothing. Returns the MAC inside. */
  attach(request: AttachRequest): Promise<{ readonly mac: string }>
  /** A macvlan interface made inside the namespace; all or nothing. Returns its MAC. `unimplemented` where the kernel has no macvlan. */
  attachMacvlan(request: MacvlanRequest): Promise<{ readonly mac: string }>
  /** A VLAN (802.1Q) sub-interface of a parent, up. False: it was there already. `unimplemented` where the kernel has none. */
  ensureVlan(request: { readonly name: string; readonly parent: string; readonly vlanId: number }): Promise<boolean>
  /** Two ends of a veth pair in our own namespace, both up. False: it was there already. */
  ensurePair(request: { readonly name: string; readonly peer: string }): Promise<boolean>
  /** Deletes an interface (a veth takes its peer along). A missing one is no error. */
  deleteLink(name: string, where?: InNamespace): Promise<void>
  up(name: string, where?: InNamespace): Promise<void>
  addAddress(name: string, address: string, where?: InNamespace): Promise<void>
  deleteAddress(name: string, address: string, where?: InNamespace): Promise<void>
  /** Adds or replaces. */
  route(request: RouteRequest, where?: InNamespace): Promise<void>
  /** A missing route is no error. */
  deleteRoute(request: RouteRequest, where?: InNamespace): Promise<void>
  list(where?: InNamespace): Promise<readonly Link[]>
  statistics(where?: InNamespace): Promise<readonly LinkStatistics[]>
  /** Writes `net.*` (dots or slashes), e.g. `setSysctl('net.ipv4.ip_forward', '1')`. */
  setSysctl(name: string, value: string, where?: InNamespace): Promise<void>
}
