/** ObjectMeta and its neighbours, meta/v1. Their definitions stand in the schema room, whose folds need them. */
export type { ManagedFieldsEntry, NamespacedMeta, ObjectMeta, OwnerReference, SubmittedMeta, TemplateMeta } from '#schema/object-meta.ts'
export { managedFieldsEntry, objectMeta, ownerReference, templateMeta } from '#schema/object-meta.ts'
