/** IP and MAC addresses between text and bytes. */
import { isIPv4, isIPv6 } from 'node:net'
import { errnoFault } from '../contract/errno.ts'

export const AF_INET = 2
export const AF_INET6 = 10

export interface Prefix {
  readonly family: typeof AF_INET | typeof AF_INET6
  readonly bytes: Buffer
  readonly length: number
}

/** `10.0.0.1` to 4 bytes, `fd00::1` to 16. */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  if (!isIPv6(address) || address.includes('%')) throw errnoFault('EINVAL', `read '${address}' as an IP address`)
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const plain = embedded === null ? address : `${embedded[1] ?? ''}${hexPairs(addressBytes(embedded[2] ?? ''))}`
  const [head = '', tail] = plain.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const left = groups(head)
  const right = tail === undefined ? [] : groups(tail)
  const all = tail === undefined ? left : [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

function hexPairs(bytes: Buffer): string {
  return `${bytes.toString('hex', 0, 2)}:${bytes.toString('hex', 2, 4)}`
}

/** The shortest usual writing (RFC 5952). */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups: string[] = []
  for (let at = 0; at < 16; at += 2) groups.push((((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16))
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

/** `10.0.0.1/8`; without a length the whole address counts. `default` is `0.0.0.0/0`. */
export function parsePrefix(prefix: string): Prefix {
  if (prefix === 'default') return { family: AF_INET, bytes: Buffer.alloc(4), length: 0 }
  const [address = '', lengthText] = prefix.split('/')
  const bytes = addressBytes(address)
  const most = bytes.length * 8
  const length = lengthText === undefined ? most : Number(lengthText)
  if (!Number.isInteger(length) || length < 0 || length > most) throw errnoFault('EINVAL', `read '${prefix}' as an address with a prefix length`)
  return { family: bytes.length === 4 ? AF_INET : AF_INET6, bytes, length }
}

export function macBytes(mac: string): Buffer {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) throw errnoFault('EINVAL', `read '${mac}' as a MAC address`)
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}
