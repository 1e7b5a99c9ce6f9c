/**
 * The network of a node's pods. Each pod has a veth of its own and a /32 address; the host routes between them, so that
 * every packet, also one between two pods of this node, passes the host's packet filter and comes back through it
 * (a service's address translation needs both directions; on a shared bridge the answer would take a short cut).
 *
 * The bridge has no ports: it only carries the gateway's address, which the host's ends answer for.
 */
import type { HostPort } from '#cluster/contract/runtime.ts'
import type { Links } from '#linux/contract/links.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import { Fault } from '#base/fault.ts'

export interface PodNetworkOptions {
  readonly links: Links
  readonly nftables: Nftables
  /** Starts the name of every link, at most 9 characters: `berth`. */
  readonly linkPrefix: string
  /** nftables table of the family `ip`, e.g. `berth-pods`. */
  readonly table: string
  readonly podCidr: string
  /** The pods of all nodes: packets to there keep the pod's address. */
  readonly clusterCidr: string
  readonly gateway: string
}

export interface PodEndpoint {
  readonly sandboxId: string
  readonly address: string
  readonly hostPorts: readonly HostPort[]
}

export class PodNetwork {
  readonly #options: PodNetworkOptions

  constructor(options: PodNetworkOptions) {
    this.#options = options
  }

  /** Makes bridge, routes and rules what they should be for the pods that are there. */
  async open(endpoints: readonly PodEndpoint[]): Promise<void> {
    const { links, nftables, linkPrefix, gateway, podCidr } = this.#options
    await links.ensureBridge({ name: `${linkPrefix}-pods`, addresses: [`${gateway}/32`] })
    await links.setSysctl('net.ipv4.ip_forward', '1')
    // A packet to an address that no pod has must not leave by the default route.
    await links.route({ destination: podCidr, type: 'unreachable', metric: 1_000_000 })
    await nftables.apply(this.#tableScript(endpoints))
  }

  async attach(endpoint: PodEndpoint, netns: string): Promise<void> {
    const { links, nftables, gateway } = this.#options
    const { address } = endpoint
    const hostName = this.#hostName(endpoint.sandboxId)
    await links.attach({ hostName, netns, ifName: 'eth0', addresses: [`${address}/32`], routes: [{ destination: `${gateway}/32`, device: 'eth0' }, { destination: 'default', gateway, device: 'eth0' }] })
    try {
      await links.route({ destination: `${address}/32`, device: hostName, source: gateway })
      await nftables.apply(elements('add', this.#options.table, endpoint).join('\n'))
    } catch (error) {
      await links.deleteLink(hostName)
      throw error
    }
  }

  /** Idempotent. */
  async detach(endpoint: PodEndpoint): Promise<void> {
    const { links, nftables, table } = this.#options
    await links.deleteLink(this.#hostName(endpoint.sandboxId))
    // Adding first makes the deletion succeed whatever is there.
    await nftables.apply([...elements('add', table, endpoint), ...elements('delete', table, endpoint)].join('\n'))
  }

  #hostName(sandboxId: string): string {
    return `${this.#options.linkPrefix}p${sandboxId}`.slice(0, 15)
  }

  #tableScript(endpoints: readonly PodEndpoint[]): string {
    const { table, podCidr, clusterCidr } = this.#options
    return [
      `add table ip ${table}`,
      `delete table ip ${table}`,
      `table ip ${table} {`,
      '  map ports_any { type inet_proto . inet_service : ipv4_addr . inet_service; }',
      '  map ports_address { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
      '  set itself { type ipv4_addr . ipv4_addr; }',
      '  chain prerouting {',
      '    type nat hook prerouting priority dstnat; policy accept;',
      '    fib daddr type local jump host_ports',
      '  }',
      '  chain output {',
      '    type nat hook output priority -100; policy accept;',
      '    fib daddr type local jump host_ports',
      '  }',
      '  chain host_ports {',
      '    dnat ip to ip daddr . meta l4proto . th dport map @ports_address',
      '    dnat ip to meta l4proto . th dport map @ports_any',
      '  }',
      '  chain postrouting {',
      '    type nat hook postrouting priority srcnat; policy accept;',
      // A pod that reaches itself through a service or a host port would answer itself without a translation back.
      '    ip saddr . ip daddr @itself masquerade',
      `    ip saddr 127.0.0.0/8 ip daddr ${podCidr} masquerade`,
      `    ip saddr ${podCidr} ip daddr != ${clusterCidr} masquerade`,
      '  }',
      '}',
      ...endpoints.flatMap((endpoint) => elements('add', table, endpoint)),
    ].join('\n')
  }
}

function elements(verb: 'add' | 'delete', table: string, { address, hostPorts }: PodEndpoint): string[] {
  const lines = [`${verb} element ip ${table} itself { ${address} . ${address} }`]
  for (const { hostPort, containerPort, protocol, hostIp } of hostPorts) {
    const everywhere = hostIp === undefined || hostIp === '' || hostIp === '0.0.0.0'
    const key = `${everywhere ? '' : `${hostIp} . `}${protocol.toLowerCase()} . ${hostPort}`
    lines.push(`${verb} element ip ${table} ${everywhere ? 'ports_any' : 'ports_address'} { ${key} : ${address} . ${containerPort} }`)
  }
  return lines
}

/** `conflict` naming the pod that has one of the ports already. */
export function checkHostPorts(wanted: readonly HostPort[], taken: readonly { readonly pod: string; readonly hostPorts: readonly HostPort[] }[]): void {
  const overlaps = (one: HostPort, other: HostPort): boolean =>
    one.hostPort === other.hostPort && one.protocol === other.protocol && (one.hostIp === undefined || other.hostIp === undefined || one.hostIp === other.hostIp)
  for (const port of wanted) {
    const holder = taken.find(({ hostPorts }) => hostPorts.some((other) => overlaps(port, other)))
    if (holder !== undefined) throw new Fault('conflict', `host port ${port.hostPort}/${port.protocol} is taken by pod ${holder.pod}`)
  }
}
