/**
 * The packet filter of the engine's networks: one nftables table per instance and family, a fixed number of rules, and sets and
 * maps that hold what changes (nft(8), "SETS" and "MAPS"). A published port is one map element, whatever its number.
 *
 * - masquerade: what leaves a network for the outside world gets the host's address;
 * - published ports: destination NAT for packets to any local address, from outside, from the host itself (127.0.0.1 included)
 *   and from containers. Those from the host's loopback and from containers are masqueraded, so that the answer finds its way back;
 * - isolation: networks do not reach each other, nor does anybody outside reach a port that is not published; `internal` ones reach nothing.
 *
 * `route_localnet` on the bridges lets 127.0.0.1 be redirected; the chain `guard` keeps containers from using it to reach the
 * host's loopback services (CVE-2020-8558). IPv6 has nothing of the kind: `[::1]` cannot be redirected, and needs no guard.
 */
import type { Family } from '#base/ip.ts'
import type { PortBinding } from '../contract/networks.ts'
import { isAny } from './ports.ts'

export interface FilteredNetwork {
  readonly bridge: string
  /** One per family. */
  readonly subnets: readonly { readonly family: Family; readonly subnet: string }[]
  readonly internal: boolean
  readonly masquerade: boolean
}

export interface PublishedPort extends PortBinding {
  /** The container's address, of the family of `hostIp`. */
  readonly address: string
}

const words = {
  4: { family: 'ip', address: 'ipv4_addr' },
  6: { family: 'ip6', address: 'ipv6_addr' },
} as const

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4
}

/** Replaces the whole tables in one transaction. The one for IPv6 is there only where a network has it: not every kernel can. */
export function tableScript(table: string, networks: readonly FilteredNetwork[], ports: readonly PublishedPort[]): string {
  const families: readonly Family[] = networks.some(hasIPv6) ? [4, 6] : [4]
  return [...families.map((family) => emptyTable(table, family)), ...networks.flatMap((network) => networkElements('add', table, network)), ...ports.map((port) => portElement('add', table, port))].join('\n')
}

export function hasIPv6({ subnets }: FilteredNetwork): boolean {
  return subnets.some(({ family }) => family === 6)
}

/** Takes the tables away, whether they are there or not. */
export function noTableScript(table: string, families: readonly Family[]): string {
  return families.flatMap((family) => [`add table ${words[family].family} ${table}`, `delete table ${words[family].family} ${table}`]).join('\n')
}

function emptyTable(table: string, which: Family): string {
  const { family, address } = words[which]
  const loopback = which === 4
  return [
    noTableScript(table, [which]),
    `table ${family} ${table} {`,
    '  set bridges { type ifname; }',
    '  set internal_bridges { type ifname; }',
    '  set same_bridge { type ifname . ifname; }',
    `  set masqueraded { type ${address}; flags interval; }`,
    `  set subnets { type ${address}; flags interval; }`,
    `  map ports_any { type inet_proto . inet_service : ${address} . inet_service; }`,
    `  map ports_address { type ${address} . inet_proto . inet_service : ${address} . inet_service; }`,
    ...(loopback ? ['  chain guard {', '    type filter hook prerouting priority raw; policy accept;', '    iifname @bridges ip daddr 127.0.0.0/8 drop', '  }'] : []),
    '  chain prerouting {',
    '    type nat hook prerouting priority dstnat; policy accept;',
    '    fib daddr type local jump published',
    '  }',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    '    fib daddr type local jump published',
    '  }',
    '  chain published {',
    `    dnat ${family} to ${family} daddr . meta l4proto . th dport map @ports_address`,
    `    dnat ${family} to meta l4proto . th dport map @ports_any`,
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    ...(loopback ? ['    oifname @bridges ip saddr 127.0.0.0/8 masquerade'] : []),
    `    oifname @bridges ct status dnat ${family} saddr @subnets masquerade`,
    `    oifname != @bridges ${family} saddr @masqueraded masquerade`,
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
  ].join('\n')
}

export function networkScript(verb: 'add' | 'delete', table: string, network: FilteredNetwork): string {
  return networkElements(verb, table, network).join('\n')
}

export function portScript(verb: 'add' | 'delete', table: string, ports: readonly PublishedPort[]): string {
  return ports.map((port) => portElement(verb, table, port)).join('\n')
}

function networkElements(verb: 'add' | 'delete', table: string, { bridge, subnets, internal, masquerade }: FilteredNetwork): string[] {
  return subnets.flatMap(({ family, subnet }) => {
    const element = (set: string, value: string): string => `${verb} element ${words[family].family} ${table} ${set} { ${value} }`
    const lines = [element('bridges', `"${bridge}"`), element('same_bridge', `"${bridge}" . "${bridge}"`), element('subnets', subnet)]
    if (internal) lines.push(element('internal_bridges', `"${bridge}"`))
    else if (masquerade) lines.push(element('masqueraded', subnet))
    return lines
  })
}

function portElement(verb: 'add' | 'delete', table: string, port: PublishedPort): string {
  const any = isAny(port.hostIp)
  const key = any ? `${port.protocol} . ${port.hostPort}` : `${port.hostIp} . ${port.protocol} . ${port.hostPort}`
  const value = verb === 'add' ? ` : ${port.address} . ${port.containerPort}` : ''
  return `${verb} element ${words[familyOf(port.address)].family} ${table} ${any ? 'ports_any' : 'ports_address'} { ${key}${value} }`
}

/** For the table of a container's own namespace: its 127.0.0.11:53 is our socket in there. */
export function redirectDnsScript(port: number): string {
  return [
    noTableScript('berth_dns', [4]),
    'table ip berth_dns {',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    `    ip daddr 127.0.0.11 meta l4proto { tcp, udp } th dport 53 dnat to 127.0.0.11:${port}`,
    '  }',
    '}',
  ].join('\n')
}
