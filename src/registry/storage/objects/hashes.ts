/**
 * Hashes of uploads under way, as far as this process has seen all their bytes: a cache, so that an upload which stays at one registry
 * need not be read again when it ends. Kept under the last segment they cover.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import type { DigestAlgorithm } from '#oci/digest.ts'
import type { Segment } from '../contract.ts'

const maxRemembered = 1024

export interface RunningHash {
  readonly hash: Hash
  readonly algorithm: DigestAlgorithm
  /** How many bytes it covers. */
  readonly sizeBytes: number
}

export class Hashes {
  readonly #known = new Map<string, RunningHash>()

  /** A hash that goes on after this segment, or starts; undefined when somebody else has seen those bytes. */
  after(segment: Segment | undefined, algorithm: DigestAlgorithm): RunningHash | undefined {
    if (segment === undefined) return { hash: createHash(algorithm), algorithm, sizeBytes: 0 }
    const known = this.#known.get(segment.id)
    return known?.algorithm === algorithm ? { ...known, hash: known.hash.copy() } : undefined
  }

  /** `hash` covers everything up to the end of this segment. */
  remember(segment: Segment, hash: RunningHash): void {
    this.#known.set(segment.id, hash)
    const [oldest] = this.#known.keys()
    if (this.#known.size > maxRemembered && oldest !== undefined) this.#known.delete(oldest)
  }

  forget(segment: Segment): void {
    this.#known.delete(segment.id)
  }
}
