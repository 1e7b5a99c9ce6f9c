/** Secret, core/v1: confidential data for pods. Values never go into logs or messages. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { bool, bytes, mapOf, string } from '#schema/vocabulary.ts'
import { secretRules, secretUpdateRules } from './config-rules.ts'
import { foldStringData } from './secret-defaults.ts'

export const Secret = defineKind({
  group: '',
  version: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  namespaced: true,
  complete: foldStringData,
  selectable: ['type'],
  validate: secretRules,
  validateUpdate: secretUpdateRules,
  fields: {
    immutable: bool().optional().proto(5),
    data: mapOf(bytes(), { keyFormat: 'configMapKey' }).omitEmpty().confidential().proto(2),
    stringData: mapOf(string(), { keyFormat: 'configMapKey' }).omitEmpty().confidential().proto(4),
    type: string().omitEmpty().default('Opaque').immutable().proto(3),
  },
})
export interface Secret extends Stored<typeof Secret> {}
export interface SubmittedSecret extends Submitted<typeof Secret> {}
