/** References from one object to another, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { object, string } from '#schema/vocabulary.ts'

export const objectReference = object(
  'core.v1.ObjectReference',
  {
    kind: string().omitEmpty().proto(1).doc('Kind of the object.'),
    namespace: string().omitEmpty().proto(2).doc('Namespace of the object.'),
    name: string().omitEmpty().proto(3).doc('Name of the object.'),
    uid: string().omitEmpty().proto(4).doc('UID of the object.'),
    apiVersion: string().omitEmpty().proto(5).doc('API version of the object.'),
    resourceVersion: string().omitEmpty().proto(6).doc('Version of the object.'),
    fieldPath: string().omitEmpty().proto(7).doc('A part of the object, e.g. spec.containers{web}.'),
  },
  { atomic: true, doc: 'Names an object, or a part of one.' },
)
export interface ObjectReference extends Out<typeof objectReference> {}

export const localObjectReference = object(
  'core.v1.LocalObjectReference',
  {
    name: string().omitEmpty().proto(1).doc('Name of the object.'),
  },
  { atomic: true, doc: 'Names an object in the same namespace.' },
)
export interface LocalObjectReference extends Out<typeof localObjectReference> {}

export const typedLocalObjectReference = object(
  'core.v1.TypedLocalObjectReference',
  {
    apiGroup: string().optional().proto(1),
    kind: string().proto(2),
    name: string().proto(3),
  },
  { atomic: true, doc: 'Names an object of any kind in the same namespace.' },
)
export interface TypedLocalObjectReference extends Out<typeof typedLocalObjectReference> {}

export const typedObjectReference = object(
  'core.v1.TypedObjectReference',
  {
    apiGroup: string().optional().proto(1),
    kind: string().proto(2),
    name: string().proto(3),
    namespace: string().optional().proto(4),
  },
  { doc: 'Names an object of any kind.' },
)
export interface TypedObjectReference extends Out<typeof typedObjectReference> {}
