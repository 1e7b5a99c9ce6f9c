/**
 * Who holds which rules: the bindings and roles in the watch caches, indexed by subject. The index is made anew when one of them has changed
 * and somebody asks; there are few, and they change seldom.
 */
import { selects, type LabelSelectorLike } from '#schema/selector.ts'
import type { PolicyRule, RoleRef, Subject } from '../../api/rbac/v1/policy-rule.ts'
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from '../../api/rbac/v1/roles.ts'
import type { UserInfo } from '../../contract/authorizer.ts'
import { asKind } from '../entry.ts'
import type { Surroundings } from '../strategy.ts'

const group = 'rbac.authorization.k8s.io'

/** Rules that hold in `namespace`, or everywhere when it is ''. `source` tells where they come from. */
export interface Grant {
  readonly namespace: string
  readonly rules: readonly PolicyRule[]
  readonly source: string
}

export interface Grants {
  /** Everything that is granted to a user, by name or by group. */
  of(user: UserInfo): readonly Grant[]
  /** The rules of a role; an aggregating cluster role's are those of all that it selects. Undefined: there is no such role. */
  rulesOf(ref: Pick<RoleRef, 'kind' | 'name'>, namespace: string): readonly PolicyRule[] | undefined
}

function subjectKey({ kind, name, namespace }: Subject): string {
  return kind === 'ServiceAccount' ? `User system:serviceaccount:${namespace ?? ''}:${name}` : `${kind} ${name}`
}

function effectiveRules(role: ClusterRole, all: readonly ClusterRole[]): readonly PolicyRule[] {
  const { aggregationRule } = role
  if (aggregationRule === undefined) return role.rules
  const chosen = all.filter(({ metadata }) => metadata.name !== role.metadata.name && (aggregationRule.clusterRoleSelectors ?? []).some((selector) => selects(selector as LabelSelectorLike, metadata.labels)))
  // Its own rules are a copy of theirs, for people to read.
  return chosen.flatMap(({ rules }) => rules)
}

/** `changes` grows whenever a role or binding changes. */
export function grants(surroundings: Surroundings, changes: () => number): Grants {
  let [madeAt, bySubject, clusterRoles]: [number, Map<string, Grant[]>, Map<string, readonly PolicyRule[]>] = [-1, new Map(), new Map()]

  const rulesOf: Grants['rulesOf'] = ({ kind, name }, namespace) => {
    refresh()
    if (kind === 'ClusterRole') return clusterRoles.get(name)
    const role = surroundings.object({ group, plural: 'roles' }, { namespace, name })
    return role === undefined ? undefined : asKind<Role>(role).rules
  }
  const grant = (subjects: readonly Subject[] | undefined, ref: RoleRef, at: { readonly namespace: string; readonly source: string }): void => {
    const rules = rulesOf(ref, at.namespace)
    if (rules === undefined) return
    for (const subject of subjects ?? []) {
      const key = subjectKey(subject)
      const known = bySubject.get(key) ?? []
      known.push({ ...at, rules, source: `RBAC: allowed by ${at.source} of ${ref.kind} "${ref.name}" to ${subject.kind} "${subject.name}"` })
      bySubject.set(key, known)
    }
  }
  const refresh = (): void => {
    if (madeAt === changes()) return
    madeAt = changes()
    bySubject = new Map()
    const roles = [...surroundings.objects({ group, plural: 'clusterroles' })].map((object) => asKind<ClusterRole>(object))
    clusterRoles = new Map(roles.map((role) => [role.metadata.name, effectiveRules(role, roles)]))
    for (const object of surroundings.objects({ group, plural: 'clusterrolebindings' })) {
      const { metadata, subjects, roleRef } = asKind<ClusterRoleBinding>(object)
      grant(subjects, roleRef, { namespace: '', source: `ClusterRoleBinding "${metadata.name}"` })
    }
    for (const object of surroundings.objects({ group, plural: 'rolebindings' })) {
      const { metadata, subjects, roleRef } = asKind<RoleBinding>(object)
      grant(subjects, roleRef, { namespace: metadata.namespace, source: `RoleBinding "${metadata.name}/${metadata.namespace}"` })
    }
  }
  return {
    rulesOf,
    of({ name, groups }) {
      refresh()
      return [`User ${name}`, ...groups.map((own) => `Group ${own}`)].flatMap((key) => bySubject.get(key) ?? [])
    },
  }
}
