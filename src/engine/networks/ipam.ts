/**
 * Address leases of one network. A lease is nothing but an endpoint's address: leases are rebuilt from the endpoint records
 * when Berth starts, so that none can leak. Freed addresses are used again last, because neighbours may still remember their MAC.
 */
import { Fault } from '#base/fault.ts'
import { contains, formatAddress, formatPrefix, prefixSize, requireAddress, requirePrefix, type Prefix } from '#base/ipv4.ts'
import type { IpamPool } from '../contract/networks.ts'

export class AddressLeases {
  readonly subnet: Prefix
  readonly gateway: number
  readonly #range: Prefix
  readonly #taken = new Set<number>()
  #last: number

  constructor(pool: IpamPool) {
    this.subnet = requirePrefix(pool.subnet, 'subnet')
    if (this.subnet.length > 30) throw new Fault('invalidArgument', `subnet ${pool.subnet} has no room for a gateway and a container: expected a prefix of /30 or shorter`)
    this.#range = pool.ipRange === undefined ? this.subnet : requirePrefix(pool.ipRange, 'ip range')
    if (!contains(this.subnet, this.#range.base) || this.#range.length < this.subnet.length) {
      throw new Fault('invalidArgument', `ip range ${pool.ipRange ?? ''} does not lie in the subnet ${pool.subnet}`)
    }
    this.gateway = pool.gateway === undefined ? this.subnet.base + 1 : this.#inside(pool.gateway, 'gateway')
    this.#taken.add(this.subnet.base)
    this.#taken.add(this.subnet.base + prefixSize(this.subnet) - 1)
    this.#taken.add(this.gateway)
    for (const [name, address] of Object.entries(pool.auxiliaryAddresses ?? {})) this.#taken.add(this.#inside(address, `auxiliary address ${name}`))
    this.#last = this.#range.base + prefixSize(this.#range) - 1
  }

  #inside(text: string, what: string): number {
    const address = requireAddress(text, what)
    if (!contains(this.subnet, address)) throw new Fault('invalidArgument', `${what} ${text} does not lie in the subnet ${formatPrefix(this.subnet)}`)
    return address
  }

  /** Takes a wanted address or the next free one. Faults: `invalidArgument`, `conflict` (taken), `resourceExhausted`. */
  take(wanted?: string): number {
    if (wanted !== undefined && wanted !== '') {
      const address = this.#inside(wanted, 'address')
      if (this.#taken.has(address)) throw new Fault('conflict', `Address already in use: ${wanted} in ${formatPrefix(this.subnet)}`)
      this.#taken.add(address)
      return address
    }
    const size = prefixSize(this.#range)
    for (let step = 1; step <= size; step += 1) {
      const address = this.#range.base + ((this.#last - this.#range.base + step) % size)
      if (this.#taken.has(address)) continue
      this.#taken.add(address)
      this.#last = address
      return address
    }
    throw new Fault('resourceExhausted', `no available IPv4 address in ${formatPrefix(this.#range)}: remove containers or make the network with a larger subnet`)
  }

  /** Marks the address of an endpoint found after a restart. */
  restore(address: string): void {
    this.#taken.add(requireAddress(address, 'address'))
  }

  release(address: string): void {
    const value = requireAddress(address, 'address')
    if (value !== this.gateway) this.#taken.delete(value)
  }
}

/** Docker's convention: 02:42 and the address, so that a reused address keeps its MAC and no neighbour is fooled. */
export function macOfAddress(address: number): string {
  const bytes = formatAddress(address).split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
  return ['02', '42', ...bytes].join(':')
}
