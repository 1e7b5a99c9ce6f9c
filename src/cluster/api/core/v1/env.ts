/** Environment variables of containers and where their values come from, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, object, quantity, string, within } from '#schema/vocabulary.ts'

export const objectFieldSelector = object(
  'core.v1.ObjectFieldSelector',
  {
    apiVersion: string().omitEmpty().default('v1').proto(1),
    fieldPath: string().proto(2),
  },
  { atomic: true },
)
export interface ObjectFieldSelector extends Out<typeof objectFieldSelector> {}

export const resourceFieldSelector = object(
  'core.v1.ResourceFieldSelector',
  {
    containerName: string().omitEmpty().proto(1),
    resource: string().proto(2),
    divisor: quantity().always().proto(3),
  },
  { atomic: true },
)
export interface ResourceFieldSelector extends Out<typeof resourceFieldSelector> {}

export const configMapKeySelector = object(
  'core.v1.ConfigMapKeySelector',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    key: string().proto(2),
    optional: bool().optional().proto(3),
  },
  { atomic: true },
)
export interface ConfigMapKeySelector extends Out<typeof configMapKeySelector> {}

export const secretKeySelector = object(
  'core.v1.SecretKeySelector',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    key: string().proto(2),
    optional: bool().optional().proto(3),
  },
  { atomic: true },
)
export interface SecretKeySelector extends Out<typeof secretKeySelector> {}

export const fileKeySelector = object(
  'core.v1.FileKeySelector',
  {
    volumeName: string().proto(1),
    path: string().proto(2),
    key: string().proto(3),
    optional: bool().optional().default(false).proto(4),
  },
  { atomic: true },
)
export interface FileKeySelector extends Out<typeof fileKeySelector> {}

export const envVarSource = object(
  'core.v1.EnvVarSource',
  {
    fieldRef: objectFieldSelector.optional().proto(1),
    resourceFieldRef: resourceFieldSelector.optional().proto(2),
    configMapKeyRef: configMapKeySelector.optional().proto(3),
    secretKeyRef: secretKeySelector.optional().proto(4),
    fileKeyRef: fileKeySelector.optional().proto(5),
  },
)
export interface EnvVarSource extends Out<typeof envVarSource> {}

export const envVar = object(
  'core.v1.EnvVar',
  {
    name: string({ format: 'envVarName' }).proto(1),
    value: string().omitEmpty().proto(2),
    valueFrom: envVarSource.optional().proto(3),
  },
)
export interface EnvVar extends Out<typeof envVar> {}

export const configMapEnvSource = object(
  'core.v1.ConfigMapEnvSource',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    optional: bool().optional().proto(2),
  },
)
export interface ConfigMapEnvSource extends Out<typeof configMapEnvSource> {}

export const secretEnvSource = object(
  'core.v1.SecretEnvSource',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1),
    }),
    optional: bool().optional().proto(2),
  },
)
export interface SecretEnvSource extends Out<typeof secretEnvSource> {}

export const envFromSource = object(
  'core.v1.EnvFromSource',
  {
    prefix: string().omitEmpty().proto(1),
    configMapRef: configMapEnvSource.optional().proto(2),
    secretRef: secretEnvSource.optional().proto(3),
  },
)
export interface EnvFromSource extends Out<typeof envFromSource> {}
