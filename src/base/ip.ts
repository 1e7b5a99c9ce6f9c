/**
 * IP addresses and prefixes of both families as numbers (RFC 4632, RFC 4291), so that allocation and overlap are arithmetic.
 * IPv6 addresses are written the shortest usual way (RFC 5952). `ipv4.ts` is the same with plain numbers, for IPv4 alone.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { Fault } from './fault.ts'

export type Family = 4 | 6

export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** `base` has no host bits. */
export interface Prefix {
  readonly family: Family
  readonly base: bigint
  readonly length: number
}

export function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128
}

export function parseIp(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, value: text.split('.').reduce((value, part) => value * 256n + BigInt(part), 0n) }
  if (!isIPv6(text) || text.includes('%')) return undefined
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)
  const plain = embedded === null ? text : `${embedded[1] ?? ''}${hexPairs(parseIp(embedded[2] ?? '')?.value ?? 0n)}`
  const [head = '', tail] = plain.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const all = tail === undefined ? left : [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return { family: 6, value: BigInt(`0x${all.map((group) => group.padStart(4, '0')).join('')}`) }
}

function hexPairs(value: bigint): string {
  return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`
}

export function formatIp({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.')
  const groups = value.toString(16).padStart(32, '0').match(/.{4}/g)?.map((group) => group.replace(/^0+(?=.)/, '')) ?? []
  const run = longestZeroRun(groups)
  if (run.length < 2) return groups.join(':')
  return `${groups.slice(0, run.start).join(':')}::${groups.slice(run.start + run.length).join(':')}`
}

function longestZeroRun(groups: readonly string[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  for (const [index, group] of groups.entries()) {
    if (group !== '0') start = index + 1
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start }
  }
  return best
}

/** `10.0.0.0/8`. Host bits are taken away; `address` keeps them. */
export function parsePrefix(text: string): (Prefix & { readonly address: Address }) | undefined {
  const [addressText = '', lengthText = '', ...rest] = text.split('/')
  const address = parseIp(addressText)
  const length = /^\d{1,3}$/.test(lengthText) ? Number(lengthText) : Number.NaN
  if (address === undefined || rest.length > 0 || !(length >= 0 && length <= bitsOf(address.family))) return undefined
  const size = sizeOf({ family: address.family, length })
  return { family: address.family, base: address.value - (address.value % size), length, address }
}

/** `what` names the field in the fault, e.g. `subnet`. */
export function requireIpPrefix(text: string, what: string): Prefix {
  const prefix = parsePrefix(text)
  if (prefix === undefined) throw new Fault('invalidArgument', `invalid ${what} ${text}: expected a prefix such as 172.29.0.0/16 or fd00::/64`)
  return { family: prefix.family, base: prefix.base, length: prefix.length }
}

export function formatIpPrefix(prefix: Prefix): string {
  return `${formatIp({ family: prefix.family, value: prefix.base })}/${prefix.length}`
}

export function sizeOf({ family, length }: { readonly family: Family; readonly length: number }): bigint {
  return 1n << BigInt(bitsOf(family) - length)
}

export function holds(prefix: Prefix, address: Address): boolean {
  return prefix.family === address.family && address.value >= prefix.base && address.value < prefix.base + sizeOf(prefix)
}

export function overlapping(a: Prefix, b: Prefix): boolean {
  return holds(a, { family: b.family, value: b.base }) || holds(b, { family: a.family, value: a.base })
}

/** The first `/length` inside `pool` that overlaps nothing of `taken`. */
export function firstFree(pool: Prefix, length: number, taken: readonly Prefix[]): Prefix | undefined {
  const step = sizeOf({ family: pool.family, length })
  for (let base = pool.base; base < pool.base + sizeOf(pool); base += step) {
    const candidate: Prefix = { family: pool.family, base, length }
    if (!taken.some((each) => overlapping(each, candidate))) return candidate
  }
  return undefined
}
