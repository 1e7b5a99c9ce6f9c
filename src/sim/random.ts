/**
 * Seeded randomness for the simulator: the same seed gives the same bytes on every machine and Node version.
 * xoshiro128** (Blackman and Vigna, "Scrambled linear pseudorandom number generators"), seeded through splitmix32.
 * Never for secrets.
 */
import type { Random } from '#base/random.ts'
import { randomInt } from '#base/random.ts'

export interface SeededRandom extends Random {
  /** A uniform integer in [0, bound). */
  int(bound: number): number
  /** True with probability `p`. */
  chance(p: number): boolean
  /** A uniform integer in [low, high]. */
  between(low: number, high: number): number
  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T
  /** An independent stream, so that drawing more in one place does not shift what another place draws. */
  fork(label: string): SeededRandom
}

function splitmix32(state: number): () => number {
  return () => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
}

const rotateLeft = (x: number, k: number): number => ((x << k) | (x >>> (32 - k))) >>> 0

function xoshiro128(seed: number): () => number {
  const next = splitmix32(seed)
  let [a, b, c, d] = [next(), next(), next(), next()]
  return () => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0
    const t = (b << 9) >>> 0
    c = (c ^ a) >>> 0
    d = (d ^ b) >>> 0
    b = (b ^ c) >>> 0
    a = (a ^ d) >>> 0
    c = (c ^ t) >>> 0
    d = rotateLeft(d, 11)
    return result
  }
}

/** FNV-1a, to mix a label into a seed. */
function hashLabel(seed: number, label: string): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0
  for (const byte of Buffer.from(label)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash
}

export function seededRandom(seed: number): SeededRandom {
  const next = xoshiro128(seed)
  const random: SeededRandom = {
    bytes(length) {
      const bytes = Buffer.alloc(Math.ceil(length / 4) * 4)
      for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32BE(next(), at)
      return bytes.subarray(0, length)
    },
    int: (bound) => randomInt(random, bound),
    chance: (p) => next() / 2 ** 32 < p,
    between: (low, high) => low + randomInt(random, high - low + 1),
    pick(items) {
      const item = items[randomInt(random, items.length)]
      if (item === undefined) throw new RangeError('pick: the list is empty')
      return item
    },
    fork: (label) => seededRandom(hashLabel(seed, label)),
  }
  return random
}
