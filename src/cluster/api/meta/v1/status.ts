/** Status, meta/v1: how the API server answers refusals, and deletions of objects that are gone at once. */
import type { Out } from '#schema/vocabulary.ts'
import { int32, listOf, object, string } from '#schema/vocabulary.ts'
import { listMeta } from './list-meta.ts'

export const statusCause = object(
  'meta.v1.StatusCause',
  {
    reason: string().omitEmpty().proto(1).doc('Machine-readable cause, e.g. FieldValueInvalid.'),
    message: string().omitEmpty().proto(2).doc('The cause for people.'),
    field: string().omitEmpty().proto(3).doc('Path of the field, e.g. spec.containers[0].image.'),
  },
  { doc: 'One cause among several.' },
)
export interface StatusCause extends Out<typeof statusCause> {}

export const statusDetails = object(
  'meta.v1.StatusDetails',
  {
    name: string().omitEmpty().proto(1).doc('Name of the resource.'),
    group: string().omitEmpty().proto(2).doc('Group of the resource.'),
    kind: string().omitEmpty().proto(3).doc('Kind or plural of the resource.'),
    uid: string().omitEmpty().proto(6).doc('UID of the resource.'),
    causes: listOf(statusCause).omitEmpty().proto(4).doc('What was wrong, one by one.'),
    retryAfterSeconds: int32().omitEmpty().proto(5).doc('Seconds to wait before trying again.'),
  },
  { doc: 'Facts about the refusal.' },
)
export interface StatusDetails extends Out<typeof statusDetails> {}

export const status = object(
  'meta.v1.Status',
  {
    kind: string().always().doc('Status'),
    apiVersion: string().always().doc('v1'),
    metadata: listMeta.always().proto(1).doc('Always empty but for lists.'),
    status: string().omitEmpty().proto(2).doc('Success or Failure.'),
    message: string().omitEmpty().proto(3).doc('What happened, for people.'),
    reason: string().omitEmpty().proto(4).doc('What happened, in one word for machines.'),
    details: statusDetails.optional().proto(5).doc('Facts about it.'),
    code: int32().omitEmpty().proto(6).doc('HTTP status.'),
  },
  { doc: 'Outcome of a request that returns no object.' },
)
export interface Status extends Out<typeof status> {}
