/**
 * Metadata that every object carries (Kubernetes API conventions, "Metadata"). It stands in the schema room because
 * `defineKind` and the folds need it; `cluster/api/meta/v1/` holds the types around it (lists, status, options).
 */
import type { In, Out } from './vocabulary.ts'
import { bool, int64, listBy, listOf, mapOf, object, oneOf, raw, setOf, string, time } from './vocabulary.ts'

export const ownerReference = object(
  'meta.v1.OwnerReference',
  {
    apiVersion: string().proto(5).doc('API version of the owner.'),
    kind: string().proto(1).doc('Kind of the owner.'),
    name: string().proto(3).doc('Name of the owner.'),
    uid: string().proto(4).doc('UID of the owner; an owner re-created under the same name is another owner.'),
    controller: bool().optional().proto(6).doc('True for the one owner that manages this object.'),
    blockOwnerDeletion: bool().optional().proto(7).doc('Foreground deletion of the owner waits until this object is gone.'),
  },
  { atomic: true, doc: 'Names an object that owns this one; when all owners are gone, this object is collected.' },
)
export interface OwnerReference extends Out<typeof ownerReference> {}

export const managedFieldsEntry = object(
  'meta.v1.ManagedFieldsEntry',
  {
    manager: string().omitEmpty().proto(1).doc('Who set the fields.'),
    operation: oneOf('Apply', 'Update').omitEmpty().proto(2).doc('Whether the manager applied or updated.'),
    apiVersion: string().omitEmpty().proto(3).doc('Version of the object that the fields belong to.'),
    time: time().optional().proto(4).doc('When the entry last changed.'),
    fieldsType: string().omitEmpty().proto(6).doc('Format of the field set: FieldsV1.'),
    fieldsV1: raw('FieldsV1').optional().proto(7).doc('The fields, as a tree of paths.'),
    subresource: string().omitEmpty().proto(8).doc('Subresource the fields were set through.'),
  },
  { doc: 'Which manager set which fields, for server-side apply.' },
)
export interface ManagedFieldsEntry extends Out<typeof managedFieldsEntry> {}

/** Fields the server fills in are `assigned` on stored objects; in pod templates and other embedded uses they are not there. */
const shared = {
  generateName: string().omitEmpty().proto(2).doc('Prefix for a name that the server completes with a random suffix.'),
  namespace: string().omitEmpty().immutable().proto(3).doc('Namespace the object lives in; names are unique within it.'),
  selfLink: string().omitEmpty().proto(4).doc('No longer set.'),
  generation: int64().omitEmpty().proto(7).doc('Counts changes of the desired state.'),
  deletionTimestamp: time().optional().proto(9).doc('Set when deletion was asked for; the object goes once its finalizers are empty and its grace is over.'),
  deletionGracePeriodSeconds: int64().optional().proto(10).doc('Seconds of grace before the object is removed.'),
  labels: mapOf(string()).omitEmpty().proto(11).doc('Key-value pairs that selectors match.'),
  annotations: mapOf(string()).omitEmpty().proto(12).doc('Key-value pairs for tools and people; not selectable.'),
  ownerReferences: listBy(['uid'], ownerReference, { patchKey: 'uid' }).omitEmpty().proto(13).doc('Objects that own this one.'),
  finalizers: setOf(string(), { patch: 'merge' }).omitEmpty().proto(14).doc('Names of those who must finish their work before the object may go.'),
  managedFields: listOf(managedFieldsEntry).omitEmpty().proto(17).doc('Who set which fields.'),
}
const name = string().immutable().proto(1).doc('Name of the object, unique among its kind within its namespace.')
const uid = string().immutable().proto(5).doc('Identity of this object in time and space; a re-created object has another.')
const resourceVersion = string().proto(6).doc('Opaque version for optimistic concurrency and watches.')
const creationTimestamp = time().proto(8).doc('When the object was created.')

const metaDoc = { doc: 'What every object carries: names, labels, owners, versions.' }

export const objectMeta = object(
  'meta.v1.ObjectMeta',
  { name: name.assigned(), ...shared, uid: uid.assigned(), resourceVersion: resourceVersion.assigned(), creationTimestamp: creationTimestamp.assigned() },
  metaDoc,
)
/** Stored metadata: name, uid, resourceVersion and creationTimestamp are there. */
export interface ObjectMeta extends Out<typeof objectMeta> {}
export interface SubmittedMeta extends In<typeof objectMeta> {}

/** Metadata of what is embedded and never stored by itself, e.g. a pod template. */
export const templateMeta = object(
  'meta.v1.ObjectMeta',
  { name: name.omitEmpty(), ...shared, uid: uid.omitEmpty(), resourceVersion: resourceVersion.omitEmpty(), creationTimestamp: creationTimestamp.omitEmpty() },
  metaDoc,
)
export interface TemplateMeta extends Out<typeof templateMeta> {}

/** Metadata of a stored object that lives in a namespace. */
export interface NamespacedMeta extends ObjectMeta {
  readonly namespace: string
}
