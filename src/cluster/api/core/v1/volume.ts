/** Volumes of a pod, core/v1: a name and exactly one source. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, dnsLabel, int32, object, oneOf, quantity, string, within } from '#schema/vocabulary.ts'
import { emptyDirUnlessSourced, pullPolicyFor } from './pod-defaults.ts'
import { persistentVolumeClaimTemplate } from './volume-claim.ts'
import {
  awsElasticBlockStoreVolumeSource, azureDiskVolumeSource, azureFileVolumeSource, cephFSVolumeSource, cinderVolumeSource, csiVolumeSource,
  fcVolumeSource, flexVolumeSource, flockerVolumeSource, gcePersistentDiskVolumeSource, gitRepoVolumeSource, glusterfsVolumeSource, iscsiVolumeSource,
  nfsVolumeSource, photonPersistentDiskVolumeSource, portworxVolumeSource, quobyteVolumeSource, rbdVolumeSource, scaleIOVolumeSource,
  storageOSVolumeSource, vsphereVirtualDiskVolumeSource,
} from './volume-drivers.ts'
import { configMapVolumeSource, downwardAPIVolumeSource, projectedVolumeSource, secretVolumeSource } from './volume-projection.ts'

export const hostPathVolumeSource = object(
  'core.v1.HostPathVolumeSource',
  {
    path: string().proto(1).doc('Path on the node.'),
    type: oneOf('', 'DirectoryOrCreate', 'Directory', 'FileOrCreate', 'File', 'Socket', 'CharDevice', 'BlockDevice').optional().default('').proto(2).doc('What must be there, or is made.'),
  },
  { doc: 'A file or directory of the node.' },
)
export interface HostPathVolumeSource extends Out<typeof hostPathVolumeSource> {}

export const emptyDirVolumeSource = object(
  'core.v1.EmptyDirVolumeSource',
  {
    medium: string().omitEmpty().proto(1).doc('Memory keeps it in memory; else it is on the node\'s disk.'),
    sizeLimit: quantity().optional().proto(2).doc('At most so large.'),
    mode: int32().optional().proto(3),
  },
  { doc: 'An empty directory that lives as long as the pod.' },
)
export interface EmptyDirVolumeSource extends Out<typeof emptyDirVolumeSource> {}

export const persistentVolumeClaimVolumeSource = object(
  'core.v1.PersistentVolumeClaimVolumeSource',
  {
    claimName: string().proto(1).doc('Name of the claim.'),
    readOnly: bool().omitEmpty().proto(2).doc('True mounts it read-only.'),
  },
  { doc: 'A claimed persistent volume.' },
)
export interface PersistentVolumeClaimVolumeSource extends Out<typeof persistentVolumeClaimVolumeSource> {}

export const ephemeralVolumeSource = object(
  'core.v1.EphemeralVolumeSource',
  {
    volumeClaimTemplate: persistentVolumeClaimTemplate.optional().proto(1).doc('The claim to make; its name is that of the pod and of the volume.'),
  },
  { doc: 'A claim that is made for this pod and goes with it.' },
)
export interface EphemeralVolumeSource extends Out<typeof ephemeralVolumeSource> {}

export const imageVolumeSource = object(
  'core.v1.ImageVolumeSource',
  {
    reference: string().omitEmpty().proto(1).doc('The image.'),
    pullPolicy: oneOf('Always', 'Never', 'IfNotPresent').omitEmpty().default(pullPolicyFor).proto(2).doc('Always, IfNotPresent or Never.'),
  },
  { doc: 'The content of an image, read-only.' },
)
export interface ImageVolumeSource extends Out<typeof imageVolumeSource> {}

export const volume = object(
  'core.v1.Volume',
  {
    name: dnsLabel().proto(1).doc('Name, unique in the pod.'),
    ...within(2, {
      hostPath: hostPathVolumeSource.optional().proto(1).doc('A file or directory of the node.'),
      emptyDir: emptyDirVolumeSource.optional().proto(2).doc('An empty directory that lives as long as the pod.'),
      gcePersistentDisk: gcePersistentDiskVolumeSource.optional().proto(3),
      awsElasticBlockStore: awsElasticBlockStoreVolumeSource.optional().proto(4),
      gitRepo: gitRepoVolumeSource.optional().proto(5),
      secret: secretVolumeSource.optional().proto(6).doc('Keys of a secret as files.'),
      nfs: nfsVolumeSource.optional().proto(7).doc('A directory of an NFS server.'),
      iscsi: iscsiVolumeSource.optional().proto(8),
      glusterfs: glusterfsVolumeSource.optional().proto(9),
      persistentVolumeClaim: persistentVolumeClaimVolumeSource.optional().proto(10).doc('A claimed persistent volume.'),
      rbd: rbdVolumeSource.optional().proto(11),
      flexVolume: flexVolumeSource.optional().proto(12),
      cinder: cinderVolumeSource.optional().proto(13),
      cephfs: cephFSVolumeSource.optional().proto(14),
      flocker: flockerVolumeSource.optional().proto(15),
      downwardAPI: downwardAPIVolumeSource.optional().proto(16).doc('Fields of the pod as files.'),
      fc: fcVolumeSource.optional().proto(17),
      azureFile: azureFileVolumeSource.optional().proto(18),
      configMap: configMapVolumeSource.optional().proto(19).doc('Keys of a config map as files.'),
      vsphereVolume: vsphereVirtualDiskVolumeSource.optional().proto(20),
      quobyte: quobyteVolumeSource.optional().proto(21),
      azureDisk: azureDiskVolumeSource.optional().proto(22),
      photonPersistentDisk: photonPersistentDiskVolumeSource.optional().proto(23),
      projected: projectedVolumeSource.optional().proto(26).doc('Several sources in one directory.'),
      portworxVolume: portworxVolumeSource.optional().proto(24),
      scaleIO: scaleIOVolumeSource.optional().proto(25),
      storageos: storageOSVolumeSource.optional().proto(27),
      csi: csiVolumeSource.optional().proto(28).doc('A volume that a CSI driver makes for this pod.'),
      ephemeral: ephemeralVolumeSource.optional().proto(29).doc('A claim that is made for this pod.'),
      image: imageVolumeSource.optional().proto(30).doc('The content of an image.'),
    }),
  },
  { retainKeys: true, complete: emptyDirUnlessSourced, doc: 'A named directory that containers of the pod can mount; it has exactly one source.' },
)
export interface Volume extends Out<typeof volume> {}
