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
  fields: {
    immutable: bool().optional().proto(4),
    data: mapOf(string(), { keyFormat: 'configMapKey' }).omitEmpty().proto(2),
    binaryData: mapOf(bytes(), { keyFormat: 'configMapKey' }).omitEmpty().proto(3),
  },
})
export interface ConfigMap extends Stored<typeof ConfigMap> {}
export interface SubmittedConfigMap extends Submitted<typeof ConfigMap> {}
