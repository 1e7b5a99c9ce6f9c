/** Scale, autoscaling/v1: the replica count of anything that has a `scale` subresource. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { int32, object, string } from '#schema/vocabulary.ts'

export const scaleSpec = object(
  'autoscaling.v1.ScaleSpec',
  {
    replicas: int32(0).omitEmpty().default(0).proto(1).doc('How many replicas are wanted.'),
  },
  { doc: 'How many replicas are wanted.' },
)
export interface ScaleSpec extends Out<typeof scaleSpec> {}

export const scaleStatus = object(
  'autoscaling.v1.ScaleStatus',
  {
    replicas: int32().proto(1).doc('How many replicas there are.'),
    selector: string().omitEmpty().proto(2).doc('Which pods they are, as a label query.'),
  },
  { reported: true, doc: 'How many replicas there are.' },
)
export interface ScaleStatus extends Out<typeof scaleStatus> {}

export const Scale = defineKind({
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  plural: 'scales',
  namespaced: true,
  verbs: ['get', 'patch', 'update'],
  doc: 'The number of replicas of something scalable.',
  fields: {
    spec: scaleSpec.always().proto(2),
    status: scaleStatus.always().proto(3),
  },
})
export interface Scale extends Stored<typeof Scale> {}
export interface SubmittedScale extends Submitted<typeof Scale> {}
