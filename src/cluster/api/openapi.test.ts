/** OpenAPI documents: what kubectl reads from them is there, every reference resolves, and the protobuf form says the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Json, JsonObject } from '#schema/json.ts'
import { isJsonArray, isJsonObject } from '#schema/json.ts'
import { encodeOpenapiV2 } from '#schema/openapi-protobuf.ts'
import { protoFields } from '#base/proto-wire.ts'
import { allKinds } from './index.ts'
import { openapiV2Of, openapiV3Of } from './openapi.ts'

const info = { title: 'Kubernetes', version: 'v1.36.0' }
const v2 = openapiV2Of(allKinds, info)
const v3 = openapiV3Of(allKinds, info)

/** The value at a path of keys, as an object. */
function at(document: Json | undefined, ...keys: string[]): JsonObject {
  let value: Json | undefined = document
  for (const key of keys) value = isJsonObject(value) ? value[key] : isJsonArray(value) ? value[Number(key)] : undefined
  assert.ok(isJsonObject(value), `no object at ${keys.join(' > ')}`)
  return value
}

function references(value: Json | undefined, into: Set<string>): Set<string> {
  if (isJsonArray(value)) for (const item of value) references(item, into)
  else if (isJsonObject(value)) {
    for (const [key, inner] of Object.entries(value)) {
      if (key === '$ref' && typeof inner === 'string') into.add(inner)
      else references(inner, into)
    }
  }
  return into
}

test('every reference resolves, in v2 and in each v3 document', () => {
  for (const ref of references(v2, new Set())) assert.ok(at(v2, 'definitions', ref.slice('#/definitions/'.length)), ref)
  assert.deepEqual([...v3.keys()].sort(), ['api/v1', 'apis/apps/v1', 'apis/coordination.k8s.io/v1', 'apis/discovery.k8s.io/v1', 'apis/events.k8s.io/v1', 'apis/rbac.authorization.k8s.io/v1'])
  for (const document of v3.values()) {
    for (const ref of references(document, new Set())) assert.ok(at(document, 'components', 'schemas', ref.slice('#/components/schemas/'.length)), ref)
  }
})

test('merge keys, list types and identities are marked as kubectl apply needs them', () => {
  const podSpec = at(v2, 'definitions', 'io.k8s.api.core.v1.PodSpec', 'properties')
  assert.equal(at(podSpec, 'containers')['x-kubernetes-patch-merge-key'], 'name')
  assert.equal(at(podSpec, 'volumes')['x-kubernetes-patch-strategy'], 'merge,retainKeys')
  assert.equal(at(podSpec, 'nodeSelector')['x-kubernetes-map-type'], 'atomic')
  const ports = at(v2, 'definitions', 'io.k8s.api.core.v1.Container', 'properties', 'ports')
  assert.equal(ports['x-kubernetes-patch-merge-key'], 'containerPort')
  assert.deepEqual(ports['x-kubernetes-list-map-keys'], ['containerPort', 'protocol'])
  assert.equal(at(v2, 'definitions', 'io.k8s.api.apps.v1.DeploymentSpec', 'properties', 'strategy')['x-kubernetes-patch-strategy'], 'retainKeys')
  assert.deepEqual(at(v2, 'definitions', 'io.k8s.api.apps.v1.Deployment')['x-kubernetes-group-version-kind'], [{ group: 'apps', kind: 'Deployment', version: 'v1' }])
  assert.deepEqual(at(v2, 'definitions', 'io.k8s.api.autoscaling.v1.Scale')['x-kubernetes-group-version-kind'], [{ group: 'autoscaling', kind: 'Scale', version: 'v1' }])
})

test('patches in v3 name their kind, take fieldValidation, and accept strategic merge', () => {
  const patch = at(v3.get('apis/apps/v1'), 'paths', '/apis/apps/v1/namespaces/{namespace}/deployments/{name}', 'patch')
  assert.deepEqual(patch['x-kubernetes-group-version-kind'], { group: 'apps', kind: 'Deployment', version: 'v1' })
  assert.ok(isJsonArray(patch['parameters']) && patch['parameters'].some((parameter) => isJsonObject(parameter) && parameter['name'] === 'fieldValidation'))
  assert.ok(at(patch, 'requestBody', 'content', 'application/strategic-merge-patch+json'))
  const list = at(v3.get('api/v1'), 'paths', '/api/v1/namespaces/{namespace}/pods', 'get')
  assert.deepEqual(list['x-kubernetes-group-version-kind'], { group: '', kind: 'Pod', version: 'v1' })
  assert.deepEqual(at(v3.get('api/v1'), 'paths', '/api/v1/namespaces/{namespace}/bindings')['get'], undefined)
})

test('what defaults and subresources say is told', () => {
  const properties = at(v3.get('api/v1'), 'components', 'schemas', 'io.k8s.api.core.v1.Container', 'properties')
  assert.equal(at(properties, 'terminationMessagePolicy')['default'], 'File')
  assert.deepEqual(at(properties, 'resources')['allOf'], [{ $ref: '#/components/schemas/io.k8s.api.core.v1.ResourceRequirements' }])
  assert.ok(at(v3.get('apis/apps/v1'), 'paths', '/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale', 'put'))
})

test('the protobuf document holds every definition and every path', () => {
  const names = (number: number, entries: number): string[] => {
    const found: string[] = []
    for (const field of protoFields(encodeOpenapiV2(v2))) {
      if (field.number !== number) continue
      for (const entry of protoFields(field.bytes)) {
        assert.equal(entry.number, entries)
        for (const part of protoFields(entry.bytes)) if (part.number === 1) found.push(part.bytes.toString('utf8'))
      }
    }
    return found
  }
  assert.deepEqual(names(9, 1), Object.keys(at(v2, 'definitions')))
  assert.deepEqual(names(8, 2), Object.keys(at(v2, 'paths')))
})
