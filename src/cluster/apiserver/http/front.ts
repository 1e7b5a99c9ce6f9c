/**
 * The HTTP front: authenticate, authorise, dispatch. It knows requests and answers; what they mean is the API core's (`../api.ts`).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { asFault, Fault } from '#base/fault.ts'
import { parseTarget } from '#base/http.ts'
import type { Logger } from '#base/log.ts'
import { Gate } from '#base/task.ts'
import type { AnyKind } from '#schema/kind.ts'
import type { PolicyRule } from '../../api/rbac/v1/policy-rule.ts'
import type { Authorizer, AuthorizationRequest, UserInfo } from '../../contract/authorizer.ts'
import { denialMessage } from '../access.ts'
import type { Api } from '../api.ts'
import { discovery, type Discovery } from '../discovery.ts'
import type { AnswerContext } from './answers.ts'
import type { Authentication, Connection } from './authentication.ts'
import { readObject } from './body.ts'
import { header, send, sendJson, type Exchange } from './exchange.ts'
import { isKubeletSubresource, type KubeletProxy } from './kubelet-proxy.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { parseAccept } from './negotiation.ts'
import { isProxySubresource, type ObjectProxy } from './object-proxy.ts'
import { openapi, type OpenapiAnswer } from './openapi.ts'
import { requestInfo, type RequestInfo, type ResourceInfo } from './request-info.ts'
import { answerResource, legacyBinding } from './resource-requests.ts'
import { answerReview, reviewKinds } from './reviews.ts'
import { failure, sendFault } from './status.ts'

export interface ServerVersion {
  readonly major: string
  readonly minor: string
  /** E.g. `v1.36.0+berth`. */
  readonly gitVersion: string
}

export interface FrontOptions {
  readonly api: Api
  readonly kinds: readonly AnyKind[]
  readonly groupOrder: readonly string[]
  readonly authentication: Authentication
  readonly authorizer: Authorizer
  /** What a user may do in a namespace, for SelfSubjectRulesReview. */
  readonly rules: (user: UserInfo, namespace: string) => readonly PolicyRule[]
  readonly answers: AnswerContext
  readonly kubelets: KubeletProxy
  readonly proxy: ObjectProxy
  readonly log: Logger
  readonly version: ServerVersion
  /** The OpenID documents about our token key: path → JSON. */
  readonly openid: Readonly<Record<string, object>>
  /** What /readyz waits for, by name. */
  readonly ready: () => Readonly<Record<string, boolean>>
}

export interface Front {
  handle(request: IncomingMessage, response: ServerResponse, connection: Connection): void
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, connection: Connection): void
  readonly metrics: Metrics
}

/** Requests that are answered at once at a time, and that may wait for it; watches and streams do not count. */
const requestsAtOnce = 400
const requestsWaiting = 2_000
/** Upstream's default, too. */
const requestLimitMs = 60_000

const discoveryType = /^application\/json$/

function impersonated(exchange: Pick<Exchange, 'request'>, user: UserInfo, authorizer: Authorizer): UserInfo {
  const one = (name: string): string | undefined => {
    const value = exchange.request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  const name = one('impersonate-user')
  if (name === undefined) return user
  const groupHeader = exchange.request.headers['impersonate-group']
  const groups = groupHeader === undefined ? [] : (Array.isArray(groupHeader) ? groupHeader : groupHeader.split(',')).map((group) => group.trim())
  const check = (resource: string, asked: string): void => {
    const request: AuthorizationRequest = { user, attributes: { verb: 'impersonate', group: '', resource, subresource: '', namespace: '', name: asked } }
    const { allowed, reason } = authorizer.authorize(request)
    if (!allowed) throw new Fault('permissionDenied', denialMessage(request, reason))
  }
  check('users', name)
  for (const group of groups) check('groups', group)
  const account = /^system:serviceaccount:([^:]+):/.exec(name)
  const implied = account === null ? [] : ['system:serviceaccounts', `system:serviceaccounts:${account[1]}`]
  return { name, groups: [...new Set([...groups, ...implied, name === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated'])] }
}

/** A list or watch of one object by its name is a request for that object. */
function selectedName({ verb }: ResourceInfo, query: URLSearchParams): string {
  if (verb !== 'list' && verb !== 'watch') return ''
  return /(?:^|,)metadata\.name==?([^,=!\\]+)(?:,|$)/.exec(query.get('fieldSelector') ?? '')?.[1] ?? ''
}

function authorizationRequest(info: RequestInfo, query: URLSearchParams, user: UserInfo): AuthorizationRequest {
  if (info.type === 'path') return { user, attributes: { verb: info.verb, path: info.path } }
  const { verb, group, plural, subresource, namespace } = info
  const name = info.name === '' ? selectedName(info, query) : info.name
  return { user, attributes: { verb, group, resource: plural, subresource, namespace, name } }
}

export function createFront(options: FrontOptions): Front {
  const { api, authentication, authorizer, log } = options
  const metrics = createMetrics()
  const gate = new Gate(requestsAtOnce, requestsWaiting)
  const paths = pathAnswers(options, metrics)
  const reviews = new Map(reviewKinds.map((resource) => [`${resource.group}/${resource.version}/${resource.plural}`, resource]))

  const admit = (request: IncomingMessage, url: URL, info: RequestInfo, connection: Connection): UserInfo => {
    const { authorization } = request.headers
    const user = impersonated({ request }, authentication.caller(connection, authorization), authorizer)
    const asked = authorizationRequest(info, url.searchParams, user)
    const { allowed, reason } = authorizer.authorize(asked)
    if (!allowed) {
      const details = info.type === 'resource' ? { name: info.name, group: info.group, kind: info.plural } : {}
      throw new Fault('permissionDenied', denialMessage(asked, reason), { details })
    }
    return user
  }

  const answer = async (exchange: Exchange, info: RequestInfo, user: UserInfo): Promise<void> => {
    if (info.type === 'path') return paths(exchange)
    const review = reviews.get(`${info.group}/${info.version}/${info.plural}`)
    if (review !== undefined) {
      if (info.verb !== 'create') throw new Fault('methodNotAllowed', `${review.plural} can only be created`)
      const { value } = await readObject(exchange, options.answers.protobuf.read)
      return sendJson(exchange, 201, answerReview(review, value, { user, namespace: info.namespace }, options))
    }
    if (isKubeletSubresource(info)) {
      if (info.subresource === 'log') return options.kubelets.answer(exchange, info)
      throw new Fault('invalidArgument', 'Upgrade request required')
    }
    if (isProxySubresource(info)) return options.proxy(exchange, info)
    const request = { exchange, info, user, api, answers: options.answers }
    if (info.group === '' && info.plural === 'bindings' && info.verb === 'create') return legacyBinding(request)
    return answerResource(request)
  }

  /** An answer that takes too long is given up: a body that never ends, a client that does not read. */
  const inTime = async (exchange: Exchange, run: () => Promise<void>): Promise<void> => {
    const late = Promise.withResolvers<never>()
    const giveUp = (): void => {
      exchange.response.once('finish', () => exchange.request.destroy())
      late.reject(new Fault('timeout', 'the server was unable to return a response in the time allotted, but may still be processing the request'))
    }
    using _timer = api.clock.after(requestLimitMs, giveUp, { background: true })
    await Promise.race([run(), late.promise])
  }

  const isLong = (info: RequestInfo): boolean => info.type === 'resource' && (info.verb === 'watch' || isKubeletSubresource(info) || isProxySubresource(info))

  const serve = async (exchange: Exchange, connection: Connection): Promise<void> => {
    const { request, response } = exchange
    const started = api.clock.monotonicMs()
    const info = requestInfo(request.method ?? 'GET', exchange.url)
    try {
      const user = admit(request, exchange.url, info, connection)
      const run = (): Promise<void> => answer(exchange, info, user)
      await (isLong(info) ? run() : gate.run(() => inTime(exchange, run)))
    } catch (error) {
      const fault = asFault(error)
      if (fault.code === 'internal') log.error({ err: error, method: request.method, path: exchange.url.pathname }, 'a request failed')
      if (!exchange.signal.aborted) sendFault(exchange, fault)
    } finally {
      if (info.type === 'resource') metrics.observe(labels(info, api), response.statusCode, (api.clock.monotonicMs() - started) / 1000)
    }
  }

  return {
    metrics,
    handle(request, response, connection) {
      const controller = new AbortController()
      response.once('close', () => {
        metrics.inFlight -= 1
        controller.abort()
      })
      metrics.inFlight += 1
      const url = urlOf(request)
      void serve({ request, response, url, signal: controller.signal }, connection)
    },
    upgrade(request, socket, head, connection) {
      const url = urlOf(request)
      const info = requestInfo(request.method ?? 'GET', url)
      const run = async (): Promise<void> => {
        admit(request, url, info, connection)
        if (info.type !== 'resource' || !isKubeletSubresource(info)) throw new Fault('invalidArgument', 'this path cannot be upgraded')
        await options.kubelets.upgrade(request, { socket, head }, { url, info })
      }
      socket.on('error', (error: Error) => log.debug({ err: error, path: url.pathname }, 'an upgraded connection broke'))
      run().catch((error: unknown) => refuseUpgrade(socket, asFault(error)))
    },
  }
}

/** A target that is no path of ours (`//`, an absolute form) must neither name a host nor throw. */
function urlOf({ url: target = '/' }: IncomingMessage): URL {
  const { path, query } = parseTarget(target)
  const url = new URL('https://berth/')
  url.pathname = path
  url.search = query.toString()
  return url
}

function labels(info: ResourceInfo, api: Api): { readonly verb: string; readonly group: string; readonly version: string; readonly resource: string; readonly subresource: string } {
  const known = api.resources.find(info) !== undefined
  return { verb: info.verb.toUpperCase(), group: known ? info.group : '', version: known ? info.version : '', resource: known ? info.plural : '', subresource: known ? info.subresource : '' }
}

function refuseUpgrade(socket: Duplex, fault: Fault): void {
  const body = Buffer.from(`${JSON.stringify(failure(fault))}\n`)
  const head = `HTTP/1.1 ${fault.httpStatus} ${fault.code}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`
  socket.end(Buffer.concat([Buffer.from(head), body]))
}

/** The aggregated discovery version that the client prefers to the legacy document, if any. */
function aggregatedVersion(exchange: Exchange): string | undefined {
  for (const { type, parameters } of parseAccept(header(exchange, 'accept'))) {
    if (!discoveryType.test(type)) continue
    const version = parameters.get('v')
    if (parameters.get('as') === 'APIGroupDiscoveryList' && parameters.get('g') === 'apidiscovery.k8s.io') {
      if (version === 'v2' || version === 'v2beta1') return version
    } else if (!parameters.has('as')) return undefined
  }
  return undefined
}

function sendDiscovery(exchange: Exchange, documents: Discovery): boolean {
  const path = exchange.url.pathname
  const root = path.replace(/\/$/, '')
  if (root === '/api' || root === '/apis') {
    const version = aggregatedVersion(exchange)
    if (version !== undefined) {
      const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
      send(exchange, 200, { 'content-type': type, vary: 'Accept' }, Buffer.from(`${JSON.stringify(documents.aggregated(root, version))}\n`))
      return true
    }
  }
  const document = documents.document(path)
  if (document === undefined) return false
  exchange.response.setHeader('vary', 'Accept')
  sendJson(exchange, 200, document)
  return true
}

function pathAnswers(options: FrontOptions, metrics: Metrics): (exchange: Exchange) => void {
  const { api, version } = options
  const documents = discovery({ kinds: [...options.kinds, ...reviewKinds], groupOrder: options.groupOrder })
  const answerOpenapi: OpenapiAnswer = openapi({ kinds: options.kinds, version: version.gitVersion })
  const plain = (exchange: Exchange, status: number, body: string): void => send(exchange, status, { 'content-type': 'text/plain; charset=utf-8' }, Buffer.from(body))
  const health = (exchange: Exchange): void => {
    const checks = Object.entries({ ping: true, store: api.healthy(), ...(exchange.url.pathname === '/readyz' ? options.ready() : {}) })
    const ok = checks.every(([, good]) => good)
    const name = exchange.url.pathname.slice(1)
    const lines = checks.map(([check, good]) => `[${good ? '+' : '-'}]${check} ${good ? 'ok' : 'failed'}\n`).join('')
    plain(exchange, ok ? 200 : 503, exchange.url.searchParams.has('verbose') || !ok ? `${lines}${name} check ${ok ? 'passed' : 'failed'}\n` : 'ok')
  }
  const answers: Readonly<Record<string, (exchange: Exchange) => void>> = {
    '/healthz': health,
    '/livez': health,
    '/readyz': health,
    '/version': (exchange) => sendJson(exchange, 200, { ...version, gitCommit: '', gitTreeState: 'clean', buildDate: '1970-01-01T00:00:00Z', goVersion: 'none', compiler: 'node', platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}` }),
    '/metrics': (exchange) => plain(exchange, 200, metrics.render(api)),
    '/': (exchange) => sendJson(exchange, 200, { paths: ['/api', '/apis', '/healthz', '/livez', '/metrics', '/openapi/v2', '/openapi/v3', '/readyz', '/version'] }),
  }
  return (exchange) => {
    const { method } = exchange.request
    const path = exchange.url.pathname
    if (method !== 'GET' && method !== 'HEAD') throw new Fault('methodNotAllowed', `${method ?? ''} is not supported on ${path}`)
    const known = answers[path.length > 1 ? path.replace(/\/$/, '') : path]
    if (known !== undefined) return known(exchange)
    const document = options.openid[path]
    if (document !== undefined) return sendJson(exchange, 200, document)
    if (sendDiscovery(exchange, documents) || answerOpenapi(exchange)) return
    throw new Fault('notFound', 'the server could not find the requested resource')
  }
}
