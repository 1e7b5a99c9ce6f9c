/** The claim that an ephemeral volume makes, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { listOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { typedLocalObjectReference, typedObjectReference } from './object-reference.ts'
import { volumeResourceRequirements } from './resources.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'
import { templateMeta } from '../../meta/v1/object-meta.ts'

export const persistentVolumeClaimSpec = object(
  'core.v1.PersistentVolumeClaimSpec',
  {
    accessModes: listOf(oneOf('ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod')).omitEmpty().proto(1),
    selector: labelSelector.optional().proto(4),
    resources: volumeResourceRequirements.always().proto(2),
    volumeName: string().omitEmpty().proto(3),
    storageClassName: string().optional().proto(5),
    volumeMode: oneOf('Block', 'Filesystem').optional().default('Filesystem').proto(6),
    dataSource: typedLocalObjectReference.optional().proto(7),
    dataSourceRef: typedObjectReference.optional().proto(8),
    volumeAttributesClassName: string().optional().proto(9),
  },
  { doc: 'What storage is asked for.' },
)
export interface PersistentVolumeClaimSpec extends Out<typeof persistentVolumeClaimSpec> {}

export const persistentVolumeClaimTemplate = object(
  'core.v1.PersistentVolumeClaimTemplate',
  {
    metadata: templateMeta.always().proto(1),
    spec: persistentVolumeClaimSpec.proto(2),
  },
  { doc: 'The claim to make.' },
)
export interface PersistentVolumeClaimTemplate extends Out<typeof persistentVolumeClaimTemplate> {}
