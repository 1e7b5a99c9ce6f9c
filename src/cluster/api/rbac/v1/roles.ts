/** Roles and their bindings, rbac.authorization.k8s.io/v1: who may do what (Kubernetes documentation, "Using RBAC Authorization"). */
import type { FaultCause } from '#base/fault.ts'
import { forbidden, required } from '#schema/cause.ts'
import type { JsonObject } from '#schema/json.ts'
import { isJsonArray, isJsonObject } from '#schema/json.ts'
import type { Stored } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { listOf } from '#schema/vocabulary.ts'
import { aggregationRule, policyRule, roleRef, subject } from './policy-rule.ts'

const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1', nameFormat: 'pathSegment' } as const
const rules = listOf(policyRule).always().proto(2).doc('What is allowed.')

const isFilled = (value: unknown): boolean => isJsonArray(value) && value.length > 0

/** A rule names verbs, and either resources with their groups or paths; paths are the whole cluster's. */
function ruleCauses({ rules: given }: JsonObject, clusterWide: boolean): FaultCause[] {
  return (isJsonArray(given) ? given : []).flatMap((rule, index): FaultCause[] => {
    if (!isJsonObject(rule)) return []
    const at = `rules[${index}]`
    if (!isFilled(rule['verbs'])) return [required(`${at}.verbs`, 'verbs must contain at least one value')]
    if (isFilled(rule['nonResourceURLs'])) {
      if (!clusterWide) return [forbidden(`${at}.nonResourceURLs`, 'namespaced rules cannot apply to non-resource URLs')]
      if (isFilled(rule['apiGroups']) || isFilled(rule['resources'])) return [forbidden(`${at}.nonResourceURLs`, 'rules cannot apply to both regular resources and non-resource URLs')]
      return []
    }
    const missing = ['apiGroups', 'resources'].filter((field) => !isFilled(rule[field]))
    return missing.map((field) => required(`${at}.${field}`, 'resource rules must supply at least one'))
  })
}

/** Service accounts live in a namespace; a role is bound in its own namespace only. */
function bindingCauses({ subjects, roleRef: ref }: JsonObject, clusterWide: boolean): FaultCause[] {
  const causes = (isJsonArray(subjects) ? subjects : []).flatMap((given, index) =>
    isJsonObject(given) && given['kind'] === 'ServiceAccount' && (given['namespace'] ?? '') === '' ? [required(`subjects[${index}].namespace`)] : [],
  )
  const wrong = clusterWide && isJsonObject(ref) && ref['kind'] !== 'ClusterRole'
  return wrong ? [...causes, forbidden('roleRef.kind', 'a ClusterRoleBinding binds ClusterRoles only')] : causes
}

export const Role = defineKind({
  ...rbac,
  kind: 'Role',
  plural: 'roles',
  namespaced: true,
  doc: 'What is allowed in one namespace, for bindings to grant.',
  validate: (role) => ruleCauses(role as JsonObject, false),
  fields: { rules },
})
export interface Role extends Stored<typeof Role> {}

export const ClusterRole = defineKind({
  ...rbac,
  kind: 'ClusterRole',
  plural: 'clusterroles',
  namespaced: false,
  doc: 'What is allowed in the whole cluster, or in a namespace where a RoleBinding grants it.',
  validate: (role) => ruleCauses(role as JsonObject, true),
  fields: { rules, aggregationRule: aggregationRule.optional().proto(3).doc('Other cluster roles that this one includes.') },
})
export interface ClusterRole extends Stored<typeof ClusterRole> {}

const subjects = listOf(subject).omitEmpty().proto(2).doc('To whom.')
const boundRole = roleRef.immutable().proto(3).doc('Which role. Cannot be changed: make another binding.')

export const RoleBinding = defineKind({
  ...rbac,
  kind: 'RoleBinding',
  plural: 'rolebindings',
  namespaced: true,
  doc: 'Grants a role to somebody in one namespace.',
  validate: (binding) => bindingCauses(binding as JsonObject, false),
  fields: { subjects, roleRef: boundRole },
})
export interface RoleBinding extends Stored<typeof RoleBinding> {}

export const ClusterRoleBinding = defineKind({
  ...rbac,
  kind: 'ClusterRoleBinding',
  plural: 'clusterrolebindings',
  namespaced: false,
  doc: 'Grants a cluster role to somebody everywhere.',
  validate: (binding) => bindingCauses(binding as JsonObject, true),
  fields: { subjects, roleRef: boundRole },
})
export interface ClusterRoleBinding extends Stored<typeof ClusterRoleBinding> {}
