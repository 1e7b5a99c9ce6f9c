/** Refusals name the field and say what kubectl users know. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { invalidObject } from '#schema/cause.ts'
import { changes } from '#schema/changes.ts'
import { decodeObject } from '#schema/decode.ts'
import { exampleOf } from '#schema/example.ts'
import type { AnyKind, StoredObject, Submitted } from '#schema/kind.ts'
import { violations } from '#schema/violations.ts'
import { isFault } from '#base/fault.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { ConfigMap } from './core/v1/config-map.ts'
import { Event } from './core/v1/event.ts'
import { Namespace } from './core/v1/namespace.ts'
import { Node } from './core/v1/node.ts'
import type { SubmittedPod } from './core/v1/pod.ts'
import { Pod } from './core/v1/pod.ts'
import { Secret } from './core/v1/secret.ts'
import type { SubmittedService } from './core/v1/service.ts'
import { Service } from './core/v1/service.ts'
import { EndpointSlice } from './discovery/v1/endpoint-slice.ts'

function said(kind: AnyKind, object: object): string[] {
  return violations(kind, object).map(({ field, message }) => `${field}: ${message}`)
}
function saidOfChange(kind: AnyKind, next: StoredObject, previous: StoredObject, subresource = ''): string[] {
  return changes(kind, next, previous, { subresource }).map(({ field, message }) => `${field}: ${message}`)
}

type PodSpecIn = NonNullable<SubmittedPod['spec']>
const container = { name: 'web', image: 'nginx:1' }
const podWith = (spec: Partial<PodSpecIn>): string[] => said(Pod, exampleOf(Pod, { spec: { containers: [container], ...spec } }))
const containerWith = (part: Partial<PodSpecIn['containers'][number]>): string[] => podWith({ containers: [{ ...container, ...part }] })

test('valid objects have no violations', () => {
  assert.deepEqual(podWith({}), [])
  assert.deepEqual(said(ConfigMap, exampleOf(ConfigMap, { data: { 'a.conf': 'x' } })), [])
  assert.deepEqual(said(Namespace, exampleOf(Namespace, { metadata: { name: 'shop' } })), [])
  assert.deepEqual(said(Node, exampleOf(Node, { metadata: { name: 'n1' }, status: { capacity: { cpu: '2' }, nodeInfo: undefined } })), [])
})

test('a pod needs containers, each with a name and an image', () => {
  assert.deepEqual(podWith({ containers: [] }), ['spec.containers: Required value'])
  assert.deepEqual(containerWith({ image: undefined }), ['spec.containers[0].image: Required value'])
  assert.deepEqual(podWith({ containers: [{ image: 'a', name: '' }] }), ['spec.containers[0].name: Required value'])
  assert.match(containerWith({ name: 'Web_1' }).join(), /spec\.containers\[0\]\.name: Invalid value: "Web_1": a lowercase RFC 1123 label must consist of/)
  assert.deepEqual(podWith({ containers: [container, container] }), ['spec.containers[1].name: Duplicate value: "web"'])
  assert.deepEqual(podWith({ initContainers: [container] }), ['spec.initContainers[0].name: Duplicate value: "web"'])
})

test('ports, environment and mounts are checked', () => {
  assert.deepEqual(containerWith({ ports: [{ containerPort: 70_000 }] }), ['spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive'])
  assert.deepEqual(containerWith({ ports: [{ containerPort: 1, name: 'a' }, { containerPort: 2, name: 'a' }] }), ['spec.containers[0].ports[1].name: Duplicate value: "a"'])
  assert.deepEqual(containerWith({ env: [{ name: 'A', value: 'x', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }] }), [
    'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
  ])
  assert.deepEqual(containerWith({ volumeMounts: [{ name: 'data', mountPath: '/data' }] }), ['spec.containers[0].volumeMounts[0].name: Not found: "data"'])
  assert.deepEqual(podWith({ volumes: [{ name: 'data' }], containers: [{ ...container, volumeMounts: [{ name: 'data', mountPath: '/d', subPath: '../x' }] }] }), [
    'spec.containers[0].volumeMounts[0].subPath: Invalid value: "../x": must not contain \'..\'',
  ])
  assert.deepEqual(podWith({ volumes: [{ name: 'x', emptyDir: {}, hostPath: { path: '/' } }] }), ['spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type'].map((line) => line.replace('hostPath', 'emptyDir')))
})

test('requests stay within limits and are not negative', () => {
  assert.deepEqual(containerWith({ resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } }), ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'])
  assert.deepEqual(containerWith({ resources: { requests: { memory: '-1Mi' } } }), ['spec.containers[0].resources.requests[memory]: Invalid value: "-1Mi": must be greater than or equal to 0'])
  assert.deepEqual(containerWith({ resources: { requests: { gpu: '1' } } }), ['spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers'])
})

test('probes have exactly one handler', () => {
  assert.deepEqual(containerWith({ livenessProbe: {} }), ['spec.containers[0].livenessProbe: Required value: must specify a handler type'])
  assert.deepEqual(containerWith({ livenessProbe: { exec: { command: ['a'] }, tcpSocket: { port: 1 }, successThreshold: 2 } }), [
    'spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type',
    'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
  ])
})

test('enumerations list what is supported', () => {
  const bad = exampleOf(Pod, { spec: { containers: [container], restartPolicy: 'Sometimes' as 'Always' } })
  assert.deepEqual(said(Pod, bad), ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'])
})

test('metadata is checked for every kind', () => {
  const lines = said(ConfigMap, exampleOf(ConfigMap, { metadata: { name: 'Bad Name', labels: { 'a b': 'x', ok: '-' }, annotations: { '/x': 'y' }, finalizers: ['no way'] } }))
  assert.match(lines.join('\n'), /metadata\.name: Invalid value: "Bad Name": a lowercase RFC 1123 subdomain/)
  assert.match(lines.join('\n'), /metadata\.labels: Invalid value: "a b": name part must consist/)
  assert.match(lines.join('\n'), /metadata\.labels: Invalid value: "-": a valid label must be an empty string or consist/)
  assert.match(lines.join('\n'), /metadata\.annotations: Invalid value: "\/x": prefix part must be non-empty/)
  assert.match(lines.join('\n'), /metadata\.finalizers\[0\]: Invalid value: "no way"/)
  assert.deepEqual(said(Namespace, exampleOf(Namespace, { metadata: { name: 'a', namespace: 'b' } })), ['metadata.namespace: Forbidden: not allowed on this type'])
})

const deploymentWith = (part: object): string[] =>
  said(Deployment, exampleOf(Deployment, { spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } }, ...part } }))

test('deployments select their own template and roll by something', () => {
  assert.deepEqual(deploymentWith({}), [])
  assert.deepEqual(deploymentWith({ selector: { matchLabels: { app: 'db' } } }), ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'])
  assert.deepEqual(deploymentWith({ selector: {} }), ['spec.selector: Invalid value: {}: empty selector is invalid for deployment'])
  assert.deepEqual(deploymentWith({ selector: undefined }), ['spec.selector: Required value'])
  assert.deepEqual(deploymentWith({ replicas: -1 }), ['spec.replicas: Invalid value: -1: must be greater than or equal to 0'])
  assert.match(deploymentWith({ strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: '0%' } } }).join(), /maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0/)
  assert.match(deploymentWith({ strategy: { type: 'Recreate', rollingUpdate: {} } }).join(), /rollingUpdate: Forbidden/)
})

const serviceWith = (spec: NonNullable<SubmittedService['spec']>): string[] => said(Service, exampleOf(Service, { metadata: { name: 'web' }, spec }))

test('services need ports with distinct names and numbers', () => {
  assert.deepEqual(serviceWith({ ports: [{ port: 80 }] }), [])
  assert.deepEqual(serviceWith({}), ['spec.ports: Required value'])
  assert.deepEqual(serviceWith({ clusterIP: 'None' }), [])
  assert.deepEqual(serviceWith({ ports: [{ port: 80 }, { port: 80, name: 'b' }] }), ['spec.ports[0].name: Required value', 'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'])
  assert.deepEqual(serviceWith({ ports: [{ port: 80, nodePort: 30_000 }] }), ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"])
  assert.deepEqual(serviceWith({ type: 'ExternalName' }), ['spec.externalName: Required value'])
  assert.match(said(Service, exampleOf(Service, { metadata: { name: '1web' }, spec: { ports: [{ port: 1 }] } })).join(), /a DNS-1035 label/)
})

test('config maps, secrets, slices and events have their rules', () => {
  assert.deepEqual(said(ConfigMap, exampleOf(ConfigMap, { data: { a: 'x' }, binaryData: { a: 'eA==' } })), ['data[a]: Invalid value: "a": duplicate of key present in binaryData'])
  assert.match(said(ConfigMap, exampleOf(ConfigMap, { data: { 'a/b': 'x' } })).join(), /data\[a\/b\]: Invalid value: "a\/b": a valid config key/)
  assert.deepEqual(said(Secret, exampleOf(Secret, { type: 'kubernetes.io/tls' })), ['data[tls.crt]: Required value', 'data[tls.key]: Required value'])
  assert.deepEqual(said(Secret, exampleOf(Secret, { data: { a: '%' } })), ['data[a]: Invalid value: "<value omitted>": must be base64'])
  assert.match(said(EndpointSlice, exampleOf(EndpointSlice, { addressType: 'IPv4', endpoints: [{ addresses: ['fe80::1'] }], ports: [] })).join(), /must be an IPv4 address/)
  assert.match(said(Event, exampleOf(Event, { involvedObject: { namespace: 'other' } })).join(), /does not match event\.namespace/)
})

test('what may not change is refused', () => {
  const before = exampleOf(Deployment, { spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } } } })
  assert.deepEqual(saidOfChange(Deployment, { ...before, metadata: { ...before.metadata, uid: 'other' } }, before), ['metadata.uid: Invalid value: "other": field is immutable'])
  const reselected = exampleOf(Deployment, { spec: { ...before.spec, selector: { matchLabels: { app: 'db' } } } })
  assert.deepEqual(saidOfChange(Deployment, reselected, before), ['spec.selector: Invalid value: {"matchLabels":{"app":"db"}}: field is immutable'])
  const frozen = exampleOf(ConfigMap, { immutable: true, data: { a: '1' } })
  assert.deepEqual(saidOfChange(ConfigMap, exampleOf(ConfigMap, { immutable: true, data: { a: '2' } }), frozen), ['data: Forbidden: field is immutable when `immutable` is set'])
  const service = (clusterIP: string): StoredObject => exampleOf(Service, { spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ port: 1 }] } })
  assert.deepEqual(saidOfChange(Service, service('10.0.0.2'), service('10.0.0.1')), ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'])
})

test('a pod may change its image and tolerations, nothing else of its spec', () => {
  const pod = (spec: Partial<PodSpecIn>): StoredObject => exampleOf(Pod, { spec: { containers: [container], ...spec } })
  const before = pod({})
  assert.deepEqual(saidOfChange(Pod, pod({ containers: [{ ...container, image: 'nginx:1' }], tolerations: [{ operator: 'Exists' }] }), before), [])
  const renewed = exampleOf(Pod, { spec: { containers: [{ ...container, image: 'nginx:2' }] } })
  assert.deepEqual(saidOfChange(Pod, renewed, before), [])
  assert.match(saidOfChange(Pod, pod({ nodeName: 'n1' }), before).join(), /^spec: Forbidden: pod updates may not change fields other than/)
  assert.deepEqual(saidOfChange(Pod, pod({ nodeName: 'n1' }), before, 'binding'), [])
  assert.match(saidOfChange(Pod, before, pod({ tolerations: [{ operator: 'Exists' }] })).join(), /spec\.tolerations: Forbidden/)
})

test('the refusal of an object is an Invalid status with its causes', () => {
  const fault = invalidObject(Deployment, 'web', violations(Deployment, exampleOf(Deployment, {} as Submitted<typeof Deployment>)))
  assert.equal(fault.message, 'Deployment.apps "web" is invalid: spec: Required value')
  assert.equal(fault.httpStatus, 422)
  assert.deepEqual(fault.details, { group: 'apps', kind: 'Deployment', name: 'web' })
})

test('bodies of wrong types and kinds are refused before validation; unknown and duplicate fields as asked', () => {
  const strict = (body: unknown, text?: string): unknown => decodeObject(Pod, body, { fieldValidation: 'Strict', text })
  assert.throws(() => strict({ spec: { containers: 'x' } }), (error) => isFault(error, 'invalidArgument') && /spec\.containers: expected an array, got the string "x"/.test(error.message))
  assert.throws(() => strict({ spec: { terminationGracePeriodSeconds: 1.5 } }), /spec\.terminationGracePeriodSeconds: expected an integer/)
  assert.throws(() => strict({ apiVersion: 'apps/v1', kind: 'Pod' }), /does not match the expected API version \(v1\)/)
  assert.throws(() => strict([]), /must be a JSON object/)
  const typo = { spec: { containers: [{ name: 'a', imagee: 'b' }] }, extra: 1 }
  assert.throws(() => strict(typo), /strict decoding error: unknown field "spec\.containers\[0\]\.imagee", unknown field "extra"/)
  assert.deepEqual(decodeObject(Pod, typo, { fieldValidation: 'Warn' }).warnings, ['unknown field "spec.containers[0].imagee"', 'unknown field "extra"'])
  assert.deepEqual(decodeObject(Pod, typo, { fieldValidation: 'Ignore' }).warnings, [])
  const text = '{"metadata":{"name":"a","name":"b"},"spec":{"containers":[{"name":"x"},{"name":"y","image":"1","im\\u0061ge":"2"}]}}'
  assert.deepEqual(decodeObject(Pod, JSON.parse(text), { fieldValidation: 'Warn', text }).warnings, ['duplicate field "metadata.name"', 'duplicate field "spec.containers[1].image"'])
})
