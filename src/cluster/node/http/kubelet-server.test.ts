/** The kubelet's HTTPS API over real TLS and real log files, with a simulated runtime behind it. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { ServiceAccount } from '../../api/core/v1/service-account.ts'
import { allKinds } from '../../api/index.ts'
import { createApi } from '../../apiserver/api.ts'
import { localClient } from '../../apiserver/local-client.ts'
import type { KeyPair } from '../../apiserver/pki/authority.ts'
import { createAuthority, issue } from '../../apiserver/pki/authority.ts'
import { openMemoryStore } from '../../store/memory/store.ts'
import { startNodeAgent } from '../agent/agent.ts'
import { simulatedFiles, simulatedNetwork } from '../simulated/machine.ts'
import type { SimulatedRuntime } from '../simulated/runtime.ts'
import { simulatedRuntime } from '../simulated/runtime.ts'
import { renderLine, tailStart } from './log-lines.ts'
import { startKubeletServer } from './kubelet-server.ts'

interface World {
  readonly port: number
  readonly authority: string
  readonly caller: KeyPair
  readonly stranger: KeyPair
  readonly runtime: SimulatedRuntime
  readonly logPath: string
  readonly containerId: string
}

async function withWorld(body: (world: World) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'kl-'))
  const ports = { clock: systemClock, random: systemRandom }
  const authority = await createAuthority('test', 1, ports)
  const serving = await issue(authority, { commonName: 'system:node:n1', usage: 'server', subjectAltNames: ['127.0.0.1'], validDays: 1 }, ports)
  const caller = await issue(authority, { commonName: 'kube-apiserver-kubelet-client', usage: 'client', validDays: 1 }, ports)
  const stranger = await issue(authority, { commonName: 'somebody', usage: 'client', validDays: 1 }, ports)
  const store = openMemoryStore()
  const api = await createApi({ store, kinds: allKinds, ...ports, log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  const client = localClient({ api })
  await client.create(Namespace, { metadata: { name: 'default' } })
  await client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' }, automountServiceAccountToken: false })
  const exec = (command: readonly string[]): { exitCode: number; stdout: string; stderr: string } => ({ exitCode: command[0] === 'fail' ? 3 : 0, stdout: `out:${command.join(' ')}\n`, stderr: 'err\n' })
  const runtime = simulatedRuntime({ ...ports, program: () => ({ exec }) })
  const capacity = { cpu: '1', memory: '1Gi', pods: '10' }
  const info = { machineID: '', systemUUID: '', bootID: '', kernelVersion: '', osImage: '', kubeletVersion: '', kubeProxyVersion: '', operatingSystem: 'linux', architecture: 'amd64' }
  const agent = await startNodeAgent({
    client, runtime, files: simulatedFiles(), network: simulatedNetwork(), ...ports, log: silentLogger,
    node: { name: 'n1', hostname: 'n1', addresses: ['127.0.0.1'], labels: {}, port: 0, capacity, allocatable: capacity, info },
    folders: { root: join(folder, 'k'), logs: join(folder, 'logs') },
  })
  const server = await startKubeletServer({ agent, runtime, clock: systemClock, log: silentLogger, host: '127.0.0.1', port: 0, tls: { key: serving.key, certificate: serving.certificate, clientAuthority: authority.certificate } })
  try {
    await client.create(Pod, { metadata: { name: 'a', namespace: 'default' }, spec: { nodeName: 'n1', containers: [{ name: 'web', image: 'web:1' }] } })
    const running = await firstRunning(runtime)
    mkdirSync(dirname(running.logPath), { recursive: true })
    await body({ port: server.port, authority: authority.certificate, caller, stranger, runtime, logPath: running.logPath, containerId: running.id })
  } finally {
    await server.close()
    await agent.close()
    await api.close()
    await store.close()
    rmSync(folder, { recursive: true })
  }
}

async function firstRunning(runtime: SimulatedRuntime): Promise<{ id: string; logPath: string }> {
  const stop = new AbortController()
  for await (const event of runtime.events(stop.signal)) if (event.kind === 'started') break
  const [found] = await runtime.containers()
  assert.ok(found)
  return found
}

interface Answer {
  readonly status: number
  readonly body: string
}

function get(world: World, path: string, options: { caller?: KeyPair; method?: string; onChunk?: (text: string) => void } = {}): Promise<Answer> {
  const { certificate, key } = options.caller ?? world.caller
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port: world.port, path, method: options.method ?? 'GET', ca: world.authority, cert: certificate, key, agent: false }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString()
        options.onChunk?.(body)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

const line = (text: string, tag = 'F', stream = 'stdout', second = 0): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000000Z ${stream} ${tag} ${text}\n`

test('only the API server may call; others are refused with the reason', () =>
  withWorld(async (world) => {
    assert.deepEqual(await get(world, '/healthz'), { status: 200, body: 'ok' })
    const refused = await get(world, '/pods', { caller: world.stranger })
    assert.equal(refused.status, 403)
    assert.match(refused.body, /'somebody' may not use the kubelet's API/)
    const pods: unknown = JSON.parse((await get(world, '/pods')).body)
    assert.ok(typeof pods === 'object' && pods !== null && 'items' in pods && Array.isArray(pods.items) && pods.items.length === 1)
    assert.equal((await get(world, '/nothing')).status, 404)
  }))

test('logs: whole, tail, timestamps, limit, parts of long lines joined, rotated files first', () =>
  withWorld(async (world) => {
    writeFileSync(`${world.logPath}.1`, line('old'))
    writeFileSync(world.logPath, line('one') + line('tw', 'P') + line('o', 'F') + line('three', 'F', 'stderr', 7))
    const logs = async (query: string): Promise<string> => (await get(world, `/containerLogs/default/a/web?${query}`)).body
    assert.equal(await logs(''), 'old\none\ntwo\nthree\n')
    assert.equal(await logs('tailLines=2'), 'two\nthree\n')
    assert.equal(await logs('tailLines=0'), '')
    assert.equal(await logs('tailLines=1&timestamps=true'), '2026-01-01T00:00:07.000000000Z three\n')
    assert.equal(await logs('limitBytes=5'), 'old\no')
    assert.equal(await logs('sinceTime=2026-01-01T00:00:05Z'), 'three\n')
    const previous = await get(world, '/containerLogs/default/a/web?previous=true')
    assert.equal(previous.status, 400)
    assert.match(previous.body, /previous terminated container "web" in pod "a" not found/)
    assert.equal((await get(world, '/containerLogs/default/a/nope')).status, 404)
    assert.equal((await get(world, '/containerLogs/default/a/web?tailLines=x')).status, 400)
  }))

test('followed logs come as they are written, over a rotation, and end with the container', () =>
  withWorld(async (world) => {
    writeFileSync(world.logPath, line('one'))
    const seen: string[] = []
    const answer = await get(world, '/containerLogs/default/a/web?follow=true', {
      onChunk: (body) => {
        seen.push(body)
        if (body === 'one\n') appendFileSync(world.logPath, line('two'))
        if (body === 'one\ntwo\n') {
          renameSync(world.logPath, `${world.logPath}.1`)
          writeFileSync(world.logPath, line('three'))
        }
        if (body === 'one\ntwo\nthree\n') world.runtime.exit(world.containerId, 0)
      },
    })
    assert.equal(answer.body, 'one\ntwo\nthree\n')
  }))

interface Exchange {
  readonly stdout: string
  readonly stderr: string
  readonly outcome: unknown
}

function exec(world: World, query: string, protocol = 'v5.channel.k8s.io'): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://127.0.0.1:${world.port}/exec/default/a/web?${query}`, [protocol], { ca: world.authority, cert: world.caller.certificate, key: world.caller.key })
    const channels = new Map<number, string>()
    socket.on('message', (data: Buffer) => channels.set(data[0] ?? 0, (channels.get(data[0] ?? 0) ?? '') + data.subarray(1).toString()))
    socket.on('unexpected-response', (_request, response) => reject(new Error(`status ${response.statusCode}`)))
    socket.on('error', reject)
    socket.on('close', () => resolve({ stdout: channels.get(1) ?? '', stderr: channels.get(2) ?? '', outcome: JSON.parse(channels.get(3) ?? 'null') }))
  })
}

test('exec over WebSocket: streams on their channels, the exit code as a Status, in v4 and v5', () =>
  withWorld(async (world) => {
    for (const protocol of ['v5.channel.k8s.io', 'v4.channel.k8s.io']) {
      const good = await exec(world, 'command=ls&command=-l&output=1&error=1', protocol)
      assert.deepEqual(good, { stdout: 'out:ls -l\n', stderr: 'err\n', outcome: { metadata: {}, status: 'Success' } })
    }
    const bad = await exec(world, 'command=fail&output=1')
    assert.deepEqual(bad.outcome, {
      metadata: {}, status: 'Failure', message: 'command terminated with non-zero exit code: exit status 3', reason: 'NonZeroExitCode', details: { causes: [{ reason: 'ExitCode', message: '3' }] },
    })
    await assert.rejects(exec(world, 'output=1'), /status 400/)
    await assert.rejects(exec(world, 'command=ls&output=1', 'v9.channel.k8s.io'), /status 400/)
  }))

test('lines that are not in CRI format are passed on; a tail counts whole lines', () => {
  assert.equal(renderLine(Buffer.from('plain text'), { timestamps: false }, false)?.text.toString(), 'plain text\n')
  const end = Buffer.from(line('a') + line('b', 'P') + line('c'))
  assert.equal(end.subarray(tailStart(end, 1)).toString(), line('b', 'P') + line('c'))
  assert.equal(tailStart(end, 5), 0)
})
