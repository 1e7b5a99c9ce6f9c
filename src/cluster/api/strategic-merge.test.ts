/** Strategic merge patches as `kubectl apply`, `edit`, `patch` and `rollout undo` send them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import type { Json, JsonObject } from '#schema/json.ts'
import { mergePatch } from '#schema/merge-patch.ts'
import { strategicMerge } from '#schema/strategic-merge.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { Pod } from './core/v1/pod.ts'

/** Without null prototypes, so that deepEqual compares data only. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
const patched = (original: object, patch: JsonObject): unknown => plain(strategicMerge(Pod, original, patch))
const specOf = (...containers: Json[]): JsonObject => ({ spec: { containers } })

test('containers merge by name, and new ones come first as upstream has it', () => {
  const original = specOf({ name: 'a', image: '1', env: [{ name: 'X', value: '1' }] }, { name: 'b', image: '1' })
  assert.deepEqual(patched(original, specOf({ name: 'b', image: '2' })), specOf({ name: 'a', image: '1', env: [{ name: 'X', value: '1' }] }, { name: 'b', image: '2' }))
  assert.deepEqual(patched(specOf({ name: 'a' }), specOf({ name: 'n' })), specOf({ name: 'n' }, { name: 'a' }))
  assert.deepEqual(patched(original, specOf({ name: 'a', env: [{ name: 'X', value: '2' }, { name: 'Y', value: '3' }] })), specOf({ name: 'a', image: '1', env: [{ name: 'X', value: '2' }, { name: 'Y', value: '3' }] }, { name: 'b', image: '1' }))
})

test('$setElementOrder orders, also without other changes', () => {
  const original = specOf({ name: 'a' }, { name: 'b' }, { name: 'c' })
  const order = [{ name: 'c' }, { name: 'a' }]
  assert.deepEqual(patched(original, { spec: { '$setElementOrder/containers': order } }), specOf({ name: 'b' }, { name: 'c' }, { name: 'a' }))
  const added = { spec: { '$setElementOrder/containers': [{ name: 'a' }, { name: 'n' }, { name: 'b' }, { name: 'c' }], containers: [{ name: 'n' }] } }
  assert.deepEqual(patched(original, added), specOf({ name: 'a' }, { name: 'n' }, { name: 'b' }, { name: 'c' }))
})

test('$patch deletes and replaces items, lists and objects', () => {
  const original = specOf({ name: 'a', image: '1' }, { name: 'b' })
  assert.deepEqual(patched(original, specOf({ name: 'a', $patch: 'delete' })), specOf({ name: 'b' }))
  assert.deepEqual(patched(original, specOf({ $patch: 'replace' }, { name: 'c' })), specOf({ name: 'c' }))
  assert.deepEqual(patched({ metadata: { labels: { a: '1', b: '2' } } }, { metadata: { labels: { $patch: 'replace', c: '3' } } }), { metadata: { labels: { c: '3' } } })
  assert.deepEqual(patched({ spec: { securityContext: { runAsUser: 1 } } }, { spec: { securityContext: { $patch: 'delete' } } }), { spec: {} })
})

test('null deletes, atomic lists are replaced, primitive lists merge and shrink', () => {
  assert.deepEqual(patched({ metadata: { labels: { a: '1', b: '2' } } }, { metadata: { labels: { a: null } } }), { metadata: { labels: { b: '2' } } })
  assert.deepEqual(patched({ spec: { tolerations: [{ key: 'a' }] } }, { spec: { tolerations: [{ key: 'b' }] } }), { spec: { tolerations: [{ key: 'b' }] } })
  assert.deepEqual(patched({ metadata: { finalizers: ['a', 'b'] } }, { metadata: { finalizers: ['c'] } }), { metadata: { finalizers: ['c', 'a', 'b'] } })
  assert.deepEqual(patched({ metadata: { finalizers: ['a', 'b'] } }, { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } }), { metadata: { finalizers: ['b'] } })
})

test('$retainKeys clears the other members of a union', () => {
  const deployment = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } }
  assert.deepEqual(plain(strategicMerge(Deployment, deployment, { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } })), { spec: { strategy: { type: 'Recreate' } } })
  const volumes = { spec: { volumes: [{ name: 'v', emptyDir: {} }] } }
  assert.deepEqual(patched(volumes, { spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }] } }), { spec: { volumes: [{ name: 'v', hostPath: { path: '/x' } }] } })
})

test('ports patch by number alone although apply tells them apart by protocol too', () => {
  const original = specOf({ name: 'a', ports: [{ containerPort: 53, protocol: 'TCP' }] })
  assert.deepEqual(patched(original, specOf({ name: 'a', ports: [{ containerPort: 53, protocol: 'UDP' }] })), specOf({ name: 'a', ports: [{ containerPort: 53, protocol: 'UDP' }] }))
})

test('malformed patches are refused with their path', () => {
  const refused = (patch: JsonObject, said: RegExp): void => assert.throws(() => patched(specOf({ name: 'a' }), patch), (error) => isFault(error, 'invalidArgument') && said.test(error.message))
  refused(specOf({ image: 'x' }), /spec\.containers\[0\]: does not contain the merge key 'name'/)
  refused({ spec: { $patch: 'swap' } }, /spec\.\$patch: unknown directive "swap"/)
  refused({ spec: { $retainKeys: 'x' } }, /\$retainKeys: must be a list/)
  assert.throws(() => strategicMerge(Pod, {}, []), /must be a JSON object/)
})

const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 5 })
const pods = names.map((list) => specOf(...list.map((name) => ({ name, image: `i-${name}` }))))

test('laws: a patch that restates the object changes nothing; patching twice is patching once; setElementOrder restores any order', () => {
  fc.assert(fc.property(pods, (pod) => assert.deepEqual(patched(pod, pod), pod)))
  fc.assert(
    fc.property(pods, pods, (pod, patch) => {
      const once = strategicMerge(Pod, pod, patch)
      assert.deepEqual(plain(strategicMerge(Pod, once, patch)), plain(once))
    }),
  )
  fc.assert(
    fc.property(names, (list) => {
      const original = specOf(...[...list].sort().map((name) => ({ name })))
      const order = list.map((name) => ({ name }))
      assert.deepEqual(patched(original, { spec: { '$setElementOrder/containers': order, containers: order } }), { spec: { containers: order } })
    }),
  )
})

test('merge patch deletes with null, merges objects and replaces the rest (RFC 7396)', () => {
  assert.deepEqual(plain(mergePatch({ a: { b: 'c', d: 'e' }, l: [1, 2] }, { a: { b: 'z', d: null }, l: [3] })), { a: { b: 'z' }, l: [3] })
  assert.deepEqual(plain(mergePatch({ a: 'b' }, { a: { bb: { ccc: null } } })), { a: { bb: {} } })
  assert.deepEqual(mergePatch({ a: 1 }, ['c']), ['c'])
  assert.deepEqual(plain(mergePatch({}, JSON.parse('{"__proto__":{"x":1}}'))), JSON.parse('{"__proto__":{"x":1}}'))
})
