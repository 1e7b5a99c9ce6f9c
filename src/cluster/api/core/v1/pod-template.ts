/** PodTemplateSpec, core/v1: what workloads make pods from. */
import type { Out } from '#schema/vocabulary.ts'
import { object } from '#schema/vocabulary.ts'
import { podSpec } from './pod-spec.ts'
import { templateMeta } from '../../meta/v1/object-meta.ts'

export const podTemplateSpec = object(
  'core.v1.PodTemplateSpec',
  {
    metadata: templateMeta.always().proto(1),
    spec: podSpec.always().proto(2),
  },
)
export interface PodTemplateSpec extends Out<typeof podTemplateSpec> {}
