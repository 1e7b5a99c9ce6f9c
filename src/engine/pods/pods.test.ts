/** Pods on the real kernel through the whole engine: network, shared namespaces, streams, host ports, a restart of ours. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import type { ContainerConfig, ContainerStatus, RuntimeEvent, SandboxConfig, SandboxStatus } from '#cluster/contract/runtime.ts'
import { present } from '#base/assert.ts'
import { sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { type Engine, openEngine } from '../open.ts'
import { type EnginePodRuntime, openPodRuntime } from './pod-runtime.ts'

const name = `berth-pt${process.pid}`
const linkPrefix = `bp${process.pid % 1_000_000}`
const image = 'busybox:test'
let root: string
let kernel: Kernel & AsyncDisposable
let engine: Engine
let pods: EnginePodRuntime

async function open(): Promise<void> {
  engine = await openEngine({
    kernel,
    blobs: await openFileBlobs(join(root, 'blobs')),
    paths: { state: join(root, 's'), run: join(root, 'r') },
    names: { cgroup: name, table: name, bridge: `${linkPrefix}0` },
    networks: { bridgeSubnet: '172.31.0.0/24' },
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  })
  pods = await openPodRuntime({
    containers: engine.containers, images: engine.images, runtime: engine.runtime, kernel, version: '0.1.0', stateDir: join(root, 's'), runDir: join(root, 'r'),
    linkPrefix, table: `${name}-pods`, podCidr: '10.111.0.0/24', clusterCidr: '10.111.0.0/16', clock: systemClock, random: systemRandom, log: silentLogger,
  })
}

async function close(): Promise<void> {
  pods[Symbol.dispose]()
  await engine[Symbol.asyncDispose]()
}

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'pd-'))
  for (const folder of ['bin', 'tmp', 'etc', 'proc', 'dev', 'sys', 'logs']) mkdirSync(join(root, 'image', folder), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'image/bin/busybox'))
  for (const tool of ['sh', 'cat', 'echo', 'sleep', 'true', 'nc', 'hostname', 'ip', 'wget', 'id', 'ls', 'df']) symlinkSync('busybox', join(root, 'image/bin', tool))
  kernel = await openKernel()
  await open()
  const tar = await kernel.processes.start(['tar', '-C', join(root, 'image'), '-c', '.'], { stdio: ['null', 'pipeOut', 'inherit'] })
  await engine.images.importRoot(present(tar.stdio[1], 'the output of tar'), { name: image, defaults: { Env: ['PATH=/bin', 'FROM=image'], Cmd: ['sleep', '1000'] } })
})

afterEach(async () => {
  for (const { id } of await pods.sandboxes()) await pods.removeSandbox(id)
})

after(async () => {
  await close()
  await kernel.nftables.apply(`delete table ip ${name}-pods`)
  for (const link of await kernel.links.list()) if (link.name.startsWith(linkPrefix)) await kernel.links.deleteLink(link.name)
  await kernel.links.deleteRoute({ destination: '10.111.0.0/24', type: 'unreachable' })
  for (const { target } of (await kernel.mounts.table(root)).toReversed()) await kernel.mounts.unmount(target, { lazy: true })
  await kernel.cgroups.remove(name)
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

let count = 0

function sandboxConfig(more: Partial<SandboxConfig> = {}): SandboxConfig {
  count += 1
  const pod = { namespace: 'default', name: `p${count}`, uid: `uid-${count}` }
  return {
    pod, attempt: 0, hostname: pod.name, labels: { app: 'x' }, annotations: { a: '1' }, hostNetwork: false, hostPid: false, hostIpc: false, shareProcessNamespace: false,
    dns: { nameservers: ['10.43.0.10'], searches: ['default.svc.cluster.local'], options: ['ndots:5'] }, sysctls: {}, logDirectory: join(root, 'logs', pod.uid), cgroupParent: `kubepods/pod${pod.uid}`, hostPorts: [],
    ...more,
  }
}

function containerConfig(command: readonly string[] | undefined, more: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    name: 'main', attempt: 0, image, imageReference: image, ...(command === undefined ? {} : { command }), env: [{ name: 'WHO', value: 'pod' }], mounts: [], resources: {},
    security: { privileged: false, readOnlyRootFilesystem: false, noNewPrivileges: false, supplementalGroups: [], capabilities: { add: [], drop: [] }, seccomp: { type: 'RuntimeDefault' }, unmaskedProc: false },
    tty: false, stdin: false, stdinOnce: false, logPath: 'main/0.log', labels: {}, annotations: {},
    ...more,
  }
}

async function running(config: ContainerConfig = containerConfig(undefined), sandboxMore: Partial<SandboxConfig> = {}): Promise<{ readonly sandbox: SandboxStatus; readonly id: string }> {
  const sandbox = await pods.runSandbox(sandboxConfig(sandboxMore))
  const id = await pods.createContainer(sandbox.id, config)
  await pods.startContainer(id)
  return { sandbox, id }
}

async function output(id: string, command: string): Promise<string> {
  const { stdout, stderr, exitCode } = await pods.runCommand(id, ['sh', '-c', command], { timeoutMs: 10_000 })
  assert.equal(exitCode, 0, `${command}: ${stderr.toString()}`)
  return stdout.toString()
}

async function exited(id: string): Promise<ContainerStatus> {
  const abort = new AbortController()
  const events = pods.events(abort.signal)
  for (let status = await pods.container(id); ; status = await pods.container(id)) {
    if (status.state === 'exited') {
      abort.abort()
      return status
    }
    for await (const _ of events) break
  }
}

test('a pod has its name, files, address and environment; its containers share network, host name and shared memory', async () => {
  const { sandbox, id } = await running()
  const second = await pods.createContainer(sandbox.id, containerConfig(undefined, { name: 'side', logPath: 'side/0.log' }))
  await pods.startContainer(second)
  const [ip = ''] = sandbox.ips
  assert.match(ip, /^10\.111\.0\./)
  assert.equal(await output(id, 'hostname; echo $WHO $FROM'), `${sandbox.pod.name}\npod image\n`)
  assert.match(await output(id, 'cat /etc/resolv.conf'), /nameserver 10\.43\.0\.10\nsearch default\.svc\.cluster\.local\noptions ndots:5/)
  assert.match(await output(id, 'cat /etc/hosts'), new RegExp(`${ip}\\s+${sandbox.pod.name}`))
  await output(id, 'echo shared > /dev/shm/x')
  assert.equal(await output(second, 'cat /dev/shm/x; hostname'), `shared\n${sandbox.pod.name}\n`)
  await output(id, 'nc -l -p 9000 -e echo hi & sleep 0')
  assert.equal(await output(second, 'for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 9000 && break; sleep 0.1; done'), 'hi\n')
})

test('two pods and the host reach each other, and a pod that is gone is unreachable at once', async () => {
  const server = await running(containerConfig(['sh', '-c', 'while true; do nc -l -p 8000 -e echo served; done']))
  const client = await running()
  const [ip = ''] = server.sandbox.ips
  assert.equal(await output(client.id, `for i in 1 2 3 4 5 6 7 8 9; do nc ${ip} 8000 && break; sleep 0.1; done`), 'served\n')
  assert.equal(await fetched(ip, 8000), 'served\n')
  await pods.removeSandbox(server.sandbox.id)
  await assert.rejects(fetched(ip, 8000), /EHOSTUNREACH|ECONNREFUSED/)
})

function fetched(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    connect({ host, port })
      .on('data', (chunk) => (text += String(chunk)))
      .on('end', () => resolve(text))
      .on('error', reject)
  })
}

test('host ports lead into the pod, dial reaches its loopback, a port taken twice is refused', async () => {
  const hostPorts = [{ hostPort: 18_080, containerPort: 8000, protocol: 'TCP' as const }]
  const { sandbox } = await running(containerConfig(['sh', '-c', 'while true; do nc -l -p 8000 -e echo served; done']), { hostPorts })
  let dialled = ''
  for (let tries = 0; dialled === '' && tries < 300; tries += 1) {
    await sleep(systemClock, 10)
    try {
      for await (const chunk of await pods.dial(sandbox.id, 8000)) dialled += String(chunk)
    } catch (error) {
      // Not listening yet.
      if (!isFault(error, 'unavailable')) throw error
    }
  }
  assert.equal(dialled, 'served\n')
  const addresses = (await kernel.links.list()).flatMap((link) => (link.name.startsWith(linkPrefix) ? link.addresses : []))
  const gateway = addresses.find((address) => address.startsWith('10.111.0.1/')) ?? ''
  let text = ''
  for (let tries = 0; text === '' && tries < 300; tries += 1) {
    await sleep(systemClock, 10)
    text = await fetched(gateway.split('/')[0] ?? '', 18_080).catch((error: NodeJS.ErrnoException) => (error.code === 'ECONNREFUSED' ? '' : Promise.reject(error)))
  }
  assert.equal(text, 'served\n')
  await assert.rejects(pods.runSandbox(sandboxConfig({ hostPorts })), (error) => isFault(error, 'conflict'))
})

test('a pod on the node’s network has no address of its own and sees the node’s links', async () => {
  const { sandbox, id } = await running(undefined, { hostNetwork: true })
  assert.deepEqual(sandbox.ips, [])
  assert.match(await output(id, 'ip addr'), new RegExp(`${linkPrefix}-pods`))
})

test('exit codes, events, logs, the stop signal and its grace', async () => {
  const { sandbox, id } = await running(containerConfig(['sh', '-c', 'echo to the log; exit 3']))
  const status = await exited(id)
  assert.equal(status.exitCode, 3)
  assert.equal(status.state, 'exited')
  assert.match(readFileSync(status.logPath, 'utf8'), / stdout F to the log\n/)
  const other = await pods.createContainer(sandbox.id, containerConfig(['sh', '-c', 'trap "exit 9" TERM; while true; do sleep 0.01; done'], { attempt: 1, logPath: 'main/1.log' }))
  const abort = new AbortController()
  const seen: RuntimeEvent[] = []
  const reading = (async () => {
    for await (const event of pods.events(abort.signal)) seen.push(event)
  })()
  await pods.startContainer(other)
  await output(other, 'true')
  await pods.stopContainer(other, { graceMs: 10_000 })
  assert.equal((await pods.container(other)).exitCode, 9)
  await pods.stopContainer(other, { graceMs: 0 })
  await pods.stopContainer('f'.repeat(64), { graceMs: 0 })
  await pods.removeContainer(other)
  await pods.removeContainer(other)
  abort.abort()
  await reading
  // They may repeat.
  assert.deepEqual([...new Set(seen.map(({ kind }) => kind))], ['started', 'exited', 'removed'])
})

test('names are unique per attempt, a missing command ends with 127, unknown ids are notFound', async () => {
  const { sandbox, id } = await running()
  await assert.rejects(pods.createContainer(sandbox.id, containerConfig(undefined)), (error) => isFault(error, 'alreadyExists'))
  await assert.rejects(pods.runSandbox({ ...sandboxConfig(), pod: sandbox.pod }), (error) => isFault(error, 'alreadyExists'))
  const broken = await pods.createContainer(sandbox.id, containerConfig(['/no/such/program'], { name: 'broken' }))
  await assert.rejects(pods.startContainer(broken), (error) => isFault(error, 'invalidArgument'))
  const status = await pods.container(broken)
  assert.deepEqual([status.state, status.exitCode], ['exited', 127])
  await assert.rejects(pods.container('f'.repeat(64)), (error) => isFault(error, 'notFound'))
  await assert.rejects(pods.createContainer(sandbox.id, containerConfig(undefined, { name: 'c2', image: 'no-such-image' })), (error) => isFault(error, 'notFound'))
  await assert.rejects(pods.runCommand(id, ['sleep', '1000'], { timeoutMs: 50 }), (error) => isFault(error, 'timeout'))
})

test('a streaming exec half-closes its input; attach reads a container’s output', async () => {
  const { id } = await running(containerConfig(['cat'], { stdin: true, stdinOnce: true }))
  const exec = await pods.exec(id, { command: ['sh', '-c', 'cat; echo err >&2; exit 4'], tty: false, stdin: true, stdout: true, stderr: true })
  exec.stdin?.end('through exec')
  const text = async (stream: AsyncIterable<unknown> | undefined): Promise<string> => {
    let all = ''
    for await (const chunk of stream ?? []) all += String(chunk)
    return all
  }
  assert.deepEqual(await Promise.all([text(exec.stdout), text(exec.stderr), exec.exit]), ['through exec', 'err\n', 4])
  const attached = await pods.attach(id, { stdin: true, stdout: true, stderr: true })
  attached.stdin?.end('through attach')
  assert.deepEqual(await Promise.all([text(attached.stdout), attached.exit]), ['through attach', 0])
})

test('sandboxes and containers survive a restart of the node process, and what ended meanwhile is known', async () => {
  const keeps = await running(undefined, { hostPorts: [{ hostPort: 18_081, containerPort: 8000, protocol: 'TCP' }] })
  const ends = await running()
  const before = await pods.sandbox(keeps.sandbox.id)
  await close()
  await kernel.cgroups.kill(`${name}/kubepods/pod${ends.sandbox.pod.uid}`)
  await open()
  assert.deepEqual(await pods.sandbox(keeps.sandbox.id), before)
  assert.equal((await pods.container(keeps.id)).state, 'running')
  assert.equal(await output(keeps.id, 'hostname'), `${keeps.sandbox.pod.name}\n`)
  assert.equal((await exited(ends.id)).exitCode, 137)
  const fresh = await running()
  assert.equal(new Set([keeps, ends, fresh].map(({ sandbox }) => sandbox.ips[0])).size, 3)
  await pods.stopSandbox(keeps.sandbox.id)
  await pods.stopSandbox(keeps.sandbox.id)
  assert.deepEqual([(await pods.sandbox(keeps.sandbox.id)).state, (await pods.container(keeps.id)).state], ['notReady', 'exited'])
  await assert.rejects(pods.createContainer(keeps.sandbox.id, containerConfig(undefined, { name: 'late' })), (error) => isFault(error, 'conflict'))
})
