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
    accessModes: listOf(oneOf('ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod')).omitEmpty().proto(1).doc('ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod.'),
    selector: labelSelector.optional().proto(4).doc('Labels of the volumes that will do.'),
    resources: volumeResourceRequirements.always().proto(2).doc('How much storage.'),
    volumeName: string().omitEmpty().proto(3).doc('Volume the claim is bound to.'),
    storageClassName: string().optional().proto(5).doc('Storage class to take it from.'),
    volumeMode: oneOf('Block', 'Filesystem').optional().default('Filesystem').proto(6).doc('Filesystem or Block.'),
    dataSource: typedLocalObjectReference.optional().proto(7).doc('What to fill the volume from.'),
    dataSourceRef: typedObjectReference.optional().proto(8).doc('What to fill the volume from, of any kind.'),
    volumeAttributesClassName: string().optional().proto(9),
  },
  { doc: 'What storage is asked for.' },
)
export interface PersistentVolumeClaimSpec extends Out<typeof persistentVolumeClaimSpec> {}

export const persistentVolumeClaimTemplate = object(
  'core.v1.PersistentVolumeClaimTemplate',
  {
    metadata: templateMeta.always().proto(1).doc('Labels and annotations of the claim.'),
    spec: persistentVolumeClaimSpec.proto(2).doc('What storage is asked for.'),
  },
  { doc: 'The claim to make.' },
)
export interface PersistentVolumeClaimTemplate extends Out<typeof persistentVolumeClaimTemplate> {}
