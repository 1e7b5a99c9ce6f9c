/**
 * Address leases. A lease is nothing but an endpoint's address: leases are rebuilt from the endpoint records when Berth starts,
 * so that none can leak. Freed addresses are used again last, because neighbours may still remember their MAC.
 */
import { Fault } from '#base/fault.ts'
import { formatIp, formatIpPrefix, holds, parseIp, requireIpPrefix, sizeOf, type Address, type Family, type Prefix } from '#base/ip.ts'
import type { IpamPool } from '../contract/networks.ts'

/** The leases of one subnet. */
export class AddressLeases {
  readonly subnet: Prefix
  readonly gateway: string
  readonly #range: Prefix
  readonly #taken = new Set<bigint>()
  #last: bigint

  constructor(pool: IpamPool) {
    this.subnet = requireIpPrefix(pool.subnet, 'subnet')
    const size = sizeOf(this.subnet)
    if (size < 4n) throw new Fault('invalidArgument', `subnet ${pool.subnet} has no room for a gateway and a container: expected a prefix of ${this.subnet.family === 4 ? '/30' : '/126'} or shorter`)
    this.#range = pool.ipRange === undefined ? this.subnet : requireIpPrefix(pool.ipRange, 'ip range')
    if (!holds(this.subnet, { family: this.#range.family, value: this.#range.base }) || this.#range.length < this.subnet.length) {
      throw new Fault('invalidArgument', `ip range ${pool.ipRange ?? ''} does not lie in the subnet ${pool.subnet}`)
    }
    // The first address names the subnet (IPv4) or any router of it (RFC 4291 2.6.1); the last is IPv4's broadcast.
    this.#taken.add(this.subnet.base)
    if (this.subnet.family === 4) this.#taken.add(this.subnet.base + size - 1n)
    for (const [name, address] of Object.entries(pool.auxiliaryAddresses ?? {})) this.#taken.add(this.#inside(address, `auxiliary address ${name}`))
    const gateway = pool.gateway === undefined ? this.#firstFree() : this.#inside(pool.gateway, 'gateway')
    this.#taken.add(gateway)
    this.gateway = this.#text(gateway)
    this.#last = this.#range.base + sizeOf(this.#range) - 1n
  }

  get family(): Family {
    return this.subnet.family
  }

  /** Where no gateway is named, the first address of the range. */
  #firstFree(): bigint {
    let value = this.#range.base
    while (this.#taken.has(value)) value += 1n
    return value
  }

  #inside(text: string, what: string): bigint {
    const address = parseIp(text)
    if (address === undefined || !holds(this.subnet, address)) throw new Fault('invalidArgument', `${what} ${text} does not lie in the subnet ${formatIpPrefix(this.subnet)}`)
    return address.value
  }

  #text(value: bigint): string {
    return formatIp({ family: this.subnet.family, value })
  }

  /** Takes a wanted address or the next free one. Faults: `invalidArgument`, `permissionDenied` (taken), `resourceExhausted`. */
  take(wanted?: string): string {
    if (wanted !== undefined && wanted !== '') {
      const address = parseIp(wanted)
      if (address === undefined || !holds(this.subnet, address)) throw new Fault('invalidArgument', `Invalid address ${wanted}: It does not belong to any of this network's subnets`)
      if (this.#taken.has(address.value)) throw new Fault('permissionDenied', 'Address already in use')
      this.#taken.add(address.value)
      return this.#text(address.value)
    }
    const size = sizeOf(this.#range)
    for (let step = 1n; step <= size; step += 1n) {
      const value = this.#range.base + ((this.#last - this.#range.base + step) % size)
      if (this.#taken.has(value)) continue
      this.#taken.add(value)
      this.#last = value
      return this.#text(value)
    }
    throw new Fault('resourceExhausted', `no available IPv${this.subnet.family} addresses on this network's address pools: remove containers or make the network with a larger subnet than ${formatIpPrefix(this.#range)}`)
  }

  /** Marks the address of an endpoint found after a restart. */
  restore(address: string): void {
    this.#taken.add(this.#inside(address, 'address'))
  }

  release(address: string): void {
    if (address !== this.gateway) this.#taken.delete(this.#inside(address, 'address'))
  }
}

export interface EndpointAddresses {
  /** Empty: the network has none of the family. */
  readonly ipv4Address: string
  readonly ipv6Address: string
}

/** The leases of one network, at most one subnet of each family. */
export class NetworkLeases {
  readonly ipv4: AddressLeases | undefined
  readonly ipv6: AddressLeases | undefined

  constructor(pools: readonly IpamPool[]) {
    const all = pools.map((pool) => new AddressLeases(pool))
    this.ipv4 = all.find(({ family }) => family === 4)
    this.ipv6 = all.find(({ family }) => family === 6)
  }

  /** One address of each family, all or nothing. */
  take(wanted: { readonly ipv4Address?: string | undefined; readonly ipv6Address?: string | undefined }): EndpointAddresses {
    const ipv4Address = takeFrom(this.ipv4, wanted.ipv4Address)
    try {
      return { ipv4Address, ipv6Address: takeFrom(this.ipv6, wanted.ipv6Address) }
    } catch (error) {
      if (ipv4Address !== '') this.ipv4?.release(ipv4Address)
      throw error
    }
  }

  restore({ ipv4Address, ipv6Address }: EndpointAddresses): void {
    if (ipv4Address !== '') this.ipv4?.restore(ipv4Address)
    if (ipv6Address !== '') this.ipv6?.restore(ipv6Address)
  }

  release({ ipv4Address, ipv6Address }: EndpointAddresses): void {
    if (ipv4Address !== '') this.ipv4?.release(ipv4Address)
    if (ipv6Address !== '') this.ipv6?.release(ipv6Address)
  }
}

function takeFrom(leases: AddressLeases | undefined, wanted: string | undefined): string {
  if (leases !== undefined) return leases.take(wanted)
  if (wanted !== undefined && wanted !== '') throw new Fault('invalidArgument', `Invalid address ${wanted}: It does not belong to any of this network's subnets`)
  return ''
}

/** Docker's convention: 02:42 and the address (of IPv6 the last four bytes), so that a reused address keeps its MAC and no neighbour is fooled. */
export function macOfAddress(text: string): string {
  const address: Address = parseIp(text) ?? { family: 4, value: 0n }
  const bytes = (address.value & 0xffffffffn).toString(16).padStart(8, '0').match(/../g) ?? []
  return ['02', '42', ...bytes].join(':')
}
