/** RBAC: rules allow what they say and no more, grants follow roles and bindings at once, and nobody grants what he does not hold. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { virtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { allKinds } from '../../api/index.ts'
import type { PolicyRule } from '../../api/rbac/v1/policy-rule.ts'
import { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from '../../api/rbac/v1/roles.ts'
import type { Authorizer, UserInfo } from '../../contract/authorizer.ts'
import type { Client } from '../../contract/client.ts'
import { openMemoryStore } from '../../store/memory/store.ts'
import { builtinAuthorizer } from '../access.ts'
import { createApi, type Api } from '../api.ts'
import { localClient } from '../local-client.ts'
import { rbacAuthorizer, rulesFor } from './authorizer.ts'
import { ensureDefaultRoles } from './default-roles.ts'
import type { EscalationPorts } from './escalation.ts'
import { grants } from './grants.ts'
import { allows, uncovered } from './rules.ts'

const pods = (verb: string, more: object = {}): Parameters<typeof allows>[1] => ({ verb, group: '', resource: 'pods', subresource: '', namespace: 'a', name: '', ...more })
const rule = (verbs: readonly string[], resources: readonly string[], more: Partial<PolicyRule> = {}): PolicyRule => ({ verbs, resources, apiGroups: [''], ...more })

test('a rule allows its verbs on its resources, subresources by name or *, objects by name, paths by prefix', () => {
  assert.ok(allows(rule(['get'], ['pods']), pods('get')))
  assert.ok(!allows(rule(['get'], ['pods']), pods('list')))
  assert.ok(!allows(rule(['get'], ['pods']), pods('get', { subresource: 'log' })))
  assert.ok(allows(rule(['get'], ['pods/log']), pods('get', { subresource: 'log' })))
  assert.ok(allows(rule(['get'], ['*/log']), pods('get', { subresource: 'log' })))
  assert.ok(!allows(rule(['get'], ['pods'], { apiGroups: ['apps'] }), pods('get')))
  assert.ok(allows(rule(['*'], ['*'], { apiGroups: ['*'] }), pods('impersonate', { subresource: 'x' })))
  assert.ok(allows(rule(['get'], ['pods'], { resourceNames: ['web'] }), pods('get', { name: 'web' })))
  assert.ok(!allows(rule(['list'], ['pods'], { resourceNames: ['web'] }), pods('list')))
  assert.ok(allows({ verbs: ['get'], nonResourceURLs: ['/api/*'] }, { verb: 'get', path: '/api/v1' }))
  assert.ok(!allows({ verbs: ['get'], nonResourceURLs: ['/api/*'] }, { verb: 'get', path: '/apis' }))
})

test('what is covered is allowed: a role that may be granted allows nothing that its granter may not do', () => {
  const words = (...all: readonly string[]): fc.Arbitrary<string[]> => fc.uniqueArray(fc.constantFrom(...all), { minLength: 1, maxLength: 2 })
  const anyRule = fc.record({
    verbs: words('get', 'list', '*'),
    apiGroups: words('', 'apps', '*'),
    resources: words('pods', 'pods/log', 'secrets', '*', '*/log'),
    resourceNames: fc.oneof(fc.constant(undefined), words('a', 'b')),
  })
  const request = fc.record({ verb: fc.constantFrom('get', 'list', 'watch'), group: fc.constantFrom('', 'apps', 'batch'), resource: fc.constantFrom('pods', 'secrets', 'nodes'), subresource: fc.constantFrom('', 'log', 'exec'), namespace: fc.constant('n'), name: fc.constantFrom('', 'a', 'c') })
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 3 }), fc.array(anyRule, { minLength: 1, maxLength: 2 }), request, (held, wanted, attributes) => {
      if (uncovered(held, wanted) !== undefined || !wanted.some((own) => allows(own, attributes))) return
      assert.ok(held.some((own) => allows(own, attributes)), JSON.stringify({ held, wanted, attributes }))
    }),
    { numRuns: 3_000 },
  )
})

interface World {
  readonly api: Api
  readonly admin: Client
  readonly authorizer: Authorizer
  readonly may: (user: UserInfo, verb: string, resource: string, namespace: string) => boolean
  readonly rules: (user: UserInfo, namespace: string) => readonly PolicyRule[]
}

async function withWorld(body: (world: World) => Promise<void>): Promise<void> {
  let escalation: EscalationPorts | undefined
  const api = await createApi({ store: openMemoryStore(), kinds: allKinds, clock: virtualClock(), random: seededRandom(1), log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] }, escalation: () => escalation })
  let changes = 0
  for (const resource of api.resources.all) if (resource.kind.group === Role.group) api.listen(resource, () => (changes += 1))
  const held = grants(api.surroundings, () => changes)
  const authorizer = rbacAuthorizer(builtinAuthorizer(api.surroundings), held)
  escalation = { grants: held, authorizer }
  const admin = localClient({ api })
  await ensureDefaultRoles(admin)
  for (const name of ['a', 'b']) await admin.create(Namespace, { metadata: { name } })
  const may: World['may'] = (user, verb, resource, namespace) => authorizer.authorize({ user, attributes: { verb, group: '', resource, subresource: '', namespace, name: '' } }).allowed
  try {
    await body({ api, admin, authorizer, may, rules: (user, namespace) => rulesFor(held, user, namespace) })
  } finally {
    await api.close()
  }
}

const user = (name: string, ...groups: readonly string[]): UserInfo => ({ name, groups: [...groups, 'system:authenticated'] })
const alice = user('alice')

test('a binding grants at once, in its namespace only, and its end takes the right away at once', () =>
  withWorld(async ({ admin, may }) => {
    assert.equal(may(alice, 'list', 'pods', 'a'), false)
    await admin.create(RoleBinding, { metadata: { name: 'viewers', namespace: 'a' }, roleRef: { kind: 'ClusterRole', name: 'view' }, subjects: [{ kind: 'User', name: 'alice' }] })
    assert.equal(may(alice, 'list', 'pods', 'a'), true)
    assert.equal(may(alice, 'list', 'secrets', 'a'), false)
    assert.equal(may(alice, 'delete', 'pods', 'a'), false)
    assert.equal(may(alice, 'list', 'pods', 'b'), false)
    assert.equal(may(alice, 'list', 'nodes', ''), false)
    await admin.delete(RoleBinding, { namespace: 'a', name: 'viewers' })
    assert.equal(may(alice, 'list', 'pods', 'a'), false)
  }))

test('service accounts and groups are subjects, aggregation follows labels, roles change under their bindings', () =>
  withWorld(async ({ admin, may }) => {
    const robot = user('system:serviceaccount:a:robot', 'system:serviceaccounts', 'system:serviceaccounts:a')
    await admin.create(Role, { metadata: { name: 'reader', namespace: 'a' }, rules: [rule(['get'], ['secrets'])] })
    await admin.create(RoleBinding, { metadata: { name: 'reader', namespace: 'a' }, roleRef: { kind: 'Role', name: 'reader' }, subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'a' }] })
    assert.equal(may(robot, 'get', 'secrets', 'a'), true)
    await admin.patch(Role, { namespace: 'a', name: 'reader' }, { rules: [rule(['list'], ['secrets'])] }, { type: 'merge' })
    assert.equal(may(robot, 'get', 'secrets', 'a'), false)
    await admin.create(ClusterRoleBinding, { metadata: { name: 'devs' }, roleRef: { kind: 'ClusterRole', name: 'edit' }, subjects: [{ kind: 'Group', name: 'dev' }] })
    assert.equal(may(user('bob', 'dev'), 'create', 'pods', 'b'), true)
    assert.equal(may(user('bob', 'dev'), 'create', 'gadgets', 'b'), false)
    await admin.create(ClusterRole, { metadata: { name: 'gadgets', labels: { 'rbac.authorization.k8s.io/aggregate-to-edit': 'true' } }, rules: [rule(['create'], ['gadgets'])] })
    assert.equal(may(user('bob', 'dev'), 'create', 'gadgets', 'b'), true)
  }))

test('nobody grants what he does not hold, unless he may escalate or bind', () =>
  withWorld(async ({ api, admin }) => {
    await admin.create(RoleBinding, { metadata: { name: 'admins', namespace: 'a' }, roleRef: { kind: 'ClusterRole', name: 'admin' }, subjects: [{ kind: 'User', name: 'alice' }] })
    const own = localClient({ api, user: alice })
    const refused = (error: unknown): boolean => isFault(error, 'permissionDenied') && /attempting to grant RBAC permissions not currently held/.test(error.message)
    await own.create(Role, { metadata: { name: 'pods', namespace: 'a' }, rules: [rule(['get'], ['pods'])] })
    await assert.rejects(own.create(Role, { metadata: { name: 'nodes', namespace: 'a' }, rules: [rule(['get'], ['nodes'])] }), refused)
    await assert.rejects(own.patch(Role, { namespace: 'a', name: 'pods' }, { rules: [rule(['*'], ['*'])] }, { type: 'merge' }), refused)
    const bind = (name: string): Promise<unknown> => own.create(RoleBinding, { metadata: { name, namespace: 'a' }, roleRef: { kind: 'ClusterRole', name }, subjects: [{ kind: 'User', name: 'eve' }] })
    await bind('view')
    await assert.rejects(bind('cluster-admin'), refused)
    await assert.rejects(bind('nothing'), /does not exist/)
    await admin.create(Role, { metadata: { name: 'binder', namespace: 'a' }, rules: [{ verbs: ['bind'], apiGroups: ['rbac.authorization.k8s.io'], resources: ['clusterroles'] }] })
    await admin.create(RoleBinding, { metadata: { name: 'binder', namespace: 'a' }, roleRef: { kind: 'Role', name: 'binder' }, subjects: [{ kind: 'User', name: 'alice' }] })
    await bind('cluster-admin')
  }))

test('roles are valid or refused with the field; the defaults are made once and left alone', () =>
  withWorld(async ({ admin, rules }) => {
    const invalid = (field: string) => (error: unknown): boolean => isFault(error, 'unprocessable') && error.causes.some((cause) => cause.field === field)
    await assert.rejects(admin.create(Role, { metadata: { name: 'x', namespace: 'a' }, rules: [{ verbs: [], apiGroups: [''], resources: ['pods'] }] }), invalid('rules[0].verbs'))
    await assert.rejects(admin.create(Role, { metadata: { name: 'x', namespace: 'a' }, rules: [{ verbs: ['get'], nonResourceURLs: ['/'] }] }), invalid('rules[0].nonResourceURLs'))
    await assert.rejects(admin.create(ClusterRoleBinding, { metadata: { name: 'x' }, roleRef: { kind: 'Role', name: 'x' } }), invalid('roleRef.kind'))
    await admin.patch(ClusterRole, { name: 'system:discovery' }, { rules: [] }, { type: 'merge' })
    await ensureDefaultRoles(admin)
    assert.equal((await admin.get(ClusterRole, { name: 'system:discovery' })).rules.length, 0)
    assert.ok(rules(alice, 'a').some(({ resources }) => resources?.includes('selfsubjectaccessreviews') === true))
  }))
