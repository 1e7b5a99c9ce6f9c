/** IP and MAC addresses between text and bytes. */
import { bitsOf, formatIp, parseIp } from '#base/ip.ts'
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
  const parsed = parseIp(address)
  if (parsed === undefined) throw errnoFault('EINVAL', `read '${address}' as an IP address`)
  return Buffer.from(parsed.value.toString(16).padStart(bitsOf(parsed.family) / 4, '0'), 'hex')
}

export function addressText(bytes: Uint8Array): string {
  return formatIp({ family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${Buffer.from(bytes).toString('hex')}`) })
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
