/** Defaults of the kinds, as kubectl users know them from `get -o yaml`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { withDefaults } from '#schema/defaults.ts'
import { exampleOf } from '#schema/example.ts'
import { violations } from '#schema/violations.ts'
import { arbitraryObject } from './arbitrary.suite.ts'
import { Deployment } from './apps/v1/deployment.ts'
import { ReplicaSet } from './apps/v1/replica-set.ts'
import { Lease } from './coordination/v1/lease.ts'
import { pullPolicyFor } from './core/v1/pod-defaults.ts'
import { Namespace } from './core/v1/namespace.ts'
import { withKubernetesFinalizer } from './core/v1/namespace-defaults.ts'
import { Node } from './core/v1/node.ts'
import { Pod } from './core/v1/pod.ts'
import { Secret } from './core/v1/secret.ts'
import { keepAllocations } from './core/v1/service-defaults.ts'
import { Service } from './core/v1/service.ts'
import { EndpointSlice } from './discovery/v1/endpoint-slice.ts'
import { allKinds } from './index.ts'

const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'web', image: 'nginx:1.27' }] } }

test('a minimal pod gets what upstream gives it', () => {
  const pod = withDefaults(Pod, { metadata: { name: 'web', namespace: 'default' }, spec: { containers: [{ name: 'web', image: 'nginx' }] } })
  assert.deepEqual(JSON.parse(JSON.stringify(pod)), {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      containers: [
        { name: 'web', image: 'nginx', resources: {}, terminationMessagePath: '/dev/termination-log', terminationMessagePolicy: 'File', imagePullPolicy: 'Always' },
      ],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      securityContext: {},
      schedulerName: 'default-scheduler',
      enableServiceLinks: true,
    },
    status: {},
  })
})

test('pull policy follows the tag', () => {
  const policies = ['nginx', 'nginx:latest', 'nginx:1', 'localhost:5000/nginx', 'localhost:5000/nginx:2', 'nginx@sha256:0'].map((image) => pullPolicyFor({ image }))
  assert.deepEqual(policies, ['Always', 'Always', 'IfNotPresent', 'Always', 'IfNotPresent', 'IfNotPresent'])
})

test('probes, ports, volumes and field references are completed', () => {
  const pod = exampleOf(Pod, {
    metadata: { name: 'web' },
    spec: {
      containers: [
        {
          name: 'web',
          image: 'nginx:1',
          ports: [{ containerPort: 80 }],
          env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
          livenessProbe: { httpGet: { port: 80 }, periodSeconds: 0 },
          resources: { limits: { cpu: '1000m', memory: '1024Mi' }, requests: { cpu: 0.25 } },
        },
      ],
      serviceAccount: 'robot',
      volumes: [{ name: 'scratch' }, { name: 'conf', configMap: { name: 'conf' } }, { name: 'token', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } }],
    },
  })
  const [container] = pod.spec.containers
  assert.deepEqual(container?.ports, [{ containerPort: 80, protocol: 'TCP' }])
  assert.equal(container?.env?.[0]?.valueFrom?.fieldRef?.apiVersion, 'v1')
  assert.deepEqual(container?.livenessProbe, { httpGet: { path: '/', port: 80, scheme: 'HTTP' }, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 })
  assert.deepEqual({ ...container?.resources.requests }, { cpu: '250m', memory: '1Gi' })
  assert.equal(pod.spec.serviceAccountName, 'robot')
  const [scratch, conf, token] = pod.spec.volumes ?? []
  assert.deepEqual(scratch, { name: 'scratch', emptyDir: {} })
  assert.equal(conf?.configMap?.defaultMode, 0o644)
  assert.equal(token?.projected?.sources[0]?.serviceAccountToken?.expirationSeconds, 3600)
})

test('on the host network every port is a host port, in pods but not in templates', () => {
  const spec = { hostNetwork: true, containers: [{ name: 'web', image: 'nginx:1', ports: [{ containerPort: 80 }] }] }
  assert.equal(exampleOf(Pod, { spec }).spec.containers[0]?.ports?.[0]?.hostPort, 80)
  const deployment = exampleOf(Deployment, { spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec } } })
  assert.equal(deployment.spec.template.spec.containers[0]?.ports?.[0]?.hostPort, undefined)
  assert.equal(deployment.spec.template.spec.enableServiceLinks, undefined)
})

test('deployments roll by a quarter, keep ten revisions, and start with one replica', () => {
  const deployment = exampleOf(Deployment, { metadata: { name: 'web' }, spec: { selector: { matchLabels: { app: 'web' } }, template } })
  const { template: _, selector: __, ...rest } = deployment.spec
  assert.deepEqual(rest, {
    replicas: 1,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
  })
  assert.deepEqual(deployment.status, {})
  const zero = exampleOf(Deployment, { spec: { replicas: 0, strategy: { type: 'Recreate' }, selector: {}, template } })
  assert.equal(zero.spec.replicas, 0)
  assert.deepEqual(zero.spec.strategy, { type: 'Recreate' })
  assert.equal(exampleOf(ReplicaSet, { spec: { selector: {} } }).status.replicas, 0)
})

test('services default by type', () => {
  const service = exampleOf(Service, { metadata: { name: 'web' }, spec: { selector: { app: 'web' }, ports: [{ port: 80 }] } })
  assert.deepEqual(JSON.parse(JSON.stringify(service.spec)), {
    ports: [{ protocol: 'TCP', port: 80, targetPort: 80 }],
    selector: { app: 'web' },
    type: 'ClusterIP',
    sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster',
    ipFamilyPolicy: 'SingleStack',
    ipFamilies: ['IPv4'],
  })
  assert.deepEqual(service.status, { loadBalancer: {} })
  const sticky = exampleOf(Service, { spec: { type: 'NodePort', sessionAffinity: 'ClientIP', ports: [{ port: 53, protocol: 'UDP', targetPort: 'dns' }] } })
  assert.equal(sticky.spec.externalTrafficPolicy, 'Cluster')
  assert.equal(sticky.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds, 10_800)
  assert.equal(sticky.spec.ports?.[0]?.targetPort, 'dns')
  assert.equal(exampleOf(Service, { spec: { type: 'ExternalName', externalName: 'example.org' } }).spec.internalTrafficPolicy, undefined)
})

test('secrets are Opaque and stringData becomes data', () => {
  const secret = exampleOf(Secret, { metadata: { name: 's' }, data: { a: 'eA==' }, stringData: { a: 'y', __proto__x: 'z' } })
  assert.equal(secret.type, 'Opaque')
  assert.deepEqual({ ...secret.data }, { a: 'eQ==', __proto__x: 'eg==' })
  assert.equal(secret.stringData, undefined)
})

test('namespaces are named by a label, active and protected', () => {
  const namespace = withDefaults(Namespace, withKubernetesFinalizer({ metadata: { name: 'shop' } }))
  assert.deepEqual({ ...namespace.metadata.labels }, { 'kubernetes.io/metadata.name': 'shop' })
  assert.deepEqual(namespace.spec.finalizers, ['kubernetes'])
  assert.equal(namespace.status.phase, 'Active')
})

test('allocatable is capacity where nothing is reserved; slices name their protocol', () => {
  assert.deepEqual({ ...exampleOf(Node, { status: { capacity: { cpu: 2 } } }).status.allocatable }, { cpu: '2' })
  const slice = exampleOf(EndpointSlice, { addressType: 'IPv4', endpoints: [{ addresses: ['10.0.0.1'] }], ports: [{ port: 80 }] })
  assert.deepEqual(slice.ports, [{ name: '', protocol: 'TCP', port: 80 }])
  assert.deepEqual(slice.endpoints[0]?.conditions, {})
})

test('defaulting is idempotent, drops nulls and zero values, and leaves its input alone', () => {
  const submitted = Object.freeze({ metadata: { name: 'web', labels: {} }, spec: { hostNetwork: false, nodeName: '', containers: [{ name: 'web', image: 'nginx', stdin: false, command: [] }] } })
  const once = withDefaults(Pod, submitted)
  assert.deepEqual(withDefaults(Pod, once), once)
  assert.equal('hostNetwork' in once.spec, false)
  assert.equal('labels' in once.metadata, false)
  assert.equal('command' in (once.spec.containers[0] ?? {}), false)
})

test('an update that leaves allocations out keeps them', () => {
  const previous = { spec: { type: 'NodePort', clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1'], ports: [{ port: 80, protocol: 'TCP', nodePort: 30_001 }] } }
  const next = keepAllocations({ spec: { type: 'NodePort', ports: [{ port: 80 }, { port: 81 }] } }, previous)
  assert.deepEqual(JSON.parse(JSON.stringify(next)), {
    spec: { type: 'NodePort', clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1'], ports: [{ port: 80, nodePort: 30_001 }, { port: 81 }] },
  })
})

test('defaulting any object of any kind is idempotent and never throws', () => {
  for (const kind of allKinds) {
    fc.assert(
      fc.property(arbitraryObject(kind), (object) => {
        const once = withDefaults(kind, object)
        assert.deepEqual(withDefaults(kind, once), once)
        violations(kind, once)
      }),
      { numRuns: 30 },
    )
  }
})

test('times are stored in UTC with the precision of their field', () => {
  const lease = exampleOf(Lease, { metadata: { name: 'l', creationTimestamp: '2026-01-01T02:00:00.7+02:00' }, spec: { renewTime: '2026-01-01T00:00:00Z', acquireTime: '2026-01-01T00:00:00.123456789Z' } })
  assert.equal(lease.metadata.creationTimestamp, '2026-01-01T00:00:00Z')
  assert.equal(lease.spec.renewTime, '2026-01-01T00:00:00.000000Z')
  assert.equal(lease.spec.acquireTime, '2026-01-01T00:00:00.123456Z')
})
