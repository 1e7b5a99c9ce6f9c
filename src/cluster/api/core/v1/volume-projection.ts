/** Sources of configuration that volumes show as files, core/v1: config maps, secrets, downward API, tokens, and all of them projected into one. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, int64, listOf, mapOf, object, string, within } from '#schema/vocabulary.ts'
import { objectFieldSelector, resourceFieldSelector } from './env.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const keyToPath = object(
  'core.v1.KeyToPath',
  {
    key: string().proto(1).doc('Key.'),
    path: string().proto(2).doc('File, relative to the volume.'),
    mode: int32(0, 0o777).optional().proto(3).doc('Mode of the file.'),
    user: int64().optional().proto(4),
  },
  { doc: 'Which key becomes which file.' },
)
export interface KeyToPath extends Out<typeof keyToPath> {}

export const secretVolumeSource = object(
  'core.v1.SecretVolumeSource',
  {
    secretName: string().omitEmpty().proto(1).doc('Name of the secret.'),
    items: listOf(keyToPath).omitEmpty().proto(2).doc('Keys to show; all unless given.'),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(3).doc('Mode of the files.'),
    optional: bool().optional().proto(4).doc('True lets the pod start without it.'),
    defaultUser: int64().optional().proto(5),
  },
  { doc: 'Keys of a secret as files.' },
)
export interface SecretVolumeSource extends Out<typeof secretVolumeSource> {}

export const configMapVolumeSource = object(
  'core.v1.ConfigMapVolumeSource',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    items: listOf(keyToPath).omitEmpty().proto(2).doc('Keys to show; all unless given.'),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(3).doc('Mode of the files.'),
    optional: bool().optional().proto(4).doc('True lets the pod start without it.'),
    defaultUser: int64().optional().proto(5),
  },
  { doc: 'Keys of a config map as files.' },
)
export interface ConfigMapVolumeSource extends Out<typeof configMapVolumeSource> {}

export const downwardAPIVolumeFile = object(
  'core.v1.DownwardAPIVolumeFile',
  {
    path: string().proto(1).doc('File, relative to the volume.'),
    fieldRef: objectFieldSelector.optional().proto(2).doc('Field of the pod to show.'),
    resourceFieldRef: resourceFieldSelector.optional().proto(3).doc('Request or limit of a container to show.'),
    mode: int32(0, 0o777).optional().proto(4).doc('Mode of the file.'),
    user: int64().optional().proto(5),
  },
  { doc: 'One file with a field of the pod.' },
)
export interface DownwardAPIVolumeFile extends Out<typeof downwardAPIVolumeFile> {}

export const downwardAPIVolumeSource = object(
  'core.v1.DownwardAPIVolumeSource',
  {
    items: listOf(downwardAPIVolumeFile).omitEmpty().proto(1).doc('The files.'),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(2).doc('Mode of the files.'),
    defaultUser: int64().optional().proto(3),
  },
  { doc: 'Fields of the pod as files.' },
)
export interface DownwardAPIVolumeSource extends Out<typeof downwardAPIVolumeSource> {}

export const secretProjection = object(
  'core.v1.SecretProjection',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    items: listOf(keyToPath).omitEmpty().proto(2).doc('Keys to show; all unless given.'),
    optional: bool().optional().proto(4).doc('True lets the pod start without it.'),
  },
)
export interface SecretProjection extends Out<typeof secretProjection> {}

export const downwardAPIProjection = object(
  'core.v1.DownwardAPIProjection',
  {
    items: listOf(downwardAPIVolumeFile).omitEmpty().proto(1).doc('The files.'),
  },
)
export interface DownwardAPIProjection extends Out<typeof downwardAPIProjection> {}

export const configMapProjection = object(
  'core.v1.ConfigMapProjection',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    items: listOf(keyToPath).omitEmpty().proto(2).doc('Keys to show; all unless given.'),
    optional: bool().optional().proto(4).doc('True lets the pod start without it.'),
  },
)
export interface ConfigMapProjection extends Out<typeof configMapProjection> {}

export const serviceAccountTokenProjection = object(
  'core.v1.ServiceAccountTokenProjection',
  {
    audience: string().omitEmpty().proto(1).doc('Whom the token is for; the API server unless given.'),
    expirationSeconds: int64(600, 4294967296).optional().default(3600).proto(2).doc('Seconds the token is good for.'),
    path: string().proto(3).doc('File, relative to the volume.'),
    user: int64().optional().proto(4),
  },
  { doc: 'A token of the pod\'s service account, renewed before it expires.' },
)
export interface ServiceAccountTokenProjection extends Out<typeof serviceAccountTokenProjection> {}

export const clusterTrustBundleProjection = object(
  'core.v1.ClusterTrustBundleProjection',
  {
    name: string().optional().proto(1),
    signerName: string().optional().proto(2),
    labelSelector: labelSelector.optional().proto(3),
    optional: bool().optional().proto(5),
    path: string().proto(4),
    user: int64().optional().proto(6),
  },
)
export interface ClusterTrustBundleProjection extends Out<typeof clusterTrustBundleProjection> {}

export const podCertificateProjection = object(
  'core.v1.PodCertificateProjection',
  {
    signerName: string().proto(1),
    keyType: string().proto(2),
    maxExpirationSeconds: int32().optional().proto(3),
    credentialBundlePath: string().omitEmpty().proto(4),
    keyPath: string().omitEmpty().proto(5),
    certificateChainPath: string().omitEmpty().proto(6),
    userAnnotations: mapOf(string()).omitEmpty().proto(7),
    user: int64().optional().proto(8),
  },
)
export interface PodCertificateProjection extends Out<typeof podCertificateProjection> {}

export const volumeProjection = object(
  'core.v1.VolumeProjection',
  {
    secret: secretProjection.optional().proto(1).doc('Keys of a secret.'),
    downwardAPI: downwardAPIProjection.optional().proto(2).doc('Fields of the pod.'),
    configMap: configMapProjection.optional().proto(3).doc('Keys of a config map.'),
    serviceAccountToken: serviceAccountTokenProjection.optional().proto(4).doc('A token of the service account.'),
    clusterTrustBundle: clusterTrustBundleProjection.optional().proto(5).doc('Certificates to trust.'),
    podCertificate: podCertificateProjection.optional().proto(6).doc('A certificate for the pod.'),
  },
  { doc: 'One source of a projected volume.' },
)
export interface VolumeProjection extends Out<typeof volumeProjection> {}

export const projectedVolumeSource = object(
  'core.v1.ProjectedVolumeSource',
  {
    sources: listOf(volumeProjection).always().proto(1).doc('The sources.'),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(2).doc('Mode of the files.'),
    defaultUser: int64().optional().proto(3),
  },
  { doc: 'Several sources in one directory.' },
)
export interface ProjectedVolumeSource extends Out<typeof projectedVolumeSource> {}
