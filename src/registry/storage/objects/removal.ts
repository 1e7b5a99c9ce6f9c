/**
 * Removing an object only while it is unchanged, in a storage that removes whatever stands under a key. Who removes first says so
 * beside (`<key>~<token>`), looks whether the object is still the one he means, removes it and takes his word back. Who writes or
 * renews looks for such words afterwards; finding some, he waits until they are gone and looks whether his object still is there.
 * One of the two always sees the other, whatever happens between their steps.
 */
import { sleep } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { uuid4 } from '#base/random.ts'
import type { Random } from '#base/random.ts'
import type { ObjectStore } from './contract.ts'

/** Stands in the keys of removers' words, and in no key of ours. */
export const wordMark = '~'
/** Later than this after his word a remover gives up. */
const removerMs = 20_000
/** Who waits takes a word for left by a crash after this long, however slowly the remover's last request was answered. */
const waitMs = 180_000
const pollMs = 50

export interface RemovalParts {
  readonly objects: ObjectStore
  readonly clock: Clock
  readonly random: Random
}

/** Removes the object if it still has this etag; false when not. */
export async function removeUnchanged({ objects, clock, random }: RemovalParts, key: string, etag: string): Promise<boolean> {
  const word = `${key}${wordMark}${uuid4(random)}`
  const saidAtMs = clock.monotonicMs()
  await objects.put(word, Buffer.alloc(0))
  try {
    const found = await objects.stat(key)
    if (found?.etag !== etag || clock.monotonicMs() - saidAtMs > removerMs) return false
    await objects.delete(key)
    return true
  } finally {
    await objects.delete(word)
  }
}

/** After a write: waits for who may be removing what was written. True when it is still there. */
export async function outlives({ objects, clock }: RemovalParts, key: string): Promise<boolean> {
  for await (const word of objects.list(key + wordMark)) {
    const untilMs = clock.monotonicMs() + waitMs
    while ((await objects.stat(word.key)) !== undefined) {
      if (clock.monotonicMs() > untilMs) await objects.delete(word.key)
      else await sleep(clock, pollMs)
    }
  }
  // Also without a word: whoever said one may have taken it back by now.
  return (await objects.stat(key)) !== undefined
}
