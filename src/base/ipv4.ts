/** IPv4 addresses and prefixes as numbers (RFC 4632), so that allocation and overlap are arithmetic. */
import { Fault } from './fault.ts'

/** A prefix in canonical form: `base` has no host bits. */
export interface Prefix {
  readonly base: number
  readonly length: number
}

/** The address as an unsigned 32-bit number, or undefined. Leading zeros are refused: some readers take them for octal. */
export function parseAddress(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  let value = 0
  for (const part of match.slice(1)) {
    if (part.length > 1 && part.startsWith('0')) return undefined
    const byte = Number(part)
    if (byte > 255) return undefined
    value = value * 256 + byte
  }
  return value
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}

/** `what` names the field in the fault, e.g. `subnet`. */
export function requireAddress(text: string, what: string): number {
  const address = parseAddress(text)
  if (address === undefined) throw new Fault('invalidArgument', `invalid ${what} ${text}: expected an IPv4 address such as 172.29.0.5`)
  return address
}

export function requirePrefix(text: string, what: string): Prefix {
  const [addressText = '', lengthText = ''] = text.split('/')
  const address = parseAddress(addressText)
  const length = /^\d{1,2}$/.test(lengthText) ? Number(lengthText) : Number.NaN
  if (address === undefined || !(length >= 0 && length <= 32)) {
    throw new Fault('invalidArgument', `invalid ${what} ${text}: expected an IPv4 prefix such as 172.29.0.0/16`)
  }
  return { base: address - (address % sizeOf(length)), length }
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.base)}/${prefix.length}`
}

function sizeOf(length: number): number {
  return 2 ** (32 - length)
}

export function prefixSize(prefix: Prefix): number {
  return sizeOf(prefix.length)
}

export function contains(prefix: Prefix, address: number): boolean {
  return address >= prefix.base && address < prefix.base + prefixSize(prefix)
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b.base) || contains(b, a.base)
}

/** The first `/length` inside `pool` that overlaps nothing of `taken`. */
export function firstFreePrefix(pool: Prefix, length: number, taken: readonly Prefix[]): Prefix | undefined {
  const step = sizeOf(length)
  for (let base = pool.base; base < pool.base + prefixSize(pool); base += step) {
    const candidate = { base, length }
    if (!taken.some((each) => overlaps(each, candidate))) return candidate
  }
  return undefined
}
