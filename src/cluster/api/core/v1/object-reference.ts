/** References from one object to another, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { object, string } from '#schema/vocabulary.ts'

export const objectReference = object(
  'core.v1.ObjectReference',
  {
    kind: string().omitEmpty().proto(1),
    namespace: string().omitEmpty().proto(2),
    name: string().omitEmpty().proto(3),
    uid: string().omitEmpty().proto(4),
    apiVersion: string().omitEmpty().proto(5),
    resourceVersion: string().omitEmpty().proto(6),
    fieldPath: string().omitEmpty().proto(7),
  },
  { atomic: true },
)
export interface ObjectReference extends Out<typeof objectReference> {}

export const localObjectReference = object(
  'core.v1.LocalObjectReference',
  {
    name: string().omitEmpty().proto(1),
  },
  { atomic: true },
)
export interface LocalObjectReference extends Out<typeof localObjectReference> {}

export const typedLocalObjectReference = object(
  'core.v1.TypedLocalObjectReference',
  {
    apiGroup: string().optional().proto(1),
    kind: string().proto(2),
    name: string().proto(3),
  },
  { atomic: true },
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
)
export interface TypedObjectReference extends Out<typeof typedObjectReference> {}
