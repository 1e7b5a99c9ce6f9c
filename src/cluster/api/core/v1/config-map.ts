/** ConfigMap, core/v1: configuration that is not secret, for environment variables and files of pods. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { bool, bytes, mapOf, string } from '#schema/vocabulary.ts'
import { configMapRules, configMapUpdateRules } from './config-rules.ts'

export const ConfigMap = defineKind({
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  shortNames: ['cm'],
  namespaced: true,
  validate: configMapRules,
  validateUpdate: configMapUpdateRules,
  doc: 'Configuration that is not secret, for environment variables and files.',
  fields: {
    immutable: bool().optional().proto(4).doc('True freezes data and binaryData for good.'),
    data: mapOf(string(), { keyFormat: 'configMapKey' }).omitEmpty().proto(2).doc('UTF-8 values by key.'),
    binaryData: mapOf(bytes(), { keyFormat: 'configMapKey' }).omitEmpty().proto(3).doc('Binary values by key, base64. Keys may not repeat those of data.'),
  },
})
export interface ConfigMap extends Stored<typeof ConfigMap> {}
export interface SubmittedConfigMap extends Submitted<typeof ConfigMap> {}
