/** The parts of roles and their bindings, rbac.authorization.k8s.io/v1. */
import type { Out } from '#schema/vocabulary.ts'
import { listOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { labelSelector } from '../../meta/v1/label-selector.ts'

export const policyRule = object(
  'rbac.v1.PolicyRule',
  {
    verbs: listOf(string()).proto(1).doc('Verbs that are allowed; * for all.'),
    apiGroups: listOf(string()).omitEmpty().proto(2).doc('Groups of the resources; "" is the core group, * all.'),
    resources: listOf(string()).omitEmpty().proto(3).doc('Plurals, with a subresource as pods/log; * for all.'),
    resourceNames: listOf(string()).omitEmpty().proto(4).doc('Only these objects; empty for all.'),
    nonResourceURLs: listOf(string()).omitEmpty().proto(5).doc('Paths that are no resources; a * at the end stands for the rest. Cluster roles only.'),
  },
  { doc: 'Something that is allowed.' },
)
export interface PolicyRule extends Out<typeof policyRule> {}

export const aggregationRule = object(
  'rbac.v1.AggregationRule',
  { clusterRoleSelectors: listOf(labelSelector).omitEmpty().proto(1).doc('Cluster roles that match any of these are included.') },
  { doc: 'Makes a cluster role of others.' },
)
export interface AggregationRule extends Out<typeof aggregationRule> {}

export const subject = object(
  'rbac.v1.Subject',
  {
    kind: oneOf('User', 'Group', 'ServiceAccount').proto(1).doc('User, Group or ServiceAccount.'),
    apiGroup: string()
      .omitEmpty()
      .default((parent) => (parent['kind'] === 'ServiceAccount' ? undefined : 'rbac.authorization.k8s.io'))
      .proto(2)
      .doc('Group of the subject: "" for service accounts.'),
    name: string().proto(3).doc('Name of the subject.'),
    namespace: string().omitEmpty().proto(4).doc('Namespace of a service account.'),
  },
  { atomic: true, doc: 'Somebody.' },
)
export interface Subject extends Out<typeof subject> {}

export const roleRef = object(
  'rbac.v1.RoleRef',
  {
    apiGroup: string().default('rbac.authorization.k8s.io').proto(1).doc('rbac.authorization.k8s.io'),
    kind: oneOf('Role', 'ClusterRole').proto(2).doc('Role or ClusterRole.'),
    name: string().proto(3).doc('Name of the role.'),
  },
  { atomic: true, doc: 'The role that is bound.' },
)
export interface RoleRef extends Out<typeof roleRef> {}
