/**
 * Which objects a controller's selector makes its own: those it controls and that match stay; those that no longer match
 * are released; orphans that match are adopted, but only after a fresh read says that the owner still is who it was and
 * is not being deleted (kubernetes#42639: a stale owner adopting would resurrect dependents of a deleted one).
 */
import { isFault } from '#base/fault.ts'
import type { Stored, StoredObject } from '#schema/kind.ts'
import { selects } from '#schema/selector.ts'
import type { ReadCache } from '../client/cache.ts'
import type { Client, ClientKind } from '../contract/client.ts'
import { adoptionPatch, controllerIndex, controllerReference, releasePatch } from './ownership.ts'
import type { LabelSelector } from '../api/meta/v1/label-selector.ts'

export interface AdoptionOptions<O extends ClientKind, K extends ClientKind> {
  readonly client: Client
  readonly ownerKind: O
  readonly owner: Stored<O>
  readonly kind: K
  /** Has the index `controllerIndex`. */
  readonly cache: ReadCache<Stored<K>>
  readonly selector: LabelSelector
  /** Finished pods are not worth adopting. */
  readonly adoptable?: (object: Stored<K>) => boolean
}

/** The objects that belong to `owner`, after adopting and releasing what needs it. */
export async function claim<O extends ClientKind, K extends ClientKind>(options: AdoptionOptions<O, K>): Promise<Stored<K>[]> {
  const { client, kind, cache, selector, adoptable } = options
  const owner: StoredObject = options.owner
  const { uid, namespace = '' } = owner.metadata
  const claimed: Stored<K>[] = []
  for (const object of cache.byIndex(controllerIndex, uid)) {
    if (selects(selector, object.metadata?.labels ?? {})) claimed.push(object)
    else if (owner.metadata.deletionTimestamp === undefined) await release(client, kind, object, uid)
  }
  if (owner.metadata.deletionTimestamp !== undefined) return claimed
  const orphans = cache
    .byIndex(controllerIndex, `orphan/${namespace}`)
    .filter((object) => object.metadata?.deletionTimestamp === undefined && selects(selector, object.metadata?.labels ?? {}) && adoptable?.(object) !== false)
  if (orphans.length === 0 || !(await isStillOwner(options))) return claimed
  for (const orphan of orphans) {
    const adopted = await adopt(options, orphan)
    if (adopted !== undefined) claimed.push(adopted)
  }
  return claimed
}

async function isStillOwner<O extends ClientKind, K extends ClientKind>(options: AdoptionOptions<O, K>): Promise<boolean> {
  const owner: StoredObject = options.owner
  const { namespace, name, uid } = owner.metadata
  try {
    const fresh: StoredObject = await options.client.get(options.ownerKind, { namespace, name })
    return fresh.metadata.uid === uid && fresh.metadata.deletionTimestamp === undefined
  } catch (error) {
    if (isFault(error, 'notFound')) return false
    throw error
  }
}

async function adopt<O extends ClientKind, K extends ClientKind>(options: AdoptionOptions<O, K>, orphan: StoredObject): Promise<Stored<K> | undefined> {
  const { namespace, name } = orphan.metadata
  const patch = adoptionPatch(orphan, controllerReference(options.ownerKind, options.owner))
  try {
    return await options.client.patch(options.kind, { namespace, name }, patch, { type: 'strategic' })
  } catch (error) {
    // Gone, or by now another object: not ours.
    if (isFault(error, 'notFound') || isFault(error, 'conflict') || isFault(error, 'unprocessable')) return undefined
    throw error
  }
}

async function release(client: Client, kind: ClientKind, object: StoredObject, ownerUid: string): Promise<void> {
  const { namespace, name } = object.metadata
  try {
    await client.patch(kind, { namespace, name }, releasePatch(object, ownerUid), { type: 'strategic' })
  } catch (error) {
    if (!isFault(error, 'notFound') && !isFault(error, 'conflict') && !isFault(error, 'unprocessable')) throw error
  }
}
