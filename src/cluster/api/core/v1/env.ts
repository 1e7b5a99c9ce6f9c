/** Environment variables of containers and where their values come from, core/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { bool, object, quantity, string, within } from '#schema/vocabulary.ts'

export const objectFieldSelector = object(
  'core.v1.ObjectFieldSelector',
  {
    apiVersion: string().omitEmpty().default('v1').proto(1).doc('Version the path is written for.'),
    fieldPath: string().proto(2).doc('Path of the field, e.g. metadata.labels[\'app\'].'),
  },
  { atomic: true, doc: 'A field of the pod.' },
)
export interface ObjectFieldSelector extends Out<typeof objectFieldSelector> {}

export const resourceFieldSelector = object(
  'core.v1.ResourceFieldSelector',
  {
    containerName: string().omitEmpty().proto(1).doc('Container whose resource is meant; needed in volumes.'),
    resource: string().proto(2).doc('Such as limits.cpu.'),
    divisor: quantity().always().proto(3).doc('Unit the value is counted in.'),
  },
  { atomic: true, doc: 'A resource of a container.' },
)
export interface ResourceFieldSelector extends Out<typeof resourceFieldSelector> {}

export const configMapKeySelector = object(
  'core.v1.ConfigMapKeySelector',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    key: string().proto(2).doc('Key in it.'),
    optional: bool().optional().proto(3).doc('True lets the container start without it.'),
  },
  { atomic: true, doc: 'A key of a config map.' },
)
export interface ConfigMapKeySelector extends Out<typeof configMapKeySelector> {}

export const secretKeySelector = object(
  'core.v1.SecretKeySelector',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    key: string().proto(2).doc('Key in it.'),
    optional: bool().optional().proto(3).doc('True lets the container start without it.'),
  },
  { atomic: true, doc: 'A key of a secret.' },
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
  { atomic: true, doc: 'A variable in a file on a volume.' },
)
export interface FileKeySelector extends Out<typeof fileKeySelector> {}

export const envVarSource = object(
  'core.v1.EnvVarSource',
  {
    fieldRef: objectFieldSelector.optional().proto(1).doc('A field of the pod, such as metadata.name or status.podIP.'),
    resourceFieldRef: resourceFieldSelector.optional().proto(2).doc('A request or limit of a container.'),
    configMapKeyRef: configMapKeySelector.optional().proto(3).doc('A key of a config map.'),
    secretKeyRef: secretKeySelector.optional().proto(4).doc('A key of a secret.'),
    fileKeyRef: fileKeySelector.optional().proto(5).doc('A variable in a file on a volume.'),
  },
  { doc: 'Where the value of a variable comes from; exactly one field.' },
)
export interface EnvVarSource extends Out<typeof envVarSource> {}

export const envVar = object(
  'core.v1.EnvVar',
  {
    name: string({ format: 'envVarName' }).proto(1).doc('Name of the variable.'),
    value: string().omitEmpty().proto(2).doc('Value. $(NAME) is replaced by earlier variables.'),
    valueFrom: envVarSource.optional().proto(3).doc('Where the value comes from instead.'),
  },
  { doc: 'One environment variable: a value or where it comes from.' },
)
export interface EnvVar extends Out<typeof envVar> {}

export const configMapEnvSource = object(
  'core.v1.ConfigMapEnvSource',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    optional: bool().optional().proto(2).doc('True lets the container start without it.'),
  },
  { doc: 'A config map whose keys become variables.' },
)
export interface ConfigMapEnvSource extends Out<typeof configMapEnvSource> {}

export const secretEnvSource = object(
  'core.v1.SecretEnvSource',
  {
    ...within(1, {
      name: string().omitEmpty().proto(1).doc('Name of the object.'),
    }),
    optional: bool().optional().proto(2).doc('True lets the container start without it.'),
  },
  { doc: 'A secret whose keys become variables.' },
)
export interface SecretEnvSource extends Out<typeof secretEnvSource> {}

export const envFromSource = object(
  'core.v1.EnvFromSource',
  {
    prefix: string().omitEmpty().proto(1).doc('Put before each name.'),
    configMapRef: configMapEnvSource.optional().proto(2).doc('The config map.'),
    secretRef: secretEnvSource.optional().proto(3).doc('The secret.'),
  },
  { doc: 'Takes all keys of a config map or secret as variables.' },
)
export interface EnvFromSource extends Out<typeof envFromSource> {}
