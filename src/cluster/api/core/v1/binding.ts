/** Binding, core/v1: how a scheduler puts a pod on a node (`pods/binding`). */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { bindingRules } from './node-rules.ts'
import { objectReference } from './object-reference.ts'

export const Binding = defineKind({
  group: '',
  version: 'v1',
  kind: 'Binding',
  plural: 'bindings',
  namespaced: true,
  verbs: ['create'],
  validate: bindingRules,
  doc: 'Puts a pod on a node.',
  fields: {
    target: objectReference.proto(2).doc('The node.'),
  },
})
export interface Binding extends Stored<typeof Binding> {}
export interface SubmittedBinding extends Submitted<typeof Binding> {}
