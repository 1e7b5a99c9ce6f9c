/** Eviction, policy/v1: asks to delete a pod politely (`pods/eviction`). Never stored. */
import { defineKind } from '#schema/kind.ts'
import { deleteOptions } from '../../meta/v1/options.ts'

export const Eviction = defineKind({
  group: 'policy',
  version: 'v1',
  kind: 'Eviction',
  plural: 'evictions',
  namespaced: true,
  verbs: ['create'],
  doc: 'Asks to delete a pod.',
  fields: { deleteOptions: deleteOptions.optional().proto(2).doc('How to delete it.') },
})
