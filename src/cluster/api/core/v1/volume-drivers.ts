/** Volume sources of network storage and cloud providers, core/v1. Stored and answered; nothing here mounts them yet. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, listOf, mapOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { localObjectReference } from './object-reference.ts'

export const gcePersistentDiskVolumeSource = object(
  'core.v1.GCEPersistentDiskVolumeSource',
  {
    pdName: string().proto(1),
    fsType: string().omitEmpty().proto(2),
    partition: int32().omitEmpty().proto(3),
    readOnly: bool().omitEmpty().proto(4),
  },
)
export interface GCEPersistentDiskVolumeSource extends Out<typeof gcePersistentDiskVolumeSource> {}

export const awsElasticBlockStoreVolumeSource = object(
  'core.v1.AWSElasticBlockStoreVolumeSource',
  {
    volumeID: string().proto(1),
    fsType: string().omitEmpty().proto(2),
    partition: int32().omitEmpty().proto(3),
    readOnly: bool().omitEmpty().proto(4),
  },
)
export interface AWSElasticBlockStoreVolumeSource extends Out<typeof awsElasticBlockStoreVolumeSource> {}

export const gitRepoVolumeSource = object(
  'core.v1.GitRepoVolumeSource',
  {
    repository: string().proto(1),
    revision: string().omitEmpty().proto(2),
    directory: string().omitEmpty().proto(3),
  },
)
export interface GitRepoVolumeSource extends Out<typeof gitRepoVolumeSource> {}

export const nfsVolumeSource = object(
  'core.v1.NFSVolumeSource',
  {
    server: string().proto(1).doc('Host name or address of the server.'),
    path: string().proto(2).doc('Exported directory.'),
    readOnly: bool().omitEmpty().proto(3).doc('True mounts it read-only.'),
  },
  { doc: 'A directory of an NFS server.' },
)
export interface NFSVolumeSource extends Out<typeof nfsVolumeSource> {}

export const iscsiVolumeSource = object(
  'core.v1.ISCSIVolumeSource',
  {
    targetPortal: string().proto(1),
    iqn: string().proto(2),
    lun: int32().proto(3),
    iscsiInterface: string().omitEmpty().default('default').proto(4),
    fsType: string().omitEmpty().proto(5),
    readOnly: bool().omitEmpty().proto(6),
    portals: listOf(string()).omitEmpty().proto(7),
    chapAuthDiscovery: bool().omitEmpty().proto(8),
    chapAuthSession: bool().omitEmpty().proto(11),
    secretRef: localObjectReference.optional().proto(10),
    initiatorName: string().optional().proto(12),
  },
)
export interface ISCSIVolumeSource extends Out<typeof iscsiVolumeSource> {}

export const glusterfsVolumeSource = object(
  'core.v1.GlusterfsVolumeSource',
  {
    endpoints: string().proto(1),
    path: string().proto(2),
    readOnly: bool().omitEmpty().proto(3),
  },
)
export interface GlusterfsVolumeSource extends Out<typeof glusterfsVolumeSource> {}

export const rbdVolumeSource = object(
  'core.v1.RBDVolumeSource',
  {
    monitors: listOf(string()).proto(1),
    image: string().proto(2),
    fsType: string().omitEmpty().proto(3),
    pool: string().omitEmpty().default('rbd').proto(4),
    user: string().omitEmpty().default('admin').proto(5),
    keyring: string().omitEmpty().default('/etc/ceph/keyring').proto(6),
    secretRef: localObjectReference.optional().proto(7),
    readOnly: bool().omitEmpty().proto(8),
  },
)
export interface RBDVolumeSource extends Out<typeof rbdVolumeSource> {}

export const flexVolumeSource = object(
  'core.v1.FlexVolumeSource',
  {
    driver: string().proto(1),
    fsType: string().omitEmpty().proto(2),
    secretRef: localObjectReference.optional().proto(3),
    readOnly: bool().omitEmpty().proto(4),
    options: mapOf(string()).omitEmpty().proto(5),
  },
)
export interface FlexVolumeSource extends Out<typeof flexVolumeSource> {}

export const cinderVolumeSource = object(
  'core.v1.CinderVolumeSource',
  {
    volumeID: string().proto(1),
    fsType: string().omitEmpty().proto(2),
    readOnly: bool().omitEmpty().proto(3),
    secretRef: localObjectReference.optional().proto(4),
  },
)
export interface CinderVolumeSource extends Out<typeof cinderVolumeSource> {}

export const cephFSVolumeSource = object(
  'core.v1.CephFSVolumeSource',
  {
    monitors: listOf(string()).proto(1),
    path: string().omitEmpty().proto(2),
    user: string().omitEmpty().proto(3),
    secretFile: string().omitEmpty().proto(4),
    secretRef: localObjectReference.optional().proto(5),
    readOnly: bool().omitEmpty().proto(6),
  },
)
export interface CephFSVolumeSource extends Out<typeof cephFSVolumeSource> {}

export const flockerVolumeSource = object(
  'core.v1.FlockerVolumeSource',
  {
    datasetName: string().omitEmpty().proto(1),
    datasetUUID: string().omitEmpty().proto(2),
  },
)
export interface FlockerVolumeSource extends Out<typeof flockerVolumeSource> {}

export const fcVolumeSource = object(
  'core.v1.FCVolumeSource',
  {
    targetWWNs: listOf(string()).omitEmpty().proto(1),
    lun: int32().optional().proto(2),
    fsType: string().omitEmpty().proto(3),
    readOnly: bool().omitEmpty().proto(4),
    wwids: listOf(string()).omitEmpty().proto(5),
  },
)
export interface FCVolumeSource extends Out<typeof fcVolumeSource> {}

export const azureFileVolumeSource = object(
  'core.v1.AzureFileVolumeSource',
  {
    secretName: string().proto(1),
    shareName: string().proto(2),
    readOnly: bool().omitEmpty().proto(3),
  },
)
export interface AzureFileVolumeSource extends Out<typeof azureFileVolumeSource> {}

export const vsphereVirtualDiskVolumeSource = object(
  'core.v1.VsphereVirtualDiskVolumeSource',
  {
    volumePath: string().proto(1),
    fsType: string().omitEmpty().proto(2),
    storagePolicyName: string().omitEmpty().proto(3),
    storagePolicyID: string().omitEmpty().proto(4),
  },
)
export interface VsphereVirtualDiskVolumeSource extends Out<typeof vsphereVirtualDiskVolumeSource> {}

export const quobyteVolumeSource = object(
  'core.v1.QuobyteVolumeSource',
  {
    registry: string().proto(1),
    volume: string().proto(2),
    readOnly: bool().omitEmpty().proto(3),
    user: string().omitEmpty().proto(4),
    group: string().omitEmpty().proto(5),
    tenant: string().omitEmpty().proto(6),
  },
)
export interface QuobyteVolumeSource extends Out<typeof quobyteVolumeSource> {}

export const azureDiskVolumeSource = object(
  'core.v1.AzureDiskVolumeSource',
  {
    diskName: string().proto(1),
    diskURI: string().proto(2),
    cachingMode: oneOf('None', 'ReadOnly', 'ReadWrite').optional().default('ReadWrite').proto(3),
    fsType: string().optional().default('ext4').proto(4),
    readOnly: bool().optional().default(false).proto(5),
    kind: oneOf('Shared', 'Dedicated', 'Managed').optional().default('Shared').proto(6),
  },
)
export interface AzureDiskVolumeSource extends Out<typeof azureDiskVolumeSource> {}

export const photonPersistentDiskVolumeSource = object(
  'core.v1.PhotonPersistentDiskVolumeSource',
  {
    pdID: string().proto(1),
    fsType: string().omitEmpty().proto(2),
  },
)
export interface PhotonPersistentDiskVolumeSource extends Out<typeof photonPersistentDiskVolumeSource> {}

export const portworxVolumeSource = object(
  'core.v1.PortworxVolumeSource',
  {
    volumeID: string().proto(1),
    fsType: string().omitEmpty().proto(2),
    readOnly: bool().omitEmpty().proto(3),
  },
)
export interface PortworxVolumeSource extends Out<typeof portworxVolumeSource> {}

export const scaleIOVolumeSource = object(
  'core.v1.ScaleIOVolumeSource',
  {
    gateway: string().proto(1),
    system: string().proto(2),
    secretRef: localObjectReference.optional().proto(3),
    sslEnabled: bool().omitEmpty().proto(4),
    protectionDomain: string().omitEmpty().proto(5),
    storagePool: string().omitEmpty().proto(6),
    storageMode: string().omitEmpty().default('ThinProvisioned').proto(7),
    volumeName: string().omitEmpty().proto(8),
    fsType: string().omitEmpty().default('xfs').proto(9),
    readOnly: bool().omitEmpty().proto(10),
  },
)
export interface ScaleIOVolumeSource extends Out<typeof scaleIOVolumeSource> {}

export const storageOSVolumeSource = object(
  'core.v1.StorageOSVolumeSource',
  {
    volumeName: string().omitEmpty().proto(1),
    volumeNamespace: string().omitEmpty().proto(2),
    fsType: string().omitEmpty().proto(3),
    readOnly: bool().omitEmpty().proto(4),
    secretRef: localObjectReference.optional().proto(5),
  },
)
export interface StorageOSVolumeSource extends Out<typeof storageOSVolumeSource> {}

export const csiVolumeSource = object(
  'core.v1.CSIVolumeSource',
  {
    driver: string().proto(1).doc('Name of the driver.'),
    readOnly: bool().optional().proto(2).doc('True mounts it read-only.'),
    fsType: string().optional().proto(3).doc('File system to expect.'),
    volumeAttributes: mapOf(string()).omitEmpty().proto(4).doc('Settings for the driver.'),
    nodePublishSecretRef: localObjectReference.optional().proto(5).doc('Secret for the driver.'),
  },
  { doc: 'A volume that a CSI driver makes for this pod.' },
)
export interface CSIVolumeSource extends Out<typeof csiVolumeSource> {}
