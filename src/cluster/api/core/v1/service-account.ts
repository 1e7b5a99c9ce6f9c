/** ServiceAccount, core/v1: the identity that pods act under. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { bool, listBy, listOf } from '#schema/vocabulary.ts'
import { localObjectReference, objectReference } from './object-reference.ts'

export const ServiceAccount = defineKind({
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  shortNames: ['sa'],
  namespaced: true,
  subresources: { others: { token: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest', verbs: ['create'] } } },
  fields: {
    secrets: listBy(['name'], objectReference, { patchKey: 'name' }).omitEmpty().proto(2),
    imagePullSecrets: listOf(localObjectReference).omitEmpty().proto(3),
    automountServiceAccountToken: bool().optional().proto(4),
  },
})
export interface ServiceAccount extends Stored<typeof ServiceAccount> {}
export interface SubmittedServiceAccount extends Submitted<typeof ServiceAccount> {}
