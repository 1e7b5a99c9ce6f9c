/**
 * The kubelet's HTTPS API (port 10250): logs, exec, attach, port-forward, run, pods, healthz. Only callers with a client certificate of the
 * cluster's authority whose subject is the API server's (or of `system:masters`) get in: whoever comes here may run commands
 * in any pod of the node.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import { parseTarget, RouteTable, sendBytes, sendJson, signalOf } from '#base/http.ts'
import type { Logger } from '#base/log.ts'
import { drained } from '#base/streams.ts'
import type { ContainerStatus, PodRuntime } from '../../contract/runtime.ts'
import type { NodeAgent } from '../agent/agent.ts'
import { podStatus } from '../pod/status.ts'
import { channelProtocols } from './channels.ts'
import { parseLogQuery, readLog } from './logs.ts'
import { refuseUpgrade, Upgrades } from './upgrades.ts'

export interface KubeletServerOptions {
  readonly agent: NodeAgent
  readonly runtime: PodRuntime
  readonly clock: Clock
  readonly log: Logger
  /** Addresses to listen on; all by default. */
  readonly host?: string
  /** 0 picks a free one. */
  readonly port: number
  /** PEM. `clientAuthority` signs the API server's client certificate. */
  readonly tls: { readonly key: string; readonly certificate: string; readonly clientAuthority: string }
  /** Common names that may call, besides members of `system:masters`. */
  readonly callers?: readonly string[]
}

export interface KubeletServer extends AsyncDisposable {
  readonly port: number
  close(): Promise<void>
}

const defaultCallers = ['kube-apiserver-kubelet-client', 'kube-apiserver']
const longestRunOutput = 1024 * 1024

interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
}

export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  const { tls, log, callers = defaultCallers } = options
  const server = createServer({ key: tls.key, cert: tls.certificate, ca: tls.clientAuthority, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' })
  const sockets = new Set<Socket>()
  const upgrades = new Upgrades({ ...options, runningContainer: (params) => runningContainer(options, params) })
  const routes = routeTable(options)
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', (error) => log.debug({ err: error }, 'a kubelet connection broke'))
  })
  server.on('request', (request, response) => {
    answer(routes, { request, response, callers }).catch((error: unknown) => refuse(response, error, log))
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    try {
      checkCaller(request, callers)
      upgrades.accept(request, socket, head)
    } catch (error) {
      refuseUpgrade(socket, error)
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) }, () => resolve())
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : options.port
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  return { port, close, [Symbol.asyncDispose]: close }
}

function checkCaller(request: IncomingMessage, callers: readonly string[]): void {
  const certificate = request.socket instanceof TLSSocket && request.socket.authorized ? request.socket.getPeerCertificate() : undefined
  const names = [certificate?.subject?.CN].flat()
  const groups = [certificate?.subject?.O].flat()
  if (names.some((name) => name !== undefined && callers.includes(name)) || groups.includes('system:masters')) return
  throw new Fault('permissionDenied', `'${names.join(', ')}' may not use the kubelet's API: it serves the API server only`)
}

async function answer(routes: ReturnType<typeof routeTable>, { request, response, callers }: { request: IncomingMessage; response: ServerResponse; callers: readonly string[] }): Promise<void> {
  checkCaller(request, callers)
  const { path, query } = parseTarget(request.url ?? '/')
  const match = routes.find(request.method ?? 'GET', path)
  if (match.kind === 'notFound') throw new Fault('notFound', `404 page not found: ${path}`)
  if (match.kind === 'methodNotAllowed') throw new Fault('methodNotAllowed', `${request.method} is not allowed here; allowed: ${match.allow.join(', ')}`)
  await match.handler({ request, response, params: match.params, query })
}

function refuse(response: ServerResponse, error: unknown, log: Logger): void {
  const fault = asFault(error)
  if (fault.code === 'internal') log.error({ err: error }, 'a kubelet request failed')
  if (response.headersSent) response.destroy()
  else sendBytes(response, Buffer.from(fault.message), { status: fault.httpStatus, contentType: 'text/plain; charset=utf-8' })
}

function routeTable(options: KubeletServerOptions): RouteTable<(call: Call) => Promise<void>> {
  const upgradeRequired = async (): Promise<void> => {
    throw new Fault('invalidArgument', `you must request connection upgrade: WebSocket with ${channelProtocols.join(' or ')}, or SPDY/3.1`)
  }
  const routes = new RouteTable<(call: Call) => Promise<void>>()
    .add('GET', '/healthz', async ({ response }) => sendBytes(response, Buffer.from('ok'), { contentType: 'text/plain; charset=utf-8' }))
    .add('GET', '/pods', async ({ response }) => sendPods(options, response))
    .add('GET', '/containerLogs/:namespace/:pod/:container', (call) => sendLogs(options, call))
    .add('POST', '/run/:namespace/:pod/:container', (call) => runCommand(options, call))
    .add('POST', '/run/:namespace/:pod/:uid/:container', (call) => runCommand(options, call))
  for (const method of ['GET', 'POST']) {
    for (const verb of ['exec', 'attach']) {
      routes.add(method, `/${verb}/:namespace/:pod/:container`, upgradeRequired)
      routes.add(method, `/${verb}/:namespace/:pod/:uid/:container`, upgradeRequired)
    }
  }
  return routes
}

async function sendPods({ agent, clock }: KubeletServerOptions, response: ServerResponse): Promise<void> {
  const items = agent.workers.map(({ pod, state }) => ({ ...pod, status: podStatus(state, { nowMs: clock.nowMs(), hostIps: (pod.status.hostIPs ?? []).map(({ ip }) => ip), previous: pod.status }) }))
  sendJson(response, { kind: 'PodList', apiVersion: 'v1', metadata: {}, items })
}

async function sendLogs(options: KubeletServerOptions, { response, params, query }: Call): Promise<void> {
  const { clock } = options
  const logQuery = parseLogQuery(query, clock.nowMs())
  const containers = await containersOf(options, params)
  // Between two attempts the one that has ended is both the last and the previous one.
  const between = containerBetweenAttempts(options, params)
  const container = logQuery.previous && !between ? containers.at(-2) : containers.at(-1)
  if (container === undefined) throw logRefusal(options, params, logQuery.previous)
  const signal = signalOf(response)
  const stop = new AbortController()
  const ended = logQuery.follow ? endOf(options.runtime, container, AbortSignal.any([signal, stop.signal])) : Promise.resolve()
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.flushHeaders()
  try {
    for await (const chunk of readLog({ path: container.logPath, ended }, logQuery, signal)) {
      if (!response.write(chunk)) await drained(response)
    }
    response.end()
  } finally {
    stop.abort()
  }
}

function containerBetweenAttempts({ agent }: KubeletServerOptions, { namespace = '', pod = '', container = '' }: Readonly<Record<string, string>>): boolean {
  const state = agent.worker(namespace, pod)?.state.containers.find(({ name }) => name === container)
  return state !== undefined && (state.waiting !== undefined || state.phase === 'waiting' || state.phase === 'pulling' || state.phase === 'starting')
}

/** All containers of that name in the pod, oldest first. */
async function containersOf({ agent, runtime }: KubeletServerOptions, params: Readonly<Record<string, string>>): Promise<ContainerStatus[]> {
  const { namespace = '', pod = '', container = '', uid } = params
  const worker = agent.worker(namespace, pod, uid)
  if (worker === undefined) throw new Fault('notFound', `pod "${pod}" in namespace "${namespace}" does not run on this node`)
  if (!worker.state.containers.some(({ name }) => name === container)) throw new Fault('notFound', `container ${container} is not in pod ${namespace}/${pod}`)
  const all = await runtime.containers()
  return all.filter((each) => each.pod.uid === worker.uid && each.name === container && each.state !== 'created').sort((a, b) => a.attempt - b.attempt)
}

function logRefusal({ agent }: KubeletServerOptions, { namespace = '', pod = '', container = '' }: Readonly<Record<string, string>>, previous: boolean): Fault {
  if (previous) return new Fault('invalidArgument', `previous terminated container "${container}" in pod "${pod}" not found`)
  const waiting = agent.worker(namespace, pod)?.state.containers.find(({ name }) => name === container)?.waiting
  const why = waiting?.reason === 'ErrImagePull' || waiting?.reason === 'ImagePullBackOff' ? "trying and failing to pull image" : (waiting?.reason ?? 'ContainerCreating')
  return new Fault('invalidArgument', `container "${container}" in pod "${pod}" is waiting to start: ${why}`)
}

/** Resolves when the container does not run any more. */
async function endOf(runtime: PodRuntime, { id }: ContainerStatus, signal: AbortSignal): Promise<void> {
  const runs = async (): Promise<boolean> => (await runtime.containers()).some((each) => each.id === id && each.state === 'running')
  const events = runtime.events(signal)[Symbol.asyncIterator]()
  // The subscription begins with the first next(): ask for it before looking.
  let next = events.next()
  while (!signal.aborted && (await runs())) {
    const { done, value } = await next
    if (done === true) return
    next = events.next()
    if (value.kind !== 'resync' && !('containerId' in value && value.containerId === id)) continue
  }
}

async function runCommand(options: KubeletServerOptions, { response, params, query }: Call): Promise<void> {
  const container = await runningContainer(options, params)
  const { stdout, stderr } = await options.runtime.runCommand(container.id, query.getAll('cmd').flatMap((text) => text.split(' ')), { maxOutputBytes: longestRunOutput })
  sendBytes(response, Buffer.concat([stdout, stderr]), { contentType: 'text/plain' })
}

async function runningContainer(options: KubeletServerOptions, params: Readonly<Record<string, string>>): Promise<ContainerStatus> {
  const container = (await containersOf(options, params)).at(-1)
  if (container?.state !== 'running') throw new Fault('notFound', `container not found ("${params['container']}")`)
  return container
}
