/**
 * The registry's HTTP room: OCI distribution-spec 1.1 and `/token`. Finds the route, knows the caller, and puts refusals into the
 * registry's dialect; the routes stand in the files beside.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { asFault, Fault } from '#base/fault.ts'
import { parseTarget, readBody, RouteTable, sendBytes, sendJson } from '#base/http.ts'
import type { Logger } from '#base/log.ts'
import type { Records } from '../storage/contract.ts'
import { isRepository } from '#oci/reference.ts'
import type { Caller } from '../auth/registry-auth.ts'
import { blobRoutes } from './blob-routes.ts'
import type { Call, Rooms, Route } from './call.ts'
import { errorBody } from './errors.ts'
import { listRoutes } from './lists.ts'
import { manifestRoutes } from './manifest-routes.ts'
import type { ObserveParts } from './observe.ts'
import { observe } from './observe.ts'
import { uploadRoutes } from './upload-routes.ts'

export interface RegistryHandler {
  /** Answers any request; never rejects. */
  handle(req: IncomingMessage, res: ServerResponse): Promise<void>
}

const tokenPath = '/token'
const neverKept = { headers: { 'Cache-Control': 'no-store' } }
const maxFormBytes = 64 * 1024

const nobody: Caller = { user: undefined, isEngine: false, token: undefined }

export interface HandlerParts {
  readonly logger: Logger
  readonly observe: ObserveParts
  /** Asked for a record to see whether the storage answers. */
  readonly records: Records
  /** Called for each request that may leave something to collect. */
  readonly written: () => void
  /** What `POST /collect` starts; the answer's body. */
  readonly collect: () => Promise<object>
}

export class Handler implements RegistryHandler {
  readonly #rooms: Rooms
  readonly #logger: Logger
  readonly #routes: RouteTable<Route>

  readonly #observe: ObserveParts
  readonly #written: () => void

  constructor(rooms: Rooms, parts: HandlerParts) {
    this.#rooms = rooms
    this.#logger = parts.logger
    this.#observe = parts.observe
    this.#written = parts.written
    this.#routes = new RouteTable<Route>()
      .add('GET', '/v2/', (call) => this.#base(call))
      .add('GET', '/v2', (call) => this.#base(call))
      .add('GET', '/livez', async ({ res }) => sendText(res, 'ok\n'))
      .add('GET', '/healthz', (call) => this.#ready(call, parts.records))
      .add('GET', '/readyz', (call) => this.#ready(call, parts.records))
      .add('GET', '/metrics', async ({ res }) => sendText(res, parts.observe.metrics.text()))
      .add('POST', '/collect', (call) => this.#collect(call, parts.collect))
      .add('GET', tokenPath, async ({ req, res, query }) => sendJson(res, await rooms.auth.token(req, query), neverKept))
      .add('POST', tokenPath, async ({ req, res }) => sendJson(res, await rooms.auth.grant(await formOf(req)), neverKept))
    for (const [method, pattern, route] of [...listRoutes(rooms), ...manifestRoutes(rooms), ...blobRoutes(rooms), ...uploadRoutes(rooms)]) this.#routes.add(method, pattern, route)
  }

  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const observed = observe(this.#observe, req, res)
    try {
      const { path, query } = parseTarget(req.url ?? '/')
      const found = this.#routes.find(req.method ?? 'GET', path)
      if (found.kind === 'methodNotAllowed') {
        res.setHeader('Allow', found.allow.join(', '))
        throw new Fault('methodNotAllowed', `${req.method ?? ''} is not possible here: expected ${found.allow.join(' or ')}`)
      }
      if (found.kind === 'notFound') throw new Fault('notFound', `there is nothing at '${path.slice(0, 200)}'`)
      observed.route = found.pattern.replaceAll('+', '')
      if (req.method !== 'GET' && req.method !== 'HEAD' && found.pattern !== tokenPath) this.#written()
      const name = found.params['name']
      if (name !== undefined && !isRepository(name)) throw new Fault('notFound', `'${name.slice(0, 300)}' is no repository name: lower-case letters and digits, separated by '.', '_', '-' or '/'`, { details: { reason: 'NAME_INVALID' } })
      res.setHeader('Docker-Distribution-Api-Version', 'registry/2.0')
      const caller = found.pattern === tokenPath ? nobody : await this.#rooms.auth.caller(req)
      observed.user = caller.user
      await found.handler({ req, res, params: found.params, query, caller })
    } catch (error) {
      this.#refuse(req, res, error)
    }
  }

  #refuse(req: IncomingMessage, res: ServerResponse, error: unknown): void {
    const fault = asFault(error)
    if (fault.code === 'internal' || fault.code === 'dataLoss') this.#logger.error({ error, method: req.method, url: req.url }, 'a registry request failed')
    if (res.headersSent || res.destroyed) return void res.destroy()
    const headers: Record<string, string> = {}
    const scope = fault.details['scope']
    if (fault.code === 'unauthenticated') headers['WWW-Authenticate'] = this.#rooms.auth.challenge(req, typeof scope === 'string' ? scope : undefined)
    for (const [header, detail] of [['Content-Range', 'contentRange'], ['Range', 'range'], ['Location', 'location']] as const) {
      const value = fault.details[detail]
      if (typeof value === 'string') headers[header] = value
    }
    // What is left of a body nobody will read would be taken for the next request.
    if (!req.complete) headers['Connection'] = 'close'
    sendJson(res, errorBody(fault), { status: fault.httpStatus, headers })
  }

  /** 200 when the storage answers, 503 when not. */
  async #ready({ res }: Call, records: Records): Promise<void> {
    await records.stat('token.key')
    sendText(res, 'ok\n')
  }

  /** For operators: who may delete everywhere may have what nobody needs deleted. */
  async #collect({ res, caller }: Call, collect: () => Promise<object>): Promise<void> {
    for await (const repository of this.#rooms.repositories.walk()) this.#rooms.auth.demand(caller, 'delete', repository)
    sendJson(res, await collect())
  }

  async #base({ res, caller }: Call): Promise<void> {
    if (caller.user === undefined && caller.token === undefined && !this.#rooms.auth.isOpen) throw new Fault('unauthenticated', 'a token is needed: anonymous ones may pull')
    sendJson(res, {})
  }
}

async function formOf(req: IncomingMessage): Promise<URLSearchParams> {
  return new URLSearchParams((await readBody(req, { maxBytes: maxFormBytes, what: 'form' })).toString('utf8'))
}

function sendText(res: ServerResponse, text: string): void {
  sendBytes(res, Buffer.from(text), { contentType: 'text/plain; charset=utf-8' })
}
