/**
 * Nobody grants more than he holds: checked when a role is written, and when one is bound
 * (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping).
 */
import { sameJson, type JsonObject } from '#schema/json.ts'
import type { RoleRef } from '../../api/rbac/v1/policy-rule.ts'
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from '../../api/rbac/v1/roles.ts'
import type { Authorizer, UserInfo } from '../../contract/authorizer.ts'
import { asKind } from '../entry.ts'
import { forbidden } from '../refusals.ts'
import type { AdmissionRequest, Strategy } from '../strategy.ts'
import { rulesFor } from './authorizer.ts'
import type { Grants } from './grants.ts'
import { uncovered } from './rules.ts'

const group = 'rbac.authorization.k8s.io'

/** What the check asks; given once the API stands, since both answers come from its caches. */
export interface EscalationPorts {
  readonly grants: Grants
  readonly authorizer: Authorizer
}

type Ports = () => EscalationPorts | undefined

function may({ authorizer }: EscalationPorts, user: UserInfo, verb: string, at: { readonly plural: string; readonly namespace: string; readonly name: string }): boolean {
  return authorizer.authorize({ user, attributes: { verb, group, resource: at.plural, subresource: '', namespace: at.namespace, name: at.name } }).allowed
}

function checkRole(object: JsonObject, request: AdmissionRequest, plural: 'roles' | 'clusterroles', ports: EscalationPorts): void {
  const { metadata, rules } = asKind<Role | ClusterRole>(object)
  const previous = request.previous === undefined ? undefined : asKind<Role | ClusterRole>(request.previous)
  if (previous !== undefined && sameJson(previous.rules, rules)) return
  const missing = uncovered(rulesFor(ports.grants, request.user, request.namespace), rules)
  const aggregates = 'aggregationRule' in object && !sameJson(object['aggregationRule'], request.previous?.['aggregationRule'])
  if (missing === undefined && !aggregates) return
  if (may(ports, request.user, 'escalate', { plural, namespace: request.namespace, name: metadata.name })) return
  const why = missing === undefined ? 'aggregates roles' : `is attempting to grant RBAC permissions not currently held: ${missing}`
  throw forbidden({ group, plural, kind: plural === 'roles' ? 'Role' : 'ClusterRole' }, metadata.name, `user "${request.user.name}" (groups=${JSON.stringify(request.user.groups)}) ${why}`)
}

function checkBinding(object: JsonObject, request: AdmissionRequest, plural: 'rolebindings' | 'clusterrolebindings', ports: EscalationPorts): void {
  const { metadata, roleRef, subjects } = asKind<RoleBinding | ClusterRoleBinding>(object)
  const previous = request.previous === undefined ? undefined : asKind<RoleBinding | ClusterRoleBinding>(request.previous)
  if (previous !== undefined && sameJson(previous.subjects, subjects)) return
  const rules = ports.grants.rulesOf(roleRef, request.namespace)
  const missing = rules === undefined ? `${roleRef.kind} "${roleRef.name}" does not exist` : uncovered(rulesFor(ports.grants, request.user, request.namespace), rules)
  if (missing === undefined || may(ports, request.user, 'bind', { plural: pluralOf(roleRef), namespace: request.namespace, name: roleRef.name })) return
  const kind = plural === 'rolebindings' ? 'RoleBinding' : 'ClusterRoleBinding'
  throw forbidden({ group, plural, kind }, metadata.name, `user "${request.user.name}" (groups=${JSON.stringify(request.user.groups)}) is attempting to grant RBAC permissions not currently held: ${missing}`)
}

function pluralOf({ kind }: RoleRef): string {
  return kind === 'Role' ? 'roles' : 'clusterroles'
}

function checked(check: (object: JsonObject, request: AdmissionRequest, ports: EscalationPorts) => void, ports: Ports): Strategy {
  return {
    admit(object, request) {
      const known = ports()
      if (known !== undefined && !request.user.groups.includes('system:masters')) check(object, request, known)
      return object
    },
  }
}

/** Strategies of the four kinds, by `plural.group`. */
export function rbacStrategies(ports: Ports): Readonly<Record<string, Strategy>> {
  return {
    [`roles.${group}`]: checked((object, request, known) => checkRole(object, request, 'roles', known), ports),
    [`clusterroles.${group}`]: checked((object, request, known) => checkRole(object, request, 'clusterroles', known), ports),
    [`rolebindings.${group}`]: checked((object, request, known) => checkBinding(object, request, 'rolebindings', known), ports),
    [`clusterrolebindings.${group}`]: checked((object, request, known) => checkBinding(object, request, 'clusterrolebindings', known), ports),
  }
}
