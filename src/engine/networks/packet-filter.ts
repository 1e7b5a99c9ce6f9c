/** Keeps the kernel's tables (`rules.ts`) and the host's firewall in step with the networks and ports there are. */
import { isFault } from '#base/fault.ts'
import type { Family } from '#base/ip.ts'
import type { Logger } from '#base/log.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import type { HostFirewall } from './host-firewall.ts'
import { hasIPv6, networkScript, noTableScript, portScript, tableScript, type FilteredNetwork, type PublishedPort } from './rules.ts'

export interface PacketFilterOptions {
  readonly nftables: Nftables
  readonly table: string
  readonly firewall: HostFirewall | undefined
  readonly logger: Logger
  /** What there is now. */
  readonly networks: () => readonly FilteredNetwork[]
  readonly ports: () => readonly PublishedPort[]
}

export class PacketFilter {
  readonly #options: PacketFilterOptions
  #families: readonly Family[] = [4]

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
    if (ports.length > 0) await this.#apply(portScript('add', this.#options.table, ports))
  }

  async unpublish(ports: readonly PublishedPort[]): Promise<void> {
    if (ports.length > 0) await this.#apply(portScript('delete', this.#options.table, ports))
  }

  async close(): Promise<void> {
    await this.#options.firewall?.letThrough([])
    await this.#options.nftables.apply(noTableScript(this.#options.table, this.#families))
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
    await this.#options.firewall?.letThrough(this.#options.networks().map(({ bridge }) => bridge))
  }
}
