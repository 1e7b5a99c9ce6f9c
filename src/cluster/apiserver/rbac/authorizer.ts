/** The RBAC authorizer, behind the built-in one: what that does not allow, a role may. */
import type { PolicyRule } from '../../api/rbac/v1/policy-rule.ts'
import { isResourceAttributes, type Authorizer, type UserInfo } from '../../contract/authorizer.ts'
import type { Grants } from './grants.ts'
import { allows } from './rules.ts'

const everything: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
]

/** All rules that hold for a user in a namespace: for SelfSubjectRulesReview, and to see whether he may grant others. */
export function rulesFor(grants: Grants, user: UserInfo, namespace: string): readonly PolicyRule[] {
  if (user.groups.includes('system:masters')) return everything
  return grants.of(user).filter((grant) => grant.namespace === '' || grant.namespace === namespace).flatMap(({ rules }) => rules)
}

export function rbacAuthorizer(builtin: Authorizer, grants: Grants): Authorizer {
  return {
    authorize(request) {
      const decision = builtin.authorize(request)
      if (decision.allowed) return decision
      const { user, attributes } = request
      const namespace = isResourceAttributes(attributes) ? attributes.namespace : ''
      for (const grant of grants.of(user)) {
        const holds = grant.namespace === '' || (grant.namespace === namespace && isResourceAttributes(attributes))
        if (holds && grant.rules.some((rule) => allows(rule, attributes))) return { allowed: true, reason: grant.source }
      }
      return decision
    },
  }
}
