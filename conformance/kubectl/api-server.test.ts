/** Stock kubectl against the API server alone: real TLS, the store in memory, no controllers. Each test is what a user types and sees. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { systemRandom } from '../../src/base/random.ts'
import { Deployment } from '../../src/cluster/api/apps/v1/deployment.ts'
import { ReplicaSet } from '../../src/cluster/api/apps/v1/replica-set.ts'
import { ConfigMap } from '../../src/cluster/api/core/v1/config-map.ts'
import { Event } from '../../src/cluster/api/core/v1/event.ts'
import { Namespace } from '../../src/cluster/api/core/v1/namespace.ts'
import { Pod } from '../../src/cluster/api/core/v1/pod.ts'
import { ServiceAccount } from '../../src/cluster/api/core/v1/service-account.ts'
import { allKinds, groupOrder } from '../../src/cluster/api/index.ts'
import { openPki } from '../../src/cluster/apiserver/pki/files.ts'
import { writeKubeconfig } from '../../src/cluster/apiserver/pki/kubeconfig.ts'
import { startApiServer, type ApiServer } from '../../src/cluster/apiserver/server.ts'
import { openMemoryStore } from '../../src/cluster/store/memory/store.ts'
import { unpackTool } from './unpack.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'kc-'))
const store = openMemoryStore()
let server: ApiServer
let kubectlPath = ''
const environment = (): NodeJS.ProcessEnv => ({ PATH: process.env['PATH'], HOME: root, KUBECONFIG: join(root, 'kubeconfig'), KUBECACHEDIR: join(root, 'cache') })

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs kubectl with words as a shell would split them: quotes keep blanks together. */
function run(line: string, options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {}): Promise<Outcome> {
  const words = (line.match(/(?:'[^']*'|[^\s'])+/g) ?? []).map((word) => word.replaceAll("'", ''))
  return new Promise((resolve) => {
    const child = execFile(kubectlPath, words, { env: { ...environment(), ...options.env }, timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, out, err })
    })
    child.stdin?.end(options.input ?? '')
  })
}

/** kubectl must succeed; answers what it printed. */
async function kubectl(line: string, options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {}): Promise<string> {
  const { code, out, err } = await run(line, options)
  assert.equal(code, 0, `kubectl ${line}: ${err}`)
  return out
}

async function refused(line: string, pattern: RegExp): Promise<void> {
  const { code, err } = await run(line)
  assert.notEqual(code, 0, `kubectl ${line} succeeded`)
  assert.match(err, pattern)
}

const web = (replicas: number, image: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "${image}", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, name: http}]}
`

before(async () => {
  kubectlPath = unpackTool('kubectl', root)
  const pki = await openPki({ folder: join(root, 'pki'), serverNames: [], serviceAddress: '10.43.0.1', clock: systemClock, random: systemRandom })
  server = await startApiServer({
    store,
    pki,
    kinds: allKinds,
    groupOrder,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] },
    listen: [{ host: '127.0.0.1', port: 0 }],
  })
  await writeKubeconfig(join(root, 'kubeconfig'), { server: `https://127.0.0.1:${server.addresses[0]?.port}`, authority: pki.authority.certificate, client: pki.admin })
  await server.client.create(Namespace, { metadata: { name: 'default' } })
  await server.client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' } })
})
after(async () => {
  await server.close()
  await store.close()
  rmSync(root, { recursive: true })
})

test('version, api-resources, api-versions, explain, cluster-info', async () => {
  assert.match(await kubectl('version'), /Server Version: v1\.36/)
  const resources = await kubectl('api-resources --no-headers')
  assert.match(resources, /^deployments +deploy +apps\/v1 +true +Deployment$/m)
  assert.match(await kubectl('api-resources --verbs=list --namespaced -o name'), /^pods$/m)
  assert.match(await kubectl('api-versions'), /^apps\/v1$/m)
  assert.match(await kubectl('explain pod.spec.containers.image'), /FIELD: image <string>/)
  assert.match(await kubectl('explain deployment.spec.strategy --recursive'), /maxSurge/)
  assert.match(await kubectl('cluster-info'), /control plane.* is running at/)
})

test('apply creates, changes, prunes fields that were taken out, and says unchanged', async () => {
  assert.equal(await kubectl('apply -f -', { input: web(2, 'nginx:1') }), 'deployment.apps/web created\nservice/web created\n')
  assert.equal(await kubectl('apply -f -', { input: web(2, 'nginx:1') }), 'deployment.apps/web unchanged\nservice/web unchanged\n')
  assert.equal(await kubectl('apply -f -', { input: web(3, 'nginx:2') }), 'deployment.apps/web configured\nservice/web unchanged\n')
  const config = (data: string): string => `{apiVersion: v1, kind: ConfigMap, metadata: {name: pruned}, data: ${data}}`
  await kubectl('apply -f -', { input: config('{a: "1", b: "2"}') })
  await kubectl('apply -f -', { input: config('{a: "1"}') })
  assert.equal(await kubectl("get cm pruned -o jsonpath={.data}"), '{"a":"1"}')
  const strict = await run('apply -f -', { input: config('{a: "1"}').replace(', data:', ', dta:') })
  assert.match(strict.err, /strict decoding error: unknown field "dta"/)
})

test('server-side apply: owners, conflicts, force, what is left out goes, and the way over from client-side apply', async () => {
  const config = (data: string): { readonly input: string } => ({ input: `{apiVersion: v1, kind: ConfigMap, metadata: {name: owned}, data: ${data}}` })
  const data = async (): Promise<object> => ({ ...(await server.client.get(ConfigMap, { namespace: 'default', name: 'owned' })).data })
  assert.match(await kubectl('apply --server-side -f -', config('{a: "1", b: "1"}')), /configmap\/owned serverside-applied/)
  const conflict = await run('apply --server-side --field-manager=other -f -', config('{a: "2"}'))
  assert.match(conflict.err, /Apply failed with 1 conflict: conflict with "kubectl".*: \.data\.a/)
  await kubectl('apply --server-side --field-manager=other --force-conflicts -f -', config('{a: "2"}'))
  assert.deepEqual(await data(), { a: '2', b: '1' })
  await kubectl('apply --server-side -f -', config('{c: "1"}'))
  assert.deepEqual(await data(), { a: '2', c: '1' })
  const before = (await server.client.get(ConfigMap, { namespace: 'default', name: 'owned' })).metadata.resourceVersion
  await kubectl('apply --server-side -f -', config('{c: "1"}'))
  assert.equal((await server.client.get(ConfigMap, { namespace: 'default', name: 'owned' })).metadata.resourceVersion, before)
  await kubectl('apply --server-side -f -', { input: web(3, 'nginx:2').replace('app: web}\nspec:', 'app: web, more: x}\nspec:') })
  assert.equal((await server.client.get(Deployment, { namespace: 'default', name: 'web' })).metadata.labels?.['app'], 'web')
  assert.match(await kubectl('get deploy web -o yaml --show-managed-fields'), /manager: kubectl\n/)
})

test('get prints tables, wide, YAML, JSON, names, labels and columns; selectors choose', async () => {
  assert.match(await kubectl('get deploy'), /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0\/3 +0 +0 +\d+s\n$/)
  assert.match(await kubectl('get deploy -o wide'), /CONTAINERS +IMAGES +SELECTOR\n.*web +nginx:2 +app=web\n$/)
  assert.match(await kubectl('get deploy web -o yaml'), /image: nginx:2/)
  assert.match(await kubectl('get deploy web -o json'), /"image": "nginx:2"/)
  assert.equal(await kubectl('get deploy,svc -o name'), 'deployment.apps/web\nservice/web\n')
  assert.match(await kubectl('get all -A --show-labels'), /deployment\.apps\/web.*app=web/)
  assert.match(await kubectl('get svc web -o custom-columns=NAME:.metadata.name,IP:.spec.clusterIP'), /web +10\.43\./)
  await kubectl('run one --image=busybox --labels=tier=a')
  await kubectl('run two --image=busybox --labels=tier=b')
  assert.match(await kubectl("get pods -l 'tier in (a,c)' -o name"), /^pod\/one\n$/)
  assert.match(await kubectl('get pods --field-selector metadata.name=two -o name'), /^pod\/two\n$/)
  assert.match(await kubectl('get pods -A --sort-by=.metadata.name'), /one.*\n.*two/)
  await refused('get pods nothing', /pods "nothing" not found/)
})

test('get -w follows changes', async () => {
  const watching = spawn(kubectlPath, ['get', 'cm', '-w', '--no-headers'], { env: environment() })
  let out = ''
  const saw = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (pattern.test(out)) resolve()
        else watching.stdout.once('data', () => queueMicrotask(look))
      }
      look()
    })
  watching.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  await saw(/pruned +1/)
  await server.client.create(ConfigMap, { metadata: { name: 'watched', namespace: 'default' } })
  await saw(/watched +0/)
  await server.client.patch(ConfigMap, { namespace: 'default', name: 'watched' }, { data: { a: '1' } }, { type: 'merge' })
  await saw(/watched +1/)
  watching.kill()
  await once(watching, 'close')
})

test('describe tells the story of pods, deployments, services and namespaces', async () => {
  assert.match(await kubectl('describe pod one'), /Image: +busybox[\s\S]*QoS Class: +BestEffort/)
  assert.match(await kubectl('describe deploy web'), /Replicas: +3 desired[\s\S]*StrategyType: +RollingUpdate/)
  assert.match(await kubectl('describe svc web'), /IP: +10\.43\.[\s\S]*Port: +http +80\/TCP/)
  assert.match(await kubectl('describe ns default'), /Status: +Active/)
})

test('create makes each kind; edit, label, annotate, patch, replace change it', async () => {
  await kubectl('create namespace team')
  await kubectl('create configmap made --from-literal=a=b -n default')
  await kubectl("create secret generic hidden --from-literal=password='s3 cret'")
  await kubectl('create serviceaccount robot')
  await kubectl('create deployment plain --image=nginx --replicas=2 --port=80')
  assert.match(await kubectl('expose deployment plain --port=80 --type=NodePort'), /service\/plain exposed/)
  assert.match(await kubectl('create token robot --duration=10m'), /^ey/)
  await refused('create configmap made', /configmaps "made" already exists/)

  writeFileSync(join(root, 'editor'), '#!/bin/sh\nsed -i "s/a: b/a: edited/" "$1"\n', { mode: 0o755 })
  assert.match(await kubectl('edit cm made', { env: { EDITOR: join(root, 'editor') } }), /configmap\/made edited/)
  await kubectl('label cm made x=y')
  await refused('label cm made x=z', /'x' already has a value/)
  await kubectl('annotate cm made note=hello')
  await kubectl("patch cm made --type=merge -p '{\"data\":{\"m\":\"1\"}}'")
  await kubectl("patch cm made --type=json -p '[{\"op\":\"add\",\"path\":\"/data/j\",\"value\":\"2\"}]'")
  await kubectl("patch deploy plain -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"sidecar\",\"image\":\"busybox\"}]}}}}'")
  assert.equal(await kubectl('get deploy plain -o jsonpath={.spec.template.spec.containers[*].name}'), 'sidecar nginx')
  const made = await server.client.get(ConfigMap, { namespace: 'default', name: 'made' })
  assert.deepEqual({ ...made.data }, { a: 'edited', j: '2', m: '1' })
  assert.deepEqual({ ...made.metadata.labels }, { x: 'y' })
  const yaml = await kubectl('get cm made -o yaml')
  assert.match(await kubectl('replace -f -', { input: yaml.replace('edited', 'replaced') }), /configmap\/made replaced/)
})

test('scale, set image, rollout restart, history, status and undo', async () => {
  assert.match(await kubectl('scale deploy web --replicas=5'), /deployment\.apps\/web scaled/)
  await refused('scale deploy web --current-replicas=4 --replicas=6', /Expected replicas to be 4, was 5/)
  await kubectl('set image deploy/web web=nginx:3')
  await kubectl('rollout restart deploy web')
  const deployment = await server.client.get(Deployment, { namespace: 'default', name: 'web' })
  assert.equal(deployment.spec.replicas, 5)
  assert.ok(deployment.spec.template.metadata?.annotations?.['kubectl.kubernetes.io/restartedAt'] !== undefined)
  // The deployment controller's part, by hand: a replica set for each revision, and a finished roll-out.
  for (const [revision, image] of [['1', 'nginx:1'], ['2', 'nginx:3']] as const) {
    const labels = { app: 'web', 'pod-template-hash': `h${revision}` }
    await server.client.create(ReplicaSet, {
      metadata: {
        name: `web-h${revision}`,
        namespace: 'default',
        labels,
        annotations: { 'deployment.kubernetes.io/revision': revision },
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: deployment.metadata.uid, controller: true }],
      },
      spec: { replicas: 0, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: 'web', image }] } } },
    })
  }
  await server.client.update(
    Deployment,
    {
      ...deployment,
      status: {
        observedGeneration: deployment.metadata.generation,
        replicas: 5,
        updatedReplicas: 5,
        readyReplicas: 5,
        availableReplicas: 5,
        conditions: [{ type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable', message: '', lastUpdateTime: '2026-01-01T00:00:00Z', lastTransitionTime: '2026-01-01T00:00:00Z' }],
      },
    },
    { subresource: 'status' },
  )
  assert.match(await kubectl('rollout status deploy web --timeout=10s'), /successfully rolled out/)
  assert.match(await kubectl('rollout history deploy web'), /REVISION +CHANGE-CAUSE\n1 +<none>\n2 +<none>/)
  assert.match(await kubectl('rollout undo deploy web --to-revision=1'), /rolled back/)
  assert.equal(await kubectl('get deploy web -o jsonpath={.spec.template.spec.containers[0].image}'), 'nginx:1')
})

test('events are the same objects in both groups', async () => {
  const event = (name: string, reason: string): Parameters<typeof server.client.create<typeof Event>>[1] => ({
    metadata: { name, namespace: 'default' },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'one' },
    reason,
    message: `it was ${reason.toLowerCase()}`,
    type: 'Normal',
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 3,
  })
  await server.client.create(Event, event('one.1', 'Started'))
  const newer = { apiVersion: 'events.k8s.io/v1', kind: 'Event', metadata: { name: 'one.2', namespace: 'default' }, eventTime: '2026-01-01T00:00:00.000000Z', action: 'Stopping', reason: 'Stopped', type: 'Normal', note: 'it was stopped', reportingController: 'test', reportingInstance: 'a', regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name: 'one' } }
  await kubectl('create -f -', { input: JSON.stringify(newer) })
  const uids = '-o jsonpath={.items[*].metadata.uid}'
  const stored = await kubectl(`get events ${uids}`)
  assert.equal(stored.split(' ').length, 2)
  assert.equal(await kubectl(`get events.events.k8s.io ${uids}`), stored)
  assert.equal(await kubectl('get events.events.k8s.io -o jsonpath={.items[*].note}'), 'it was started it was stopped')
  for (const line of ['get events', 'get events.events.k8s.io', 'events', 'events --for pod/one']) {
    const shown = await kubectl(line)
    assert.match(shown, /Normal +Started +pod\/one +it was started/i, line)
    assert.match(shown, /Normal +Stopped +pod\/one +it was stopped/i, line)
  }
  await kubectl('delete events.events.k8s.io one.1')
  assert.equal((await kubectl('get events -o name')).trim(), 'event/one.2')
})

test('wait sees a condition come, and an object go', async () => {
  const waiting = kubectl('wait pod/one --for=condition=Ready --timeout=20s')
  const pod = await server.client.get(Pod, { namespace: 'default', name: 'one' })
  await server.client.update(Pod, { ...pod, status: { ...pod.status, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } }, { subresource: 'status' })
  assert.match(await waiting, /pod\/one condition met/)
  const gone = kubectl('wait pod/two --for=delete --timeout=20s')
  await server.client.delete(Pod, { namespace: 'default', name: 'two' })
  await gone
  await refused('wait pod/one --for=condition=Absent --timeout=1s', /timed out waiting for the condition/)
})

test('auth can-i answers for oneself and for others', async () => {
  assert.equal(await kubectl('auth can-i create pods'), 'yes\n')
  const other = await run('auth can-i list secrets --as=system:serviceaccount:default:robot')
  assert.equal(other.out, 'no\n')
  assert.match(await kubectl('auth can-i --list'), /\*\.\* +\[\] +\[\] +\[\*\]/)
  assert.match(await kubectl('auth whoami'), /kubernetes-admin/)
})

test('fields that nothing acts on yet are warned of; roles grant and take away', async () => {
  const warned = await run('apply -f -', { input: '{apiVersion: v1, kind: Pod, metadata: {name: warned}, spec: {containers: [{name: c, image: x}], runtimeClassName: kata, volumes: [{name: v, nfs: {server: s, path: /}}]}}' })
  assert.match(warned.err, /Warning: spec\.runtimeClassName: stored, but without effect/)
  assert.match(warned.err, /Warning: spec\.volumes\[0\]\.nfs: this version cannot mount such volumes/)
  await kubectl('create role reader --verb=get,list --resource=pods')
  await kubectl('create rolebinding readers --role=reader --serviceaccount=default:robot')
  assert.equal(await kubectl('auth can-i list pods --as=system:serviceaccount:default:robot'), 'yes\n')
  assert.equal((await run('auth can-i delete pods --as=system:serviceaccount:default:robot')).out, 'no\n')
  assert.match(await kubectl('describe clusterrole view'), /pods\/log +\[\] +\[\] +\[get list watch\]/)
  assert.match(await kubectl('get rolebindings -o wide'), /readers +Role\/reader +\d+s +default\/robot/)
})

test('dry runs and diffs store nothing', async () => {
  assert.match(await kubectl('create cm dry --from-literal=a=b --dry-run=server -o yaml'), /name: dry/)
  await refused('get cm dry', /not found/)
  const diff = await run('diff -f -', { input: web(7, 'nginx:1') })
  assert.equal(diff.code, 1)
  assert.match(diff.out, /\+ {2}replicas: 7/)
})

test('delete waits, cascades as told, takes selectors, and refuses what is not there', async () => {
  assert.match(await kubectl('delete pod one --wait --timeout=10s'), /pod "one" deleted/)
  assert.match(await kubectl('delete cm -l x=y'), /configmap "made" deleted/)
  await kubectl('delete deploy plain --cascade=orphan --wait=false')
  assert.deepEqual((await server.client.get(Deployment, { namespace: 'default', name: 'plain' })).metadata.finalizers, ['orphan'])
  await kubectl('delete deploy web --cascade=foreground --wait=false')
  assert.deepEqual((await server.client.get(Deployment, { namespace: 'default', name: 'web' })).metadata.finalizers, ['foregroundDeletion'])
  await kubectl('delete svc --all')
  assert.equal(await kubectl('get svc -o name'), '')
  await refused('delete pod one', /pods "one" not found/)
  await refused('delete ns default', /may not be deleted/)
})
