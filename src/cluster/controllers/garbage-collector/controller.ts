/**
 * Owner references ("Garbage Collection" in the Kubernetes documentation): an object whose owners are all gone is deleted;
 * an owner deleted in the foreground waits until those dependents are gone that block it; an orphaning owner takes itself
 * out of its dependents first.
 *
 * All kinds but events are followed. What a cache does not know is asked of the server before anything is deleted: a
 * cache that lags may miss an owner that is there.
 */
import { assert } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import type { AnyKind, StoredObject } from '#schema/kind.ts'
import type { OwnerReference } from '#schema/object-meta.ts'
import { allKinds, kindNamed } from '../../api/index.ts'
import { Event } from '../../api/core/v1/event.ts'
import { Controller } from '../../client/controller.ts'
import type { Change, Informer } from '../../client/informer.ts'
import type { Outcome } from '../../client/work-queue.ts'
import type { ControllerContext } from '../context.ts'
import { releasePatch } from '../ownership.ts'

const foreground = 'foregroundDeletion'
const orphan = 'orphan'
const ownerIndex = 'owner'
const uidIndex = 'uid'

type OwnerState = 'solid' | 'dangling' | 'waiting'
interface Item {
  readonly kind: AnyKind
  readonly object: StoredObject
}

const collectedKinds = (): readonly AnyKind[] => allKinds.filter((kind) => kind !== Event && kind.viewOf === undefined && ['list', 'watch', 'delete'].every((verb) => kind.verbs.includes(verb)))

const isDeleting = ({ metadata }: StoredObject): boolean => metadata.deletionTimestamp !== undefined
const hasFinalizer = ({ metadata }: StoredObject, name: string): boolean => metadata.finalizers?.includes(name) === true
const waitsForDependents = (object: StoredObject): boolean => isDeleting(object) && hasFinalizer(object, foreground)

export function garbageCollector(context: ControllerContext): Controller {
  const collector = new Collector(context)
  const controller = new Controller({ name: 'garbage-collector', clock: context.clock, log: context.log, reconcile: (key) => collector.reconcile(key), concurrency: 8 })
  for (const [kind, informer] of collector.informers) controller.watch(informer, (change) => collector.keysFor(kind, change))
  return controller
}

class Collector {
  readonly informers = new Map<AnyKind, Informer<StoredObject>>()
  readonly #context: ControllerContext

  constructor(context: ControllerContext) {
    this.#context = context
    for (const kind of collectedKinds()) {
      const informer: Informer<StoredObject> = context.informers.of(kind)
      informer.addIndex(ownerIndex, ({ metadata }) => metadata.ownerReferences?.map(({ uid }) => uid) ?? [])
      informer.addIndex(uidIndex, ({ metadata }) => [metadata.uid])
      this.informers.set(kind, informer)
    }
  }

  /** Itself when it might have lost its owners or is to deal with its dependents; its neighbours when it goes. */
  *keysFor(kind: AnyKind, { key, previous, current }: Change<StoredObject>): Iterable<string> {
    const object = current ?? previous
    if (object === undefined) return
    const owners = object.metadata.ownerReferences ?? []
    if (current === undefined) {
      for (const item of this.#dependents(object.metadata.uid)) yield keyOf(item)
      for (const { uid } of owners) for (const item of this.#byUid(uid)) if (waitsForDependents(item.object)) yield keyOf(item)
      return
    }
    if (isDeleting(current) && (hasFinalizer(current, foreground) || hasFinalizer(current, orphan))) yield keyOf({ kind, object: current })
    const missing = owners.some(({ uid }) => this.#byUid(uid).every(({ object: owner }) => waitsForDependents(owner)))
    if (missing) yield `${kind.apiVersion} ${kind.kind} ${key}`
    // It may have stopped blocking an owner.
    for (const { uid } of previous?.metadata.ownerReferences ?? []) for (const item of this.#byUid(uid)) if (waitsForDependents(item.object)) yield keyOf(item)
  }

  async reconcile(key: string): Promise<Outcome> {
    const [apiVersion = '', kindName = '', objectKey = ''] = key.split(' ')
    const kind = kindNamed(apiVersion, kindName)
    const object = kind === undefined ? undefined : this.informers.get(kind)?.getKey(objectKey)
    if (kind === undefined || object === undefined) return {}
    const item: Item = { kind, object }
    if (isDeleting(object)) {
      if (hasFinalizer(object, orphan)) await this.#orphanDependents(item)
      else if (hasFinalizer(object, foreground)) return this.#deleteDependents(item)
      return {}
    }
    await this.#collect(item)
    return {}
  }

  #byUid(uid: string): Item[] {
    return [...this.informers].flatMap(([kind, informer]) => informer.byIndex(uidIndex, uid).map((object) => ({ kind, object })))
  }

  #dependents(uid: string): Item[] {
    return [...this.informers].flatMap(([kind, informer]) => informer.byIndex(ownerIndex, uid).map((object) => ({ kind, object })))
  }

  /** Deletes the object when no owner is left, else takes out the references to owners that are gone. */
  async #collect({ kind, object: cached }: Item): Promise<void> {
    const { client } = this.#context
    const { namespace, name, uid } = cached.metadata
    if (this.#ownersAreThere(cached)) return
    const object = await this.#fresh(kind, cached)
    const references = object?.metadata.ownerReferences ?? []
    if (object === undefined || references.length === 0 || isDeleting(object)) return
    const states = await Promise.all(references.map((reference) => this.#ownerState(reference, namespace)))
    const gone = references.filter((_, index) => states[index] === 'dangling')
    const waiting = references.filter((_, index) => states[index] === 'waiting')
    if (states.includes('solid')) {
      for (const reference of [...gone, ...waiting]) await ignoringGone(client.patch(kind, { namespace, name }, releasePatch(object, reference.uid), { type: 'strategic' }))
      return
    }
    const propagationPolicy = hasFinalizer(object, orphan) ? 'Orphan' : waiting.length > 0 && this.#dependents(uid).length > 0 ? 'Foreground' : hasFinalizer(object, foreground) ? 'Foreground' : 'Background'
    const { resourceVersion } = object.metadata
    await ignoringGone(client.delete(kind, { namespace, name }, { preconditions: { uid, resourceVersion }, propagationPolicy }))
  }

  /** The caches know every owner, and none waits for its dependents: the ordinary case, which costs no request. */
  #ownersAreThere({ metadata: { ownerReferences, namespace } }: StoredObject): boolean {
    return (ownerReferences ?? []).every(({ uid }) =>
      this.#byUid(uid).some(({ object }) => (object.metadata.namespace === undefined || object.metadata.namespace === namespace) && !waitsForDependents(object)),
    )
  }

  /** What the server has under that name, if it still is the same object. */
  async #fresh(kind: AnyKind, { metadata: { namespace, name, uid } }: StoredObject): Promise<StoredObject | undefined> {
    try {
      const object: StoredObject = await this.#context.client.get(kind, { namespace, name })
      return object.metadata.uid === uid ? object : undefined
    } catch (error) {
      if (isFault(error, 'notFound')) return undefined
      throw error
    }
  }

  async #ownerState(reference: OwnerReference, namespace: string | undefined): Promise<OwnerState> {
    const kind = kindNamed(reference.apiVersion, reference.kind)
    // A kind nobody here knows: its objects may well be there.
    if (kind === undefined) return 'solid'
    const [known] = this.#byUid(reference.uid).filter(({ object }) => object.metadata.namespace === undefined || object.metadata.namespace === namespace)
    if (known !== undefined) return waitsForDependents(known.object) ? 'waiting' : 'solid'
    try {
      const owner: StoredObject = await this.#context.client.get(kind, { namespace: kind.namespaced ? namespace : undefined, name: reference.name })
      if (owner.metadata.uid !== reference.uid) return 'dangling'
      return waitsForDependents(owner) ? 'waiting' : 'solid'
    } catch (error) {
      if (isFault(error, 'notFound')) return 'dangling'
      throw error
    }
  }

  async #orphanDependents({ kind, object }: Item): Promise<void> {
    const { client } = this.#context
    for (const dependent of this.#dependents(object.metadata.uid)) {
      const { namespace, name } = dependent.object.metadata
      await ignoringGone(client.patch(dependent.kind, { namespace, name }, releasePatch(dependent.object, object.metadata.uid), { type: 'strategic' }))
    }
    await this.#removeFinalizer({ kind, object }, orphan)
  }

  async #deleteDependents({ kind, object }: Item): Promise<Outcome> {
    const { client } = this.#context
    const { uid } = object.metadata
    const dependents = this.#dependents(uid)
    const blocks = ({ object: { metadata } }: Item): boolean => metadata.ownerReferences?.some((reference) => reference.uid === uid && reference.blockOwnerDeletion === true) === true
    for (const dependent of dependents) if (!isDeleting(dependent.object)) await this.#collect(dependent)
    if (dependents.some(blocks)) return {}
    // The caches may lag: ask once whether something blocks that we do not see.
    for (const other of this.informers.keys()) {
      if (other.namespaced !== true && kind.namespaced) continue
      const { items } = await client.list(other, { namespace: kind.namespaced ? object.metadata.namespace : undefined })
      if (items.some((found: StoredObject) => blocks({ kind: other, object: found }))) return { requeueAfterMs: 1000 }
    }
    await this.#removeFinalizer({ kind, object }, foreground)
    return {}
  }

  async #removeFinalizer({ kind, object }: Item, finalizer: string): Promise<void> {
    const fresh = await this.#fresh(kind, object)
    if (fresh === undefined || !hasFinalizer(fresh, finalizer)) return
    assert(isDeleting(fresh), `${kind.kind} ${fresh.metadata.name} is not being deleted`)
    const finalizers = fresh.metadata.finalizers?.filter((name) => name !== finalizer) ?? []
    const { namespace, name, resourceVersion } = fresh.metadata
    await ignoringGone(this.#context.client.patch(kind, { namespace, name }, { metadata: { resourceVersion, finalizers: finalizers.length > 0 ? finalizers : null } }, { type: 'merge' }))
  }
}

const keyOf = ({ kind, object: { metadata } }: Item): string => `${kind.apiVersion} ${kind.kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`

/** Somebody else was faster: what we wanted gone is gone. */
async function ignoringGone(write: Promise<unknown>): Promise<void> {
  try {
    await write
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
  }
}
