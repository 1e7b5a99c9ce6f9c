/**
 * `npm run bench -- pods`: pods created through the API (HTTPS, durable) against bare etcd puts of the same bytes (plain HTTP/2 gRPC, durable):
 * the least that a kube-apiserver over etcd would spend. Lists of all pods are timed, too, against an etcd range over the same keys.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, type ClientHttp2Session, type SecureClientSessionOptions } from 'node:http2'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { enterNamespaces } from '../tools/instance.ts'
import { compare, timed, type Contender } from './measure.ts'

const podsPerRun = 400
const inFlight = 64
const connections = 4

const podText = (name: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'web', 'pod-template-hash': 'abc' } },
    spec: { containers: [{ name: 'c', image: 'nginx:1', ports: [{ containerPort: 80 }], env: [{ name: 'A', value: 'b' }], resources: { requests: { cpu: '100m', memory: '64Mi' } } }] },
  })

/** A session; what breaks it is told by the request that it takes down. */
function opened(url: string, tls: SecureClientSessionOptions = {}): ClientHttp2Session {
  return connect(url, tls).on('error', (error: Error) => process.env['BERTH_DEBUG'] === undefined || console.error(url, error.message))
}

/** One request on an HTTP/2 session; answers status and body. */
function ask(session: ClientHttp2Session, headers: Record<string, string>, body: Buffer): Promise<{ readonly status: number; readonly body: Buffer }> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers)
    const chunks: Buffer[] = []
    let status = 0
    stream.on('response', (answer) => (status = Number(answer[':status'])))
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => resolve({ status, body: Buffer.concat(chunks) }))
    stream.on('error', reject)
    if (body.length > 0) stream.end(body)
    else stream.end()
  })
}

async function spread(count: number, one: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (next < count) await one((next += 1) - 1)
    }),
  )
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push(rest >= 128 ? (rest % 128) + 128 : rest)
    if (rest < 128) return Buffer.from(bytes)
  }
}

/** A gRPC frame around a message of byte fields: `[number, bytes]`. */
function grpc(fields: readonly (readonly [number, Buffer])[]): Buffer {
  const message = Buffer.concat(fields.flatMap(([number, bytes]) => [Buffer.from([number * 8 + 2]), varint(bytes.length), bytes]))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

async function until(child: ChildProcess, ready: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    if (await ready()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('it did not come up')
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

async function startBerth(folder: string): Promise<{ readonly child: ChildProcess; readonly contenders: readonly [Contender, Contender] }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'pods-server.ts'), folder], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await new Promise<string[]>((resolve) => createInterface({ input: child.stdout }).once('line', (text) => resolve([text])))
  const { port, authority, certificate, key }: { port: number; authority: string; certificate: string; key: string } = JSON.parse(line ?? '{}')
  const sessions = Array.from({ length: connections }, () => opened(`https://127.0.0.1:${port}`, { ca: authority, cert: certificate, key }))
  const session = (index: number): ClientHttp2Session => sessions[index % connections] ?? opened('')
  const path = '/api/v1/namespaces/default/pods'
  let round = 0
  const creates = (): Promise<number> => {
    round += 1
    return timed(() =>
      spread(podsPerRun, async (index) => {
        const { status, body } = await ask(session(index), { ':method': 'POST', ':path': path, 'content-type': 'application/json' }, Buffer.from(podText(`p${round}-${index}`)))
        if (status !== 201) throw new Error(`create: ${status} ${body.toString()}`)
      }),
    )
  }
  const list = (): Promise<number> => timed(() => ask(session(0), { ':path': path }, Buffer.alloc(0)))
  return { child, contenders: [{ name: 'berth', run: creates }, { name: 'berth', run: list }] }
}

async function startEtcd(folder: string, podBytes: Buffer): Promise<{ readonly child: ChildProcess; readonly contenders: readonly [Contender, Contender] } | undefined> {
  if (!existsSync('/usr/bin/etcd')) return undefined
  const [clients, peers] = [await freePort(), await freePort()]
  const url = (port: number): string => `http://127.0.0.1:${port}`
  const child = spawn('/usr/bin/etcd', ['--data-dir', folder, '--listen-client-urls', url(clients), '--advertise-client-urls', url(clients), '--listen-peer-urls', url(peers), '--initial-advertise-peer-urls', url(peers), '--initial-cluster', `default=${url(peers)}`, '--logger', 'zap', '--log-level', 'error'], { stdio: ['ignore', 'ignore', 'inherit'] })
  await until(child, async () => {
    const answer = await fetch(`${url(clients)}/health`).catch((error: unknown) => error)
    return answer instanceof Response && answer.ok
  })
  const sessions = Array.from({ length: connections }, () => opened(url(clients)))
  const session = (index: number): ClientHttp2Session => sessions[index % connections] ?? opened('')
  const headers = (method: string): Record<string, string> => ({ ':method': 'POST', ':path': `/etcdserverpb.KV/${method}`, 'content-type': 'application/grpc', te: 'trailers' })
  let round = 0
  const puts = (): Promise<number> => {
    round += 1
    return timed(() => spread(podsPerRun, (index) => ask(session(index), headers('Put'), grpc([[1, Buffer.from(`/registry/pods/default/p${round}-${index}`)], [2, podBytes]]))))
  }
  const range = (): Promise<number> => timed(() => ask(session(0), headers('Range'), grpc([[1, Buffer.from('/registry/pods/')], [2, Buffer.from('/registry/pods0')]])))
  return { child, contenders: [{ name: 'bare etcd', run: puts }, { name: 'bare etcd', run: range }] }
}

export async function benchPods(): Promise<void> {
  enterNamespaces()
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  const folder = mkdtempSync(join(tmpdir(), 'bp-'))
  const berth = await startBerth(join(folder, 'berth'))
  // What the API server makes of such a pod, and a kube-apiserver would, is about three times what was sent.
  const etcd = await startEtcd(join(folder, 'etcd'), Buffer.alloc(podText('p').length * 3, 'x'))
  try {
    const contenders = (index: 0 | 1): Contender[] => [berth.contenders[index], ...(etcd === undefined ? [] : [etcd.contenders[index]])]
    await compare(`${podsPerRun} pods created, ${inFlight} at a time, durable`, contenders(0), { pairs: 10, warmups: 3 })
    await compare(`list of ${13 * podsPerRun} pods`, contenders(1), { pairs: 10, warmups: 2 })
  } finally {
    for (const child of [berth.child, etcd?.child]) {
      if (child === undefined) continue
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
    }
    rmSync(folder, { recursive: true })
  }
  process.exit()
}
