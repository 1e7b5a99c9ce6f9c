/** Randomness as a port: real in production, seeded in the simulator. */
import { randomBytes } from 'node:crypto'

export interface Random {
  bytes(length: number): Buffer
}

/** Small draws come out of a block, each byte once: asking the kernel costs microseconds every time. */
const blockBytes = 4_096
const largestFromBlock = 64
let block = Buffer.alloc(0)
let used = 0

export const systemRandom: Random = {
  bytes(length) {
    if (length > largestFromBlock) return randomBytes(length)
    if (used + length > block.length) {
      block = randomBytes(blockBytes)
      used = 0
    }
    const drawn = Buffer.from(block.subarray(used, used + length))
    block.fill(0, used, used + length)
    used += length
    return drawn
  },
}

/** A uniform integer in [0, bound). `bound` is at most 2^32. */
export function randomInt(random: Random, bound: number): number {
  const limit = 2 ** 32 - (2 ** 32 % bound)
  for (;;) {
    const value = random.bytes(4).readUInt32BE(0)
    if (value < limit) return value % bound
  }
}

/** Lower-case hex of `length` characters: 64 for container, image and network ids. */
export function randomHex(random: Random, length: number): string {
  return random.bytes(Math.ceil(length / 2)).toString('hex').slice(0, length)
}

/** UUIDv4 (RFC 9562). */
export function uuid4(random: Random): string {
  const bytes = random.bytes(16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** Characters that Kubernetes uses for generated names: no vowels, nothing that looks alike. */
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789'

/** A suffix as `generateName` appends it: five characters unless told otherwise. */
export function nameSuffix(random: Random, length = 5): string {
  let suffix = ''
  while (suffix.length < length) suffix += suffixAlphabet[randomInt(random, suffixAlphabet.length)] ?? ''
  return suffix
}
