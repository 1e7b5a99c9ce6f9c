/** PodTemplateSpec, core/v1: what workloads make pods from. */
import type { Out } from '#schema/vocabulary.ts'
import { object } from '#schema/vocabulary.ts'
import { podSpec } from './pod-spec.ts'
import { templateMeta } from '../../meta/v1/object-meta.ts'

export const podTemplateSpec = object(
  'core.v1.PodTemplateSpec',
  {
    metadata: templateMeta.always().proto(1).doc('Labels and annotations of the pods.'),
    spec: podSpec.always().proto(2).doc('What the pods should be.'),
  },
  { doc: 'What pods are made from: labels and a spec.' },
)
export interface PodTemplateSpec extends Out<typeof podTemplateSpec> {}
