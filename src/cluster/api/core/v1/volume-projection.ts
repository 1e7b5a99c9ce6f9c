/** Sources of configuration that volumes show as files, core/v1: config maps, secrets, downward API, tokens, and all of them projected into one. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, int32, int64, listOf, mapOf, object, string, within } from '#schema/vocabulary.ts'
import { objectFieldSelector, resourceFieldSelector } from './env.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const keyToPath = object(
  'core.v1.KeyToPath',
  {
    key: string().proto(1),
    path: string().proto(2),
    mode: int32(0, 0o777).optional().proto(3),
    user: int64().optional().proto(4),
  },
)
export interface KeyToPath extends Out<typeof keyToPath> {}

export const secretVolumeSource = object(
  'core.v1.SecretVolumeSource',
  {
    secretName: string().omitEmpty().proto(1),
    items: listOf(keyToPath).omitEmpty().proto(2),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(3),
    optional: bool().optional().proto(4),
    defaultUser: int64().optional().proto(5),
  },
)
export interface SecretVolumeSource extends Out<typeof secretVolumeSource> {}

export const configMapVolumeSource = object(
  'core.v1.ConfigMapVolumeSource',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    items: listOf(keyToPath).omitEmpty().proto(2),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(3),
    optional: bool().optional().proto(4),
    defaultUser: int64().optional().proto(5),
  },
)
export interface ConfigMapVolumeSource extends Out<typeof configMapVolumeSource> {}

export const downwardAPIVolumeFile = object(
  'core.v1.DownwardAPIVolumeFile',
  {
    path: string().proto(1),
    fieldRef: objectFieldSelector.optional().proto(2),
    resourceFieldRef: resourceFieldSelector.optional().proto(3),
    mode: int32(0, 0o777).optional().proto(4),
    user: int64().optional().proto(5),
  },
)
export interface DownwardAPIVolumeFile extends Out<typeof downwardAPIVolumeFile> {}

export const downwardAPIVolumeSource = object(
  'core.v1.DownwardAPIVolumeSource',
  {
    items: listOf(downwardAPIVolumeFile).omitEmpty().proto(1),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(2),
    defaultUser: int64().optional().proto(3),
  },
)
export interface DownwardAPIVolumeSource extends Out<typeof downwardAPIVolumeSource> {}

export const secretProjection = object(
  'core.v1.SecretProjection',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    items: listOf(keyToPath).omitEmpty().proto(2),
    optional: bool().optional().proto(4),
  },
)
export interface SecretProjection extends Out<typeof secretProjection> {}

export const downwardAPIProjection = object(
  'core.v1.DownwardAPIProjection',
  {
    items: listOf(downwardAPIVolumeFile).omitEmpty().proto(1),
  },
)
export interface DownwardAPIProjection extends Out<typeof downwardAPIProjection> {}

export const configMapProjection = object(
  'core.v1.ConfigMapProjection',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    items: listOf(keyToPath).omitEmpty().proto(2),
    optional: bool().optional().proto(4),
  },
)
export interface ConfigMapProjection extends Out<typeof configMapProjection> {}

export const serviceAccountTokenProjection = object(
  'core.v1.ServiceAccountTokenProjection',
  {
    audience: string().omitEmpty().proto(1),
    expirationSeconds: int64(600, 4294967296).optional().default(3600).proto(2),
    path: string().proto(3),
    user: int64().optional().proto(4),
  },
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
    secret: secretProjection.optional().proto(1),
    downwardAPI: downwardAPIProjection.optional().proto(2),
    configMap: configMapProjection.optional().proto(3),
    serviceAccountToken: serviceAccountTokenProjection.optional().proto(4),
    clusterTrustBundle: clusterTrustBundleProjection.optional().proto(5),
    podCertificate: podCertificateProjection.optional().proto(6),
  },
)
export interface VolumeProjection extends Out<typeof volumeProjection> {}

export const projectedVolumeSource = object(
  'core.v1.ProjectedVolumeSource',
  {
    sources: listOf(volumeProjection).always().proto(1),
    defaultMode: int32(0, 0o777).optional().default(0o644).proto(2),
    defaultUser: int64().optional().proto(3),
  },
)
export interface ProjectedVolumeSource extends Out<typeof projectedVolumeSource> {}
