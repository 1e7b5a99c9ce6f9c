/**
 * Portals as nftables rules, and the difference between two rule sets as one transaction. Pure. One verdict map keyed by
 * address, protocol and port leads to a chain per portal, so that a lookup costs the same with ten services and ten thousand;
 * what follows are maps of targets. Connections that exist are conntrack's and go on, whatever changes here.
 */
import { createHash } from 'node:crypto'
import type { Portal } from './portals.ts'

export interface RulesetOptions {
  /** Name of the `ip` table, e.g. `berth_services`. */
  readonly table: string
  readonly serviceCidr: string
  readonly podCidr: string
  /**
   * Answers between pods on one bridge pass the packet filter (br_netfilter). Where they do not, a pod's connection to
   * another through a service gets the node's address as its source, or the answer would take the short way and be refused.
   */
  readonly bridgedTrafficFiltered: boolean
}

/** The part that changes. Chains hold exactly one rule each. */
export interface Ruleset {
  readonly chains: ReadonlyMap<string, string>
  /** `10.43.0.1 . tcp . 443` → chain. */
  readonly serviceIps: ReadonlyMap<string, string>
  /** `tcp . 30080` → chain. */
  readonly nodePorts: ReadonlyMap<string, string>
  /** Targets that may meet themselves through a service. */
  readonly hairpins: ReadonlySet<string>
}

export const emptyRuleset: Ruleset = { chains: new Map(), serviceIps: new Map(), nodePorts: new Map(), hairpins: new Set() }

const masqueradeMark = '0x4000'

export function rulesetOf(portals: readonly Portal[]): Ruleset {
  const chains = new Map<string, string>()
  const serviceIps = new Map<string, string>()
  const nodePorts = new Map<string, string>()
  const hairpins = new Set<string>()
  for (const portal of portals) {
    // No target: no entry. Service addresses without one are refused by the filter chains, node ports by the node itself.
    if (portal.targets.length === 0) continue
    const chain = chainName(portal)
    const key = portal.ip === undefined ? `${portal.protocol} . ${portal.port}` : `${portal.ip} . ${portal.protocol} . ${portal.port}`
    const map = portal.ip === undefined ? nodePorts : serviceIps
    // Two services on one external address: the first in the list has it.
    if (map.has(key)) continue
    chains.set(chain, ruleOf(portal))
    map.set(key, chain)
    for (const { ip } of portal.targets) hairpins.add(`${ip} . ${ip}`)
  }
  return { chains, serviceIps, nodePorts, hairpins }
}

/** At most 128 bytes in nftables; the hash keeps names apart that are cut short or written alike. */
function chainName({ name, ip, protocol, port }: Portal): string {
  const readable = name.replace(/[^a-z0-9]/gi, '_').slice(0, 60)
  const hash = createHash('sha256').update(`${name}|${ip ?? 'node'}|${protocol}|${port}`).digest('hex').slice(0, 8)
  return `svc_${readable}_${hash}`
}

function ruleOf({ protocol, targets, affinity, masquerade }: Portal): string {
  const mark = masquerade ? `meta mark set meta mark or ${masqueradeMark} ` : ''
  const [only, ...more] = targets
  if (only !== undefined && more.length === 0) return `${mark}meta l4proto ${protocol} dnat to ${only.ip}:${only.port}`
  const pick = affinity ? `jhash ip saddr mod ${targets.length} seed 0xbe47` : `numgen random mod ${targets.length}`
  const map = targets.map(({ ip, port }, at) => `${at} : ${ip} . ${port}`).join(', ')
  return `${mark}meta l4proto ${protocol} dnat ip to ${pick} map { ${map} }`
}

/** The whole table anew, in one transaction: replaces whatever an earlier process left. */
export function replaceScript(ruleset: Ruleset, options: RulesetOptions): string {
  const { table } = options
  return ['table ip ' + table + ' {}', `delete table ip ${table}`, frame(options), ...changeLines(emptyRuleset, ruleset, table)].join('\n') + '\n'
}

/** What leads from one rule set to the next, in one transaction; '' when they are equal. */
export function changeScript(before: Ruleset, after: Ruleset, { table }: Pick<RulesetOptions, 'table'>): string {
  const lines = changeLines(before, after, table)
  return lines.length === 0 ? '' : lines.join('\n') + '\n'
}

export function removeScript({ table }: Pick<RulesetOptions, 'table'>): string {
  return `table ip ${table} {}\ndelete table ip ${table}\n`
}

function changeLines(before: Ruleset, after: Ruleset, table: string): string[] {
  const lines: string[] = []
  for (const [chain, rule] of after.chains) {
    const old = before.chains.get(chain)
    if (old === rule) continue
    lines.push(old === undefined ? `add chain ip ${table} ${chain}` : `flush chain ip ${table} ${chain}`, `add rule ip ${table} ${chain} ${rule}`)
  }
  lines.push(...mapLines(before.serviceIps, after.serviceIps, `ip ${table} service_ips`))
  lines.push(...mapLines(before.nodePorts, after.nodePorts, `ip ${table} node_ports`))
  const gone = [...before.hairpins].filter((pair) => !after.hairpins.has(pair))
  const fresh = [...after.hairpins].filter((pair) => !before.hairpins.has(pair))
  if (gone.length > 0) lines.push(`delete element ip ${table} hairpins { ${gone.join(', ')} }`)
  if (fresh.length > 0) lines.push(`add element ip ${table} hairpins { ${fresh.join(', ')} }`)
  // Last, when nothing leads to them any more.
  for (const chain of before.chains.keys()) if (!after.chains.has(chain)) lines.push(`flush chain ip ${table} ${chain}`, `delete chain ip ${table} ${chain}`)
  return lines
}

function mapLines(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>, map: string): string[] {
  const gone = [...before].filter(([key, chain]) => after.get(key) !== chain).map(([key]) => key)
  const fresh = [...after].filter(([key, chain]) => before.get(key) !== chain).map(([key, chain]) => `${key} : goto ${chain}`)
  return [...(gone.length > 0 ? [`delete element ${map} { ${gone.join(', ')} }`] : []), ...(fresh.length > 0 ? [`add element ${map} { ${fresh.join(', ')} }`] : [])]
}

/** What never changes: hooks, maps, and the refusal of whatever is addressed to a service that has no such port. */
function frame({ table, serviceCidr, podCidr, bridgedTrafficFiltered }: RulesetOptions): string {
  const between = bridgedTrafficFiltered ? '' : `\n    ct status dnat ip saddr ${podCidr} ip daddr ${podCidr} masquerade`
  return `table ip ${table} {
  map service_ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map node_ports { type inet_proto . inet_service : verdict; }
  set hairpins { type ipv4_addr . ipv4_addr; }
  chain guard { type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service_ips
    fib daddr type local ip daddr != ${serviceCidr} meta l4proto . th dport vmap @node_ports
  }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept;
    jump services
  }
  chain output { type nat hook output priority -100; policy accept;
    jump services
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    meta mark and ${masqueradeMark} != 0 masquerade
    ct status dnat ip saddr 127.0.0.0/8 masquerade
    ct status dnat ip saddr . ip daddr @hairpins masquerade${between}
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject
  }
  chain forward { type filter hook forward priority filter; policy accept;
    ip daddr ${serviceCidr} fib daddr type != local jump refuse
  }
  chain filter_output { type filter hook output priority filter; policy accept;
    ip daddr ${serviceCidr} fib daddr type != local jump refuse
  }
}`
}
