/** Volumes of a pod, core/v1: a name and exactly one source. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, dnsLabel, int32, object, oneOf, quantity, string, within } from '#schema/vocabulary.ts'
import { emptyDirUnlessSourced, pullPolicyFor } from './pod-defaults.ts'
import { persistentVolumeClaimTemplate } from './volume-claim.ts'
import { awsElasticBlockStoreVolumeSource, azureDiskVolumeSource, azureFileVolumeSource, cephFSVolumeSource, cinderVolumeSource, csiVolumeSource, fcVolumeSource, flexVolumeSource, flockerVolumeSource, gcePersistentDiskVolumeSource, gitRepoVolumeSource, glusterfsVolumeSource, iscsiVolumeSource, nfsVolumeSource, photonPersistentDiskVolumeSource, portworxVolumeSource, quobyteVolumeSource, rbdVolumeSource, scaleIOVolumeSource, storageOSVolumeSource, vsphereVirtualDiskVolumeSource } from './volume-drivers.ts'
import { configMapVolumeSource, downwardAPIVolumeSource, projectedVolumeSource, secretVolumeSource } from './volume-projection.ts'

export const hostPathVolumeSource = object(
  'core.v1.HostPathVolumeSource',
  {
    path: string().proto(1),
    type: oneOf('', 'DirectoryOrCreate', 'Directory', 'FileOrCreate', 'File', 'Socket', 'CharDevice', 'BlockDevice').optional().default('').proto(2),
  },
)
export interface HostPathVolumeSource extends Out<typeof hostPathVolumeSource> {}

export const emptyDirVolumeSource = object(
  'core.v1.EmptyDirVolumeSource',
  {
    medium: string().omitEmpty().proto(1),
    sizeLimit: quantity().optional().proto(2),
    mode: int32().optional().proto(3),
  },
)
export interface EmptyDirVolumeSource extends Out<typeof emptyDirVolumeSource> {}

export const persistentVolumeClaimVolumeSource = object(
  'core.v1.PersistentVolumeClaimVolumeSource',
  {
    claimName: string().proto(1),
    readOnly: bool().omitEmpty().proto(2),
  },
)
export interface PersistentVolumeClaimVolumeSource extends Out<typeof persistentVolumeClaimVolumeSource> {}

export const ephemeralVolumeSource = object(
  'core.v1.EphemeralVolumeSource',
  {
    volumeClaimTemplate: persistentVolumeClaimTemplate.optional().proto(1),
  },
)
export interface EphemeralVolumeSource extends Out<typeof ephemeralVolumeSource> {}

export const imageVolumeSource = object(
  'core.v1.ImageVolumeSource',
  {
    reference: string().omitEmpty().proto(1),
    pullPolicy: oneOf('Always', 'Never', 'IfNotPresent').omitEmpty().default(pullPolicyFor).proto(2),
  },
)
export interface ImageVolumeSource extends Out<typeof imageVolumeSource> {}

export const volume = object(
  'core.v1.Volume',
  {
    name: dnsLabel().proto(1),
    ...within(2, {
      hostPath: hostPathVolumeSource.optional().proto(1),
      emptyDir: emptyDirVolumeSource.optional().proto(2),
      gcePersistentDisk: gcePersistentDiskVolumeSource.optional().proto(3),
      awsElasticBlockStore: awsElasticBlockStoreVolumeSource.optional().proto(4),
      gitRepo: gitRepoVolumeSource.optional().proto(5),
      secret: secretVolumeSource.optional().proto(6),
      nfs: nfsVolumeSource.optional().proto(7),
      iscsi: iscsiVolumeSource.optional().proto(8),
      glusterfs: glusterfsVolumeSource.optional().proto(9),
      persistentVolumeClaim: persistentVolumeClaimVolumeSource.optional().proto(10),
      rbd: rbdVolumeSource.optional().proto(11),
      flexVolume: flexVolumeSource.optional().proto(12),
      cinder: cinderVolumeSource.optional().proto(13),
      cephfs: cephFSVolumeSource.optional().proto(14),
      flocker: flockerVolumeSource.optional().proto(15),
      downwardAPI: downwardAPIVolumeSource.optional().proto(16),
      fc: fcVolumeSource.optional().proto(17),
      azureFile: azureFileVolumeSource.optional().proto(18),
      configMap: configMapVolumeSource.optional().proto(19),
      vsphereVolume: vsphereVirtualDiskVolumeSource.optional().proto(20),
      quobyte: quobyteVolumeSource.optional().proto(21),
      azureDisk: azureDiskVolumeSource.optional().proto(22),
      photonPersistentDisk: photonPersistentDiskVolumeSource.optional().proto(23),
      projected: projectedVolumeSource.optional().proto(26),
      portworxVolume: portworxVolumeSource.optional().proto(24),
      scaleIO: scaleIOVolumeSource.optional().proto(25),
      storageos: storageOSVolumeSource.optional().proto(27),
      csi: csiVolumeSource.optional().proto(28),
      ephemeral: ephemeralVolumeSource.optional().proto(29),
      image: imageVolumeSource.optional().proto(30),
    }),
  },
  { retainKeys: true, complete: emptyDirUnlessSourced },
)
export interface Volume extends Out<typeof volume> {}
