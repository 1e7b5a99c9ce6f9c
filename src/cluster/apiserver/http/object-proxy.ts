/**
 * The `proxy` subresource of pods, services and nodes: HTTP to what stands behind the object, by way of the API server
 * (https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls).
 * The object is named `[scheme:]name[:port]`. Connections are not upgraded here.
 */
import type { IncomingMessage } from 'node:http'
import { request as httpRequest } from '#base/http-module.ts'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { Fault } from '#base/fault.ts'
import { randomInt } from '#base/random.ts'
import type { JsonObject } from '#schema/json.ts'
import type { Node } from '../../api/core/v1/node.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { Service } from '../../api/core/v1/service.ts'
import type { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { asKind } from '../entry.ts'
import type { KeyPair } from '../pki/authority.ts'
import { badRequest, notFound } from '../refusals.ts'
import type { Surroundings } from '../strategy.ts'
import type { Exchange } from './exchange.ts'
import { kubeletAddress } from './kubelet-address.ts'
import type { ResourceInfo } from './request-info.ts'

export interface ObjectProxyOptions {
  readonly surroundings: Surroundings
  readonly authority: string
  /** Shown to kubelets. */
  readonly client: KeyPair
}

interface Destination {
  readonly host: string
  readonly port: number
  readonly tls: RequestOptions | undefined
}

interface Named {
  readonly scheme: string
  readonly name: string
  readonly port: string
}

function parseName(text: string): Named {
  const parts = text.split(':')
  if (parts.length === 3) return { scheme: parts[0] ?? '', name: parts[1] ?? '', port: parts[2] ?? '' }
  const schemed = parts.length === 2 && (parts[0] === 'http' || parts[0] === 'https')
  return schemed ? { scheme: parts[0] ?? '', name: parts[1] ?? '', port: '' } : { scheme: '', name: parts[0] ?? '', port: parts[1] ?? '' }
}

function portNumber(text: string, named: readonly { readonly name?: string; readonly number: number | undefined }[], fallback: number): number {
  if (text === '') return named[0]?.number ?? fallback
  const found = named.find(({ name }) => name === text)?.number ?? Number(text)
  if (!(Number.isInteger(found) && found > 0 && found < 65_536)) throw badRequest(`"${text}" is no port of it: ${named.map(({ name, number }) => name ?? number).join(', ')}`)
  return found
}

export function isProxySubresource({ group, plural, subresource }: ResourceInfo): boolean {
  return group === '' && subresource === 'proxy' && (plural === 'pods' || plural === 'services' || plural === 'nodes')
}

/** Headers of one hop, and what is between the caller and this server alone. */
const withheld = new Set(['authorization', 'connection', 'cookie', 'host', 'keep-alive', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade'])

function passed(headers: IncomingMessage['headers']): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([name, value]) => value !== undefined && !name.startsWith(':') && !withheld.has(name))
  return Object.fromEntries(kept.map(([name, value]): [string, string | string[]] => [name, value ?? '']))
}

function findDestination({ surroundings, authority, client }: ObjectProxyOptions, { plural, namespace, name: text }: ResourceInfo): Destination {
  const named = parseName(text)
  const kinds: Readonly<Record<string, string>> = { pods: 'Pod', services: 'Service', nodes: 'Node' }
  const object = surroundings.object({ group: '', plural }, { namespace: plural === 'nodes' ? '' : namespace, name: named.name })
  if (object === undefined) throw notFound({ group: '', plural, kind: kinds[plural] ?? '' }, named.name)
  const tls = named.scheme === 'https' ? { rejectUnauthorized: false } : undefined
  switch (plural) {
    case 'nodes': {
      const { host, port } = kubeletAddress(asKind<Node>(object))
      return { host, port: portNumber(named.port, [], port), tls: { ca: authority, cert: client.certificate, key: client.key } }
    }
    case 'pods': {
      const { spec, status, metadata } = asKind<Pod>(object)
      if (status.podIP === undefined || status.podIP === '') throw new Fault('unavailable', `pod ${metadata.name} has no address yet`)
      const ports = spec.containers.flatMap((container) => (container.ports ?? []).map(({ name, containerPort }) => ({ name, number: containerPort })))
      return { host: status.podIP, port: portNumber(named.port, ports, 80), tls }
    }
    default:
      return { ...serviceEndpoint(surroundings, object, named), tls }
  }
}

/** One of the ready endpoints behind the service's port. */
function serviceEndpoint(surroundings: Surroundings, object: JsonObject, { name, port }: Named): { readonly host: string; readonly port: number } {
  const { spec, metadata } = asKind<Service>(object)
  const wanted = (spec.ports ?? []).find((known) => port === '' || known.name === port || String(known.port) === port)
  if (wanted === undefined) throw badRequest(`service ${name} has no port "${port}"`)
  const found: { readonly host: string; readonly port: number }[] = []
  for (const slice of surroundings.objects({ group: 'discovery.k8s.io', plural: 'endpointslices' })) {
    const { metadata: own, ports, endpoints } = asKind<EndpointSlice>(slice)
    if (own.namespace !== metadata.namespace || own.labels?.['kubernetes.io/service-name'] !== name) continue
    const number = (ports ?? []).find((known) => (known.name ?? '') === (wanted.name ?? ''))?.port
    if (number === undefined) continue
    for (const { addresses, conditions } of endpoints ?? []) if (conditions?.ready !== false && addresses[0] !== undefined) found.push({ host: addresses[0], port: number })
  }
  const chosen = found.length === 0 ? undefined : found[randomInt(surroundings.random, found.length)]
  if (chosen === undefined) throw new Fault('unavailable', `no endpoints available for service "${name}"`)
  return chosen
}

export type ObjectProxy = (exchange: Exchange, info: ResourceInfo) => Promise<void>

export function objectProxy(options: ObjectProxyOptions): ObjectProxy {
  return async (exchange, info) => {
    const { host, port, tls } = findDestination(options, info)
    const { request, response, url, signal } = exchange
    const send = tls === undefined ? httpRequest : httpsRequest
    const outgoing = send({ ...tls, host, port, method: request.method, path: `/${info.rest}${url.search}`, headers: { ...passed(request.headers), host: `${host}:${port}` }, agent: false, signal })
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve)
      outgoing.once('error', (cause) => reject(new Fault('unavailable', `error trying to reach ${info.plural.slice(0, -1)} ${info.name}: ${cause.message}`, { cause })))
    })
    const sent = pipeline(request, outgoing)
    const [answer] = await Promise.all([answered, sent])
    response.writeHead(answer.statusCode ?? 502, passed(answer.headers))
    await pipeline(answer, response, { signal })
  }
}
