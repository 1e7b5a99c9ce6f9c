/**
 * The one collector of blobs: what no root names is removed. Roots are images, manifests of the registry and leases, which
 * whoever is between storing a blob and naming it holds.
 */
import { isFault } from '#base/fault.ts'
import type { Digest } from '../digest.ts'
import type { BlobIngester, BlobReader, BlobRemover } from './contract.ts'

/** Blobs that work in progress needs. Leases end with the process; what is left behind then is collected later. */
export class BlobLeases {
  readonly #held = new Map<Digest, number>()

  hold(digest: Digest): Disposable {
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1)
    let released = false
    return {
      [Symbol.dispose]: () => {
        if (released) return
        released = true
        const count = this.#held.get(digest) ?? 1
        if (count === 1) this.#held.delete(digest)
        else this.#held.set(digest, count - 1)
      },
    }
  }

  isHeld(digest: Digest): boolean {
    return this.#held.has(digest)
  }
}

export type BlobRoots = () => AsyncIterable<Digest> | Iterable<Digest>

export interface CollectOptions {
  readonly blobs: Pick<BlobReader, 'list'> & BlobRemover
  readonly roots: readonly BlobRoots[]
  readonly leases: BlobLeases
  /** Blobs committed after this instant (ms since the epoch) are spared: their owner may be about to name them. */
  readonly committedBeforeMs: number
}

/** Answers how many bytes were freed. Candidates are listed before the roots, so that what is named meanwhile is safe. */
export async function collectBlobs(options: CollectOptions): Promise<number> {
  const candidates = new Set<Digest>()
  for await (const blob of options.blobs.list()) if (blob.committedAtMs < options.committedBeforeMs) candidates.add(blob.digest)
  if (candidates.size > 0) for (const roots of options.roots) for await (const digest of roots()) candidates.delete(digest)
  let freed = 0
  for (const digest of candidates) {
    if (options.leases.isHeld(digest)) continue
    // Who has linked it since it was listed has made it young before (`keep`), and then it stays.
    freed += (await options.blobs.remove(digest, options)) ?? 0
  }
  return freed
}

/** Throws ingests away that nobody has touched since `touchedBeforeMs`, but for those `spared` by their id: uploads and downloads that were given up. Answers the bytes. */
export async function sweepIngests(blobs: BlobIngester, touchedBeforeMs: number, spared: ReadonlySet<string> = new Set()): Promise<number> {
  let freed = 0
  for await (const left of blobs.abandoned()) {
    if (left.touchedAtMs >= touchedBeforeMs || spared.has(left.id)) continue
    try {
      await using ingest = await blobs.resume(left.id)
      freed += ingest.offset
    } catch (error) {
      // Somebody else took it up, or ended it.
      if (!isFault(error, 'conflict') && !isFault(error, 'notFound')) throw error
    }
  }
  return freed
}
