/**
 * The packet filter of the engine's networks: one nftables table per instance, a fixed number of rules, and sets and maps
 * that hold what changes (nft(8), "SETS" and "MAPS"). A published port is one map element, whatever its number.
 *
 * - masquerade: what leaves a network for the outside world gets the host's address;
 * - published ports: destination NAT for packets to any local address, from outside, from the host itself (127.0.0.1 included)
 *   and from containers. Those from the host's loopback and from containers are masqueraded, so that the answer finds its way back;
 * - isolation: networks do not reach each other, nor does anybody outside reach a port that is not published; `internal` ones reach nothing.
 *
 * `route_localnet` on the bridges lets 127.0.0.1 be redirected; the chain `guard` keeps containers from using it to reach the
 * host's loopback services (CVE-2020-8558).
 */
import type { PortBinding } from '../contract/networks.ts'

export interface FilteredNetwork {
  readonly bridge: string
  readonly subnet: string
  readonly internal: boolean
  readonly masquerade: boolean
}

export interface PublishedPort extends PortBinding {
  /** The container's address. */
  readonly address: string
}

/** Replaces the whole table in one transaction. */
export function tableScript(table: string, networks: readonly FilteredNetwork[], ports: readonly PublishedPort[]): string {
  return [
    `add table ip ${table}`,
    `delete table ip ${table}`,
    `table ip ${table} {`,
    '  set bridges { type ifname; }',
    '  set internal_bridges { type ifname; }',
    '  set same_bridge { type ifname . ifname; }',
    '  set masqueraded { type ipv4_addr; flags interval; }',
    '  set subnets { type ipv4_addr; flags interval; }',
    '  map ports_any { type inet_proto . inet_service : ipv4_addr . inet_service; }',
    '  map ports_address { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
    '  chain guard {',
    '    type filter hook prerouting priority raw; policy accept;',
    '    iifname @bridges ip daddr 127.0.0.0/8 drop',
    '  }',
    '  chain prerouting {',
    '    type nat hook prerouting priority dstnat; policy accept;',
    '    fib daddr type local jump published',
    '  }',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    '    fib daddr type local jump published',
    '  }',
    '  chain published {',
    '    dnat ip to ip daddr . meta l4proto . th dport map @ports_address',
    '    dnat ip to meta l4proto . th dport map @ports_any',
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    '    oifname @bridges ip saddr 127.0.0.0/8 masquerade',
    '    oifname @bridges ct status dnat ip saddr @subnets masquerade',
    '    oifname != @bridges ip saddr @masqueraded masquerade',
    '  }',
    '  chain forward {',
    '    type filter hook forward priority filter; policy accept;',
    '    ct state established,related accept',
    '    iifname . oifname @same_bridge accept',
    '    iifname @internal_bridges drop',
    '    oifname @internal_bridges drop',
    '    oifname @bridges ct status dnat accept',
    '    oifname @bridges drop',
    '  }',
    '}',
    ...networks.flatMap((network) => networkElements('add', table, network)),
    ...ports.flatMap((port) => portElements('add', table, port)),
  ].join('\n')
}

export function networkScript(verb: 'add' | 'delete', table: string, network: FilteredNetwork): string {
  return networkElements(verb, table, network).join('\n')
}

export function portScript(verb: 'add' | 'delete', table: string, ports: readonly PublishedPort[]): string {
  return ports.flatMap((port) => portElements(verb, table, port)).join('\n')
}

function networkElements(verb: 'add' | 'delete', table: string, network: FilteredNetwork): string[] {
  const element = (set: string, value: string): string => `${verb} element ip ${table} ${set} { ${value} }`
  const lines = [element('bridges', `"${network.bridge}"`), element('same_bridge', `"${network.bridge}" . "${network.bridge}"`), element('subnets', network.subnet)]
  if (network.internal) lines.push(element('internal_bridges', `"${network.bridge}"`))
  else if (network.masquerade) lines.push(element('masqueraded', network.subnet))
  return lines
}

function portElements(verb: 'add' | 'delete', table: string, port: PublishedPort): string[] {
  const any = port.hostIp === '' || port.hostIp === '0.0.0.0'
  const key = any ? `${port.protocol} . ${port.hostPort}` : `${port.hostIp} . ${port.protocol} . ${port.hostPort}`
  const value = verb === 'add' ? ` : ${port.address} . ${port.containerPort}` : ''
  return [`${verb} element ip ${table} ${any ? 'ports_any' : 'ports_address'} { ${key}${value} }`]
}

/** For the table of a container's own namespace: its 127.0.0.11:53 is the network's name server. */
export function redirectDnsScript(server: { readonly address: string; readonly port: number }): string {
  return [
    'add table ip berth_dns',
    'delete table ip berth_dns',
    'table ip berth_dns {',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    `    ip daddr 127.0.0.11 meta l4proto { tcp, udp } th dport 53 dnat to ${server.address}:${server.port}`,
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    `    ip saddr 127.0.0.0/8 ip daddr ${server.address} masquerade`,
    '  }',
    '}',
  ].join('\n')
}
