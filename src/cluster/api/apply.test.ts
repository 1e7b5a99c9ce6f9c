/** Server-side apply: ownership, conflicts, force, and what goes when a manager leaves it out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { applyConfiguration, trackUpdate } from '#schema/apply.ts'
import { withDefaults } from '#schema/defaults.ts'
import { difference, fieldSetOf, fromFieldsV1, intersection, isEmptySet, unaddressableItems, toFieldsV1, union } from '#schema/field-set.ts'
import type { JsonObject } from '#schema/json.ts'
import type { StoredObject } from '#schema/kind.ts'
import { arbitraryObject } from './arbitrary.suite.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { ConfigMap } from './core/v1/config-map.ts'
import { Pod } from './core/v1/pod.ts'
import { allKinds } from './index.ts'

const now = '2026-01-01T00:00:00Z'
const plain = (value: unknown): JsonObject => JSON.parse(JSON.stringify(value))
const configMap = (data: { [key: string]: string }): JsonObject => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', namespace: 'd' }, data })
const applyMap = (live: StoredObject | undefined, manager: string, data: { [key: string]: string }, force = false): StoredObject =>
  applyConfiguration(ConfigMap, live, configMap(data), { manager, now, force })
const dataOf = (object: StoredObject): unknown => plain(object)['data']
const withoutBooks = (object: StoredObject): JsonObject => plain({ ...object, metadata: { ...object.metadata, managedFields: undefined } })
const managersOf = (object: StoredObject): string[] => (object.metadata.managedFields ?? []).map(({ manager, operation, fieldsV1 }) => `${manager} ${operation} ${JSON.stringify(fieldsV1)}`)

test('a new object belongs to its applier', () => {
  const object = applyMap(undefined, 'kubectl', { a: '1' })
  assert.deepEqual(dataOf(object), { a: '1' })
  assert.deepEqual(managersOf(object), ['kubectl Apply {"f:data":{"f:a":{}}}'])
})

test('what the applier leaves out goes; what others own stays', () => {
  const first = applyMap(undefined, 'one', { a: '1', b: '1' })
  const both = applyMap(first, 'two', { b: '1', c: '1' })
  assert.deepEqual(dataOf(both), { a: '1', b: '1', c: '1' })
  const less = applyMap(both, 'one', {})
  assert.deepEqual(dataOf(less), { b: '1', c: '1' })
  assert.deepEqual(dataOf(applyMap(less, 'two', { c: '1' })), { c: '1' })
})

test('another value for a field of another manager is a conflict that names it; force takes it over', () => {
  const first = applyMap(undefined, 'one', { a: '1' })
  assert.throws(
    () => applyMap(first, 'two', { a: '2' }),
    (error) => isFault(error, 'conflict') && error.message === 'Apply failed with 1 conflict: conflict with "one" using v1 at 2026-01-01T00:00:00Z: .data.a' && error.causes[0]?.field === '.data.a',
  )
  const taken = applyMap(first, 'two', { a: '2' }, true)
  assert.deepEqual(managersOf(taken), ['two Apply {"f:data":{"f:a":{}}}'])
  assert.deepEqual(managersOf(applyMap(first, 'two', { a: '1' })), ['one Apply {"f:data":{"f:a":{}}}', 'two Apply {"f:data":{"f:a":{}}}'])
})

test('updates are tracked, take ownership without conflict, and are protected from appliers', () => {
  const created = trackUpdate(ConfigMap, undefined, withDefaults(ConfigMap, { metadata: { name: 'c', namespace: 'd' }, data: { a: '1' } }), { manager: 'curl', now })
  assert.deepEqual(managersOf(created), ['curl Update {"f:data":{"f:a":{}}}'])
  const edited = trackUpdate(ConfigMap, created, { ...created, data: { a: '1', b: '2' } }, { manager: 'kubectl-edit', now })
  assert.deepEqual(managersOf(edited), ['curl Update {"f:data":{"f:a":{}}}', 'kubectl-edit Update {"f:data":{"f:b":{}}}'])
  assert.throws(() => applyMap(edited, 'one', { b: '3' }), /conflict with "kubectl-edit"/)
  const removed = trackUpdate(ConfigMap, edited, { ...edited, data: { b: '2' } }, { manager: 'kubectl-edit', now })
  assert.deepEqual(managersOf(removed), ['kubectl-edit Update {"f:data":{"f:b":{}}}'])
})

test('an object from before the bookkeeping is protected as a whole', () => {
  const legacy = withDefaults(ConfigMap, { metadata: { name: 'c', namespace: 'd' }, data: { a: '1' } })
  assert.throws(() => applyMap(legacy, 'one', { a: '2' }), /conflict with "before-first-apply"/)
  assert.deepEqual(dataOf(applyMap(legacy, 'one', { b: '1' })), { a: '1', b: '1' })
})

const deployment = (containers: JsonObject[], more: JsonObject = {}): JsonObject => ({
  metadata: { name: 'web', namespace: 'd' },
  spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers } }, ...more },
})

test('list items are owned by their keys, and scale by another manager stays', () => {
  const first = applyConfiguration(Deployment, undefined, deployment([{ name: 'web', image: 'nginx:1', ports: [{ containerPort: 80 }] }]), { manager: 'kubectl', now, force: false })
  const fields = JSON.stringify(first.metadata.managedFields?.[0]?.fieldsV1)
  assert.match(fields, /"k:\{\\"name\\":\\"web\\"\}":\{"\.":\{\},"f:image":\{\},"f:name":\{\},"f:ports":\{"k:\{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"\}"/)
  const scaled = trackUpdate(Deployment, first, { ...first, ...{ spec: { ...(plain(first)['spec'] as JsonObject), replicas: 5 } } }, { manager: 'scaler', now, subresource: 'scale' })
  const second = applyConfiguration(Deployment, scaled, deployment([{ name: 'web', image: 'nginx:2' }, { name: 'side', image: 'x' }]), { manager: 'kubectl', now, force: false })
  const spec = plain(second)['spec'] as { replicas: number; template: { spec: { containers: { name: string; image: string; ports?: unknown }[] } } }
  assert.equal(spec.replicas, 5)
  assert.deepEqual(spec.template.spec.containers.map(({ name, image, ports }) => [name, image, ports]), [['web', 'nginx:2', undefined], ['side', 'x', undefined]])
  assert.throws(() => applyConfiguration(Deployment, second, deployment([{ name: 'web', image: 'nginx:2' }], { replicas: 1 }), { manager: 'kubectl', now, force: false }), /conflict with "scaler" with subresource "scale" using apps\/v1.*: \.spec\.replicas/)
  const without = applyConfiguration(Deployment, second, deployment([{ name: 'web', image: 'nginx:2' }]), { manager: 'kubectl', now, force: false })
  const left = plain(without)['spec'] as typeof spec
  assert.deepEqual(left.template.spec.containers.map(({ name }) => name), ['web'])
})

test('a configuration that names an item twice is refused', () => {
  const twice = deployment([{ name: 'web', image: 'a' }, { name: 'web', image: 'b' }])
  assert.throws(() => applyConfiguration(Deployment, undefined, twice, { manager: 'm', now, force: false }), /\.spec\.template\.spec\.containers\[name="web"\] stands there twice/)
})

test('equal amounts written differently are no conflict', () => {
  const pod = (cpu: string): JsonObject => ({ metadata: { name: 'p', namespace: 'd' }, spec: { containers: [{ name: 'a', image: 'i', resources: { requests: { cpu } } }] } })
  const first = applyConfiguration(Pod, undefined, pod('1'), { manager: 'one', now, force: false })
  assert.equal((applyConfiguration(Pod, first, pod('1000m'), { manager: 'two', now, force: false }).metadata.managedFields ?? []).length, 2)
})

test('laws: FieldsV1 round-trips, sets behave as sets, and applying twice changes nothing', () => {
  for (const kind of allKinds) {
    const shape = kind.schema.facts.shape
    fc.assert(
      fc.property(arbitraryObject(kind), arbitraryObject(kind), (left, right) => {
        const [a, b] = [fieldSetOf(shape, left), fieldSetOf(shape, right)]
        assert.deepEqual(toFieldsV1(fromFieldsV1(toFieldsV1(a))), toFieldsV1(a))
        assert.ok(isEmptySet(difference(a, union(a, b))))
        assert.ok(isEmptySet(intersection(difference(a, b), b)))
        if (unaddressableItems(shape, left).length > 0) return
        const once = applyConfiguration(kind, undefined, left, { manager: 'm', now, force: true })
        const twice = applyConfiguration(kind, once, left, { manager: 'm', now: '2027-01-01T00:00:00Z', force: false })
        assert.deepEqual(withoutBooks(twice), withoutBooks(once))
        if (once.metadata.managedFields !== undefined) assert.deepEqual(managersOf(twice), managersOf(once))
      }),
      { numRuns: 15 },
    )
  }
})
