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
  doc: 'An identity that pods act under.',
  fields: {
    secrets: listBy(['name'], objectReference, { patchKey: 'name' }).omitEmpty().proto(2).doc('Secrets its pods may use.'),
    imagePullSecrets: listOf(localObjectReference).omitEmpty().proto(3).doc('Credentials for registries that its pods get.'),
    automountServiceAccountToken: bool().optional().proto(4).doc('False leaves tokens out of its pods.'),
  },
})
export interface ServiceAccount extends Stored<typeof ServiceAccount> {}
export interface SubmittedServiceAccount extends Submitted<typeof ServiceAccount> {}
