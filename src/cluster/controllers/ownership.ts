/** Owner references as controllers use them ("Owners and Dependents" in the Kubernetes documentation). */
import type { StoredObject } from '#schema/kind.ts'
import type { OwnerReference } from '#schema/object-meta.ts'
import type { ClientKind } from '../contract/client.ts'

/** The one owner that manages the object. */
export function controllerOf(object: StoredObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true)
}

function apiVersionOfKind(kind: ClientKind): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
}

/** The reference a controller puts on what it creates. */
export function controllerReference(kind: ClientKind, owner: StoredObject): OwnerReference {
  const { name, uid } = owner.metadata
  return { apiVersion: apiVersionOfKind(kind), kind: kind.kind, name, uid, controller: true, blockOwnerDeletion: true }
}

/** Index: the uid of the controlling owner, `orphan/<namespace>` where there is none. */
export const controllerIndex = 'controller'

export function controllerIndexValues(object: StoredObject): readonly string[] {
  return [controllerOf(object)?.uid ?? `orphan/${object.metadata.namespace ?? ''}`]
}

/** Strategic merge patch that makes `owner` the controller; refused where the object's uid is another by now. */
export function adoptionPatch(object: StoredObject, reference: OwnerReference): object {
  return { metadata: { uid: object.metadata.uid, ownerReferences: [reference] } }
}

/** Strategic merge patch that takes the owner out. */
export function releasePatch(object: StoredObject, ownerUid: string): object {
  return { metadata: { uid: object.metadata.uid, ownerReferences: [{ $patch: 'delete', uid: ownerUid }] } }
}
