/** Keeps the kernel's tables (`rules.ts`) and the host's firewall in step with the networks and ports there are. */
import type { Clock, Timer } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Family } from '#base/ip.ts'
import type { Logger } from '#base/log.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import type { HostFirewall } from './host-firewall.ts'
import { hasIPv6, networkScript, noTableScript, portScript, tableScript, type FilteredNetwork, type PublishedPort } from './rules.ts'

export interface PacketFilterOptions {
  readonly clock: Clock
  readonly nftables: Nftables
  readonly table: string
  readonly firewall: HostFirewall | undefined
  readonly logger: Logger
  /** What there is now. */
  readonly networks: () => readonly FilteredNetwork[]
  readonly ports: () => readonly PublishedPort[]
}

const firewallDelayMs = 1000

export class PacketFilter {
  readonly #options: PacketFilterOptions
  #families: readonly Family[] = [4]
  #firewallTimer: Timer | undefined

  constructor(options: PacketFilterOptions) {
    this.#options = options
  }

  /** Makes the tables anew from what there is. */
  async open(): Promise<void> {
    const { nftables, table, networks, ports } = this.#options
    const wanted = networks()
    await nftables.apply(tableScript(table, wanted, ports()))
    this.#families = wanted.some(hasIPv6) ? [4, 6] : [4]
    await this.openFirewall()
  }

  async add(network: FilteredNetwork): Promise<void> {
    if (hasIPv6(network) && !this.#families.includes(6)) return this.open()
    await this.#apply(networkScript('add', this.#options.table, network))
    await this.openFirewall()
  }

  async remove(network: FilteredNetwork): Promise<void> {
    await this.#apply(networkScript('delete', this.#options.table, network))
  }

  async publish(ports: readonly PublishedPort[]): Promise<void> {
    if (ports.length === 0) return
    await this.#apply(portScript('add', this.#options.table, ports))
    this.#lookAtFirewallSoon()
  }

  async unpublish(ports: readonly PublishedPort[]): Promise<void> {
    if (ports.length > 0) await this.#apply(portScript('delete', this.#options.table, ports))
  }

  /** Rules stay; nothing is done later any more. */
  pause(): void {
    this.#firewallTimer?.cancel()
    this.#firewallTimer = undefined
  }

  /** Takes all rules away. */
  async close(): Promise<void> {
    this.pause()
    await this.#options.firewall?.letThrough([])
    await this.#options.nftables.apply(noTableScript(this.#options.table, this.#families))
  }

  /** The host's firewall may have been turned on meanwhile. Who publishes a port does not wait for iptables. */
  #lookAtFirewallSoon(): void {
    const { clock, firewall, logger } = this.#options
    if (firewall === undefined || this.#firewallTimer !== undefined) return
    this.#firewallTimer = clock.after(firewallDelayMs, () => {
      this.#firewallTimer = undefined
      this.openFirewall().catch((error: unknown) => logger.warn({ error: String(error) }, 'could not look at the firewall of the host'))
    }, { background: true })
  }

  /** Somebody may have flushed the ruleset (a firewall's reload): then the tables are made anew from what we know. */
  async #apply(script: string): Promise<void> {
    try {
      await this.#options.nftables.apply(script)
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      this.#options.logger.warn({ table: this.#options.table }, 'the nftables table was gone: making it anew')
      await this.open()
      await this.#options.nftables.apply(script)
    }
  }

  /** After a network came or went. */
  async openFirewall(): Promise<void> {
    await this.#options.firewall?.letThrough(this.#options.networks().map((network) => ({ bridge: network.bridge, hasIPv6: hasIPv6(network) })))
  }
}
