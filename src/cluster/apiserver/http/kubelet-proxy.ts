/**
 * Logs, exec, attach and port-forward: the API server finds the pod's node and passes the request on to its kubelet, over TLS
 * with the server's client certificate. A connection that was upgraded (SPDY/3.1, WebSocket) is tunnelled byte for byte.
 */
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Fault } from '#base/fault.ts'
import type { Node } from '../../api/core/v1/node.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import { asKind } from '../entry.ts'
import type { KeyPair } from '../pki/authority.ts'
import { badRequest, notFound } from '../refusals.ts'
import type { Surroundings } from '../strategy.ts'
import type { Exchange } from './exchange.ts'
import { kubeletAddress } from './kubelet-address.ts'
import type { ResourceInfo } from './request-info.ts'

export interface KubeletProxyOptions {
  readonly surroundings: Surroundings
  /** PEM: who signs kubelets' serving certificates. */
  readonly authority: string
  readonly client: KeyPair
}

const connectTimeoutMs = 10_000
const kubeletSubresources = new Set(['log', 'exec', 'attach', 'portforward'])

export function isKubeletSubresource({ group, plural, subresource }: ResourceInfo): boolean {
  return group === '' && plural === 'pods' && kubeletSubresources.has(subresource)
}

interface KubeletAddress {
  readonly host: string
  readonly port: number
  readonly node: string
}

function kubeletOf(surroundings: Surroundings, pod: Pod): KubeletAddress {
  const name = pod.spec.nodeName ?? ''
  if (name === '') throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`)
  const object = surroundings.object({ group: '', plural: 'nodes' }, { namespace: '', name })
  if (object === undefined) throw notFound({ group: '', plural: 'nodes', kind: 'Node' }, name)
  return { ...kubeletAddress(asKind<Node>(object)), node: name }
}

/** The container a request means: the one it names, the pod's default, or the only one. */
function containerOf(pod: Pod, wanted: string | null): string {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? []), ...(pod.spec.ephemeralContainers ?? [])].map(({ name }) => name)
  const name = wanted === null || wanted === '' ? (pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'] ?? '') : wanted
  if (name === '') {
    const [only, ...others] = pod.spec.containers.map((container) => container.name)
    if (only !== undefined && others.length === 0) return only
    throw badRequest(`a container name must be specified for pod ${pod.metadata.name}, choose one of: [${all.join(' ')}]`)
  }
  if (!all.includes(name)) throw badRequest(`container ${name} is not valid for pod ${pod.metadata.name}: it has [${all.join(' ')}]`)
  return name
}

const logParameters = ['follow', 'previous', 'sinceSeconds', 'sinceTime', 'timestamps', 'tailLines', 'limitBytes', 'stream']

/** The kubelet's path for a subresource of a pod. */
function kubeletPath(pod: Pod, subresource: string, query: URLSearchParams): string {
  const place = `${encodeURIComponent(pod.metadata.namespace)}/${encodeURIComponent(pod.metadata.name)}`
  const passed = new URLSearchParams()
  switch (subresource) {
    case 'log': {
      for (const name of logParameters) for (const value of query.getAll(name)) if (value !== '') passed.append(name, value)
      return `/containerLogs/${place}/${encodeURIComponent(containerOf(pod, query.get('container')))}?${passed.toString()}`
    }
    case 'exec':
    case 'attach': {
      const streams = { stdin: 'input', stdout: 'output', stderr: 'error', tty: 'tty' } as const
      for (const [name, kubeletName] of Object.entries(streams)) if (['true', '1', ''].includes(query.get(name) ?? 'false')) passed.append(kubeletName, '1')
      for (const command of query.getAll('command')) passed.append('command', command)
      return `/${subresource}/${place}/${encodeURIComponent(containerOf(pod, query.get('container')))}?${passed.toString()}`
    }
    default:
      for (const port of query.getAll('ports')) passed.append('port', port)
      return `/portForward/${place}?${passed.toString()}`
  }
}

/** Headers that concern one hop only, and the caller's credentials, are not passed on. */
const withheld = new Set(['authorization', 'cookie', 'host', 'content-length', 'transfer-encoding', 'keep-alive', 'te', 'trailer', 'proxy-authorization'])

function passedHeaders(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers)) {
    if (name.startsWith(':') || withheld.has(name) || name.startsWith('impersonate-') || value === undefined) continue
    headers[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return headers
}

export interface KubeletProxy {
  /** Answers a request that is not upgraded: logs. */
  answer(exchange: Exchange, info: ResourceInfo): Promise<void>
  /** Takes over the client's socket of a request that asks for an upgrade. */
  upgrade(request: IncomingMessage, client: { readonly socket: Duplex; readonly head: Buffer }, target: { readonly url: URL; readonly info: ResourceInfo }): Promise<void>
}

export function kubeletProxy({ surroundings, authority, client }: KubeletProxyOptions): KubeletProxy {
  const optionsFor = (info: ResourceInfo, query: URLSearchParams): RequestOptions & { readonly node: string } => {
    const object = surroundings.object({ group: '', plural: 'pods' }, { namespace: info.namespace, name: info.name })
    if (object === undefined) throw notFound({ group: '', plural: 'pods', kind: 'Pod' }, info.name)
    const pod = asKind<Pod>(object)
    const { host, port, node } = kubeletOf(surroundings, pod)
    return { host, port, node, path: kubeletPath(pod, info.subresource, query), ca: authority, cert: client.certificate, key: client.key, agent: false }
  }
  const unreachable = (node: string, cause: Error): Fault => new Fault('unavailable', `the kubelet of node ${node} cannot be reached: ${cause.message}`, { cause })

  return {
    async answer(exchange, info) {
      const { node, ...options } = optionsFor(info, exchange.url.searchParams)
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const outgoing = httpsRequest({ ...options, method: exchange.request.method, signal: exchange.signal, timeout: connectTimeoutMs })
        const giveUp = (): void => void outgoing.destroy(new Error(`no answer within ${connectTimeoutMs / 1000} s`))
        outgoing.once('timeout', giveUp)
        outgoing.once('response', (message) => {
          // From here on silence is only a container that writes nothing.
          outgoing.off('timeout', giveUp)
          resolve(message)
        })
        outgoing.once('error', (error) => reject(unreachable(node, error)))
        outgoing.end()
      })
      const { response } = exchange
      const status = answer.statusCode ?? 502
      response.writeHead(status, { 'content-type': answer.headers['content-type'] ?? 'text/plain' })
      if (info.subresource === 'log') response.flushHeaders()
      await pipeline(answer, response, { signal: exchange.signal })
    },

    async upgrade(request, { socket, head }, { url, info }) {
      const { node, ...options } = optionsFor(info, url.searchParams)
      const outgoing = httpsRequest({ ...options, method: request.method, headers: { ...passedHeaders(request), host: `${options.host}:${options.port}` } })
      const [answer, kubelet, kubeletHead] = await new Promise<[IncomingMessage, Duplex | undefined, Buffer]>((resolve, reject) => {
        outgoing.once('upgrade', (message, duplex, first) => resolve([message, duplex, first]))
        outgoing.once('response', (message) => resolve([message, undefined, Buffer.alloc(0)]))
        outgoing.once('error', (error) => reject(unreachable(node, error)))
        socket.once('close', () => outgoing.destroy())
        outgoing.end()
      })
      writeHead(socket, answer)
      if (kubelet === undefined) {
        await pipeline(answer, socket)
        return
      }
      socket.write(kubeletHead)
      kubelet.write(head)
      await tunnel(socket, kubelet)
    },
  }
}

function writeHead(socket: Duplex, { httpVersion, statusCode, statusMessage, rawHeaders }: IncomingMessage): void {
  const lines = [`HTTP/${httpVersion} ${statusCode} ${statusMessage}`]
  for (let index = 0; index < rawHeaders.length; index += 2) lines.push(`${rawHeaders[index]}: ${rawHeaders[index + 1]}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
}

/** Both directions until both have ended; when one side breaks, so does the other. */
async function tunnel(a: Duplex, b: Duplex): Promise<void> {
  // Each socket is source and target of a pipeline besides what TLS and HTTP listen for.
  for (const side of [a, b]) side.setMaxListeners(32)
  const one = async (from: Duplex, to: Duplex): Promise<void> => {
    try {
      await pipeline(from, to)
    } catch (error) {
      from.destroy()
      to.destroy()
      // A side that hangs up is how these connections end.
      if (!(error instanceof Error) || !('code' in error)) throw error
    }
  }
  await Promise.all([one(a, b), one(b, a)])
}
