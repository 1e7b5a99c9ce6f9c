/**
 * The roles that every cluster has (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings): made at the
 * start where they are missing; what an administrator changed stays as it is.
 */
import { isFault } from '#base/fault.ts'
import type { PolicyRule } from '../../api/rbac/v1/policy-rule.ts'
import { ClusterRole, ClusterRoleBinding } from '../../api/rbac/v1/roles.ts'
import type { Client } from '../../contract/client.ts'

const read = ['get', 'list', 'watch'] as const
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'] as const

function on(apiGroup: string, resources: readonly string[], verbs: readonly string[]): PolicyRule {
  return { apiGroups: [apiGroup], resources, verbs }
}

const workloads = ['daemonsets', 'deployments', 'deployments/scale', 'replicasets', 'replicasets/scale', 'statefulsets', 'statefulsets/scale'] as const
const plainCore = ['configmaps', 'endpoints', 'persistentvolumeclaims', 'pods', 'replicationcontrollers', 'replicationcontrollers/scale', 'serviceaccounts', 'services'] as const

const viewRules: readonly PolicyRule[] = [
  on('', [...plainCore, 'bindings', 'events', 'limitranges', 'namespaces', 'namespaces/status', 'pods/log', 'pods/status', 'resourcequotas', 'services/status'], read),
  on('apps', [...workloads, 'controllerrevisions'], read),
  on('autoscaling', ['horizontalpodautoscalers'], read),
  on('batch', ['cronjobs', 'jobs'], read),
  on('discovery.k8s.io', ['endpointslices'], read),
  on('networking.k8s.io', ['ingresses', 'networkpolicies'], read),
  on('policy', ['poddisruptionbudgets'], read),
]
const editRules: readonly PolicyRule[] = [
  on('', ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets', 'services/proxy'], read),
  on('', ['serviceaccounts'], ['impersonate']),
  on('', [...plainCore, 'events', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets', 'services/proxy'], write),
  on('', ['pods/eviction', 'serviceaccounts/token'], ['create']),
  on('apps', [...workloads, 'deployments/rollback'], write),
  on('autoscaling', ['horizontalpodautoscalers'], write),
  on('batch', ['cronjobs', 'jobs'], write),
  on('networking.k8s.io', ['ingresses', 'networkpolicies'], write),
  on('policy', ['poddisruptionbudgets'], write),
  on('coordination.k8s.io', ['leases'], [...read, ...write]),
]
const adminRules: readonly PolicyRule[] = [
  on('authorization.k8s.io', ['localsubjectaccessreviews'], ['create']),
  on('rbac.authorization.k8s.io', ['rolebindings', 'roles'], [...read, ...write]),
]

interface DefaultRole {
  readonly name: string
  readonly rules: readonly PolicyRule[]
  /** Includes the cluster roles that carry this label. */
  readonly aggregates?: string
  readonly labels?: Readonly<Record<string, string>>
}

const aggregateTo = (name: string): string => `rbac.authorization.k8s.io/aggregate-to-${name}`
const discoveryPaths = ['/api', '/api/*', '/apis', '/apis/*', '/healthz', '/livez', '/openapi', '/openapi/*', '/readyz', '/version', '/version/']

const roles: readonly DefaultRole[] = [
  { name: 'cluster-admin', rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }, { nonResourceURLs: ['*'], verbs: ['*'] }] },
  { name: 'admin', rules: [], aggregates: 'admin' },
  { name: 'edit', rules: [], aggregates: 'edit', labels: { [aggregateTo('admin')]: 'true' } },
  { name: 'view', rules: [], aggregates: 'view', labels: { [aggregateTo('edit')]: 'true' } },
  { name: 'system:aggregate-to-admin', rules: adminRules, labels: { [aggregateTo('admin')]: 'true' } },
  { name: 'system:aggregate-to-edit', rules: editRules, labels: { [aggregateTo('edit')]: 'true', [aggregateTo('admin')]: 'true' } },
  { name: 'system:aggregate-to-view', rules: viewRules, labels: { [aggregateTo('view')]: 'true', [aggregateTo('edit')]: 'true', [aggregateTo('admin')]: 'true' } },
  { name: 'system:discovery', rules: [{ nonResourceURLs: discoveryPaths, verbs: ['get'] }] },
  { name: 'system:public-info-viewer', rules: [{ nonResourceURLs: ['/healthz', '/livez', '/readyz', '/version', '/version/'], verbs: ['get'] }] },
  {
    name: 'system:basic-user',
    rules: [on('authorization.k8s.io', ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']), on('authentication.k8s.io', ['selfsubjectreviews'], ['create'])],
  },
  { name: 'system:auth-delegator', rules: [on('authentication.k8s.io', ['tokenreviews'], ['create']), on('authorization.k8s.io', ['subjectaccessreviews'], ['create'])] },
]

const bindings: readonly { readonly name: string; readonly groups: readonly string[] }[] = [
  { name: 'cluster-admin', groups: ['system:masters'] },
  { name: 'system:discovery', groups: ['system:authenticated'] },
  { name: 'system:public-info-viewer', groups: ['system:authenticated', 'system:unauthenticated'] },
  { name: 'system:basic-user', groups: ['system:authenticated'] },
]

const bootstrapping = { 'kubernetes.io/bootstrapping': 'rbac-defaults' }

async function unlessThere(create: () => Promise<unknown>): Promise<void> {
  try {
    await create()
  } catch (error) {
    if (!isFault(error, 'alreadyExists')) throw error
  }
}

/** Makes what is missing. */
export async function ensureDefaultRoles(client: Client): Promise<void> {
  const [knownRoles, knownBindings] = await Promise.all([client.list(ClusterRole), client.list(ClusterRoleBinding)])
  const roleNames = new Set(knownRoles.items.map(({ metadata }) => metadata.name))
  const bindingNames = new Set(knownBindings.items.map(({ metadata }) => metadata.name))
  await Promise.all([
    ...roles
      .filter(({ name }) => !roleNames.has(name))
      .map(({ name, rules, aggregates, labels }) => {
        const aggregationRule = aggregates === undefined ? undefined : { clusterRoleSelectors: [{ matchLabels: { [aggregateTo(aggregates)]: 'true' } }] }
        const shown = aggregates === undefined ? rules : roles.filter((role) => role.labels?.[aggregateTo(aggregates)] === 'true').flatMap((role) => role.rules)
        return unlessThere(() => client.create(ClusterRole, { metadata: { name, labels: { ...bootstrapping, ...labels } }, rules: shown, aggregationRule }))
      }),
    ...bindings
      .filter(({ name }) => !bindingNames.has(name))
      .map(({ name, groups }) =>
        unlessThere(() =>
          client.create(ClusterRoleBinding, { metadata: { name, labels: bootstrapping }, roleRef: { kind: 'ClusterRole', name }, subjects: groups.map((group) => ({ kind: 'Group' as const, name: group })) }),
        ),
      ),
  ])
}
