/** Namespace, core/v1: a scope for names. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { listBy, listOf, object, oneOf, string, time } from '#schema/vocabulary.ts'
import { nameLabel, withKubernetesFinalizer } from './namespace-defaults.ts'

export const namespaceSpec = object(
  'core.v1.NamespaceSpec',
  {
    finalizers: listOf(string()).omitEmpty().proto(1).doc('Names that must be taken off before the namespace goes.'),
  },
  { doc: 'Who must finish before the namespace may go.' },
)
export interface NamespaceSpec extends Out<typeof namespaceSpec> {}

export const namespaceCondition = object(
  'core.v1.NamespaceCondition',
  {
    type: string().proto(1).doc('What is observed.'),
    status: oneOf('True', 'False', 'Unknown').proto(2).doc('True, False or Unknown.'),
    lastTransitionTime: time().omitEmpty().proto(4).doc('When the status last changed.'),
    reason: string().omitEmpty().proto(5).doc('Why, in one word.'),
    message: string().omitEmpty().proto(6).doc('Why, for people.'),
  },
  { reported: true, doc: 'What keeps a namespace from going.' },
)
export interface NamespaceCondition extends Out<typeof namespaceCondition> {}

export const namespaceStatus = object(
  'core.v1.NamespaceStatus',
  {
    phase: oneOf('Active', 'Terminating').omitEmpty().default('Active').proto(1).doc('Active or Terminating.'),
    conditions: listBy(['type'], namespaceCondition, { patchKey: 'type' }).omitEmpty().proto(2).doc('What keeps the namespace from going.'),
  },
  { reported: true, doc: 'Whether the namespace is in use or on its way out.' },
)
export interface NamespaceStatus extends Out<typeof namespaceStatus> {}

export const Namespace = defineKind({
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  shortNames: ['ns'],
  namespaced: false,
  nameFormat: 'dnsLabel',
  verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
  complete: nameLabel,
  prepareForCreate: withKubernetesFinalizer,
  subresources: { status: true, others: { finalize: { group: '', version: 'v1', kind: 'Namespace', verbs: ['update'] } } },
  selectable: ['status.phase'],
  doc: 'A scope for names; what is in it goes with it.',
  fields: {
    spec: namespaceSpec.always().proto(2).doc('Who must finish before the namespace may go.'),
    status: namespaceStatus.always().proto(3).doc('Whether the namespace is in use.'),
  },
})
export interface Namespace extends Stored<typeof Namespace> {}
export interface SubmittedNamespace extends Submitted<typeof Namespace> {}
