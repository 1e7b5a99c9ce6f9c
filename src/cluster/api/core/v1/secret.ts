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
  doc: 'Confidential data, for environment variables and files. Values are base64.',
  fields: {
    immutable: bool().optional().proto(5).doc('True freezes the data for good.'),
    data: mapOf(bytes(), { keyFormat: 'configMapKey' }).omitEmpty().confidential().proto(2).doc('Values by key, base64.'),
    stringData: mapOf(string(), { keyFormat: 'configMapKey' }).omitEmpty().confidential().proto(4).doc('Values by key as plain text, for writing only.'),
    type: string().omitEmpty().default('Opaque').immutable().proto(3).doc('What the secret is for; Opaque is anything.'),
  },
})
export interface Secret extends Stored<typeof Secret> {}
export interface SubmittedSecret extends Submitted<typeof Secret> {}
