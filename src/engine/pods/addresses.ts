/** Addresses for pods out of the node's pod range. The sandbox records are the truth; this remembers them and never hurries to use one again. */
import { Fault } from '#base/fault.ts'
import { formatAddress, parseAddress, prefixSize, requirePrefix, type Prefix } from '#base/ipv4.ts'

export class PodAddresses {
  readonly #range: Prefix
  readonly #used = new Set<number>()
  #next: number

  /** `podCidr` such as `10.42.0.0/24`; its first address is the gateway's, the last one stays free. */
  constructor(podCidr: string) {
    this.#range = requirePrefix(podCidr, 'podCidr')
    if (this.#range.length > 29) throw new Fault('invalidArgument', `podCidr ${podCidr} is too small: at least a /29 is needed`)
    this.#next = this.#first
  }

  get gateway(): string {
    return formatAddress(this.#range.base + 1)
  }

  get #first(): number {
    return this.#range.base + 2
  }

  get #end(): number {
    return this.#range.base + prefixSize(this.#range) - 1
  }

  /** For those found again. */
  take(address: string): void {
    const value = parseAddress(address)
    if (value !== undefined) this.#used.add(value)
  }

  /** `unavailable` when the range is used up. */
  allocate(): string {
    const size = this.#end - this.#first
    for (let step = 0; step < size; step += 1) {
      const value = this.#first + ((this.#next - this.#first + step) % size)
      if (this.#used.has(value)) continue
      this.#used.add(value)
      this.#next = value + 1
      return formatAddress(value)
    }
    throw new Fault('unavailable', `no address is left for another pod: all ${size} of the node's range are in use`)
  }

  release(address: string): void {
    const value = parseAddress(address)
    if (value !== undefined) this.#used.delete(value)
  }
}
