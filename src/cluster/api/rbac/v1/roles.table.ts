/** Columns of roles and their bindings. */
import { ageColumn, defineTable, nameColumn, text, wide } from '#schema/table.ts'
import type { Subject } from './policy-rule.ts'
import { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from './roles.ts'

type Binding = RoleBinding | ClusterRoleBinding

const named = (kind: Subject['kind']) => ({ subjects }: Binding): string =>
  (subjects ?? []).filter((subject) => subject.kind === kind).map(({ namespace, name }) => (namespace === undefined ? name : `${namespace}/${name}`)).join(', ')
const createdAt = text<Role | ClusterRole>('Created At', 'When the role was created.', ({ metadata }) => metadata.creationTimestamp)
const granted = text<Binding>('Role', 'The role that is granted.', ({ roleRef }) => `${roleRef.kind}/${roleRef.name}`)
const who = [
  wide<Binding>('Users', 'Users it is granted to.', named('User')),
  wide<Binding>('Groups', 'Groups it is granted to.', named('Group')),
  wide<Binding>('ServiceAccounts', 'Service accounts it is granted to.', named('ServiceAccount')),
]

export const roleTable = defineTable(Role, [nameColumn, createdAt])
export const clusterRoleTable = defineTable(ClusterRole, [nameColumn, createdAt])
export const roleBindingTable = defineTable(RoleBinding, [nameColumn, granted, ageColumn, ...who])
export const clusterRoleBindingTable = defineTable(ClusterRoleBinding, [nameColumn, granted, ageColumn, ...who])
