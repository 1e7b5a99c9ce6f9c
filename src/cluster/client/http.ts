/**
 * The client contract over HTTPS: JSON, a client certificate or a bearer token, kept-alive connections.
 *
 * Retries happen only where nothing can have been done: a 429 with Retry-After (the server refused before acting) for
 * every verb, and a broken connection for reads. A write whose connection broke is `unavailable` with
 * `details.maybeDone`: it may have happened, and only the caller knows how to find out.
 *
 * A watch that stays silent for `watchIdleMs` is cut: servers send a bookmark about once a minute, so silence means a
 * dead connection (ngrok, NAT and suspended laptops drop connections without a word).
 */
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'
import type { Stored, StoredObject, SubmittedObject } from '#schema/kind.ts'
import type { CallOptions, Client, ClientKind, ListResult, WatchEvent } from '../contract/client.ts'
import { collectionPath, deleteBody, getQuery, listQuery, objectPath, watchQuery, writeQuery } from './paths.ts'
import { faultOfStatus } from './status-fault.ts'

export interface HttpClientOptions {
  /** `https://host:port`. */
  readonly server: string
  /** PEM certificates that sign the server's. */
  readonly ca: string | Buffer
  /** PEM; a function is asked for every new connection, so that rotation needs no restart. */
  readonly clientCertificate?: () => { readonly cert: string | Buffer; readonly key: string | Buffer }
  /** Asked for every request. */
  readonly token?: () => string
  readonly clock: Clock
  readonly userAgent?: string
  /** A request other than a watch is given up after so long. */
  readonly requestTimeoutMs?: number
  readonly watchIdleMs?: number
  readonly maxBodyBytes?: number
  /** Attempts in all, where a retry is safe. */
  readonly attempts?: number
}

export interface HttpClient extends Client, Disposable {
  /** A plain GET, parsed as JSON where it is JSON: `/readyz`, `/version`. */
  getRaw(path: string, options?: CallOptions): Promise<unknown>
}

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  readonly contentType?: string
  readonly signal?: AbortSignal
}

const patchTypes = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const wire = new Wire(options)
  const getJson = async (call: Call): Promise<unknown> => (await wire.call(call)).body
  return {
    getRaw: (path, { signal } = {}) => getJson({ method: 'GET', path, signal }),
    async get(kind, ref, getOptions = {}) {
      return storedOf(kind, await getJson({ method: 'GET', path: objectPath(kind, ref) + getQuery(getOptions), signal: getOptions.signal }))
    },
    async list(kind, listOptions = {}) {
      const path = collectionPath(kind, listOptions.namespace) + listQuery(listOptions)
      return listOf(kind, await getJson({ method: 'GET', path, signal: listOptions.signal }))
    },
    watch: (kind, watchOptions) => wire.watch(kind, collectionPath(kind, watchOptions.namespace) + watchQuery(watchOptions), watchOptions.signal),
    async create(kind, object, writeOptions = {}) {
      const path = collectionPath(kind, object.metadata?.namespace) + writeQuery(writeOptions)
      return storedOf(kind, await getJson({ method: 'POST', path, body: typed(kind, object), signal: writeOptions.signal }))
    },
    createSubresource: (kind, ref, subresource, body, writeOptions = {}) =>
      getJson({ method: 'POST', path: objectPath(kind, ref, subresource) + writeQuery(writeOptions), body, signal: writeOptions.signal }),
    async update(kind, object, updateOptions = {}) {
      const ref = { namespace: object.metadata?.namespace, name: object.metadata?.name ?? '' }
      const path = objectPath(kind, ref, updateOptions.subresource) + writeQuery(updateOptions)
      return storedOf(kind, await getJson({ method: 'PUT', path, body: typed(kind, object), signal: updateOptions.signal }))
    },
    async patch(kind, ref, patch, patchOptions) {
      const path = objectPath(kind, ref, patchOptions.subresource) + writeQuery(patchOptions)
      return storedOf(kind, await getJson({ method: 'PATCH', path, body: patch, contentType: patchTypes[patchOptions.type], signal: patchOptions.signal }))
    },
    async delete(kind, ref, deleteOptions = {}) {
      await getJson({ method: 'DELETE', path: objectPath(kind, ref), body: deleteBody(deleteOptions), signal: deleteOptions.signal })
    },
    [Symbol.dispose]: () => wire.close(),
  }
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

/** Connections, retries and parsing; knows nothing of verbs. */
class Wire {
  readonly #options: HttpClientOptions
  readonly #origin: URL
  readonly #agent: Agent
  readonly #watchAgent: Agent

  constructor(options: HttpClientOptions) {
    this.#options = options
    this.#origin = new URL(options.server)
    this.#agent = new Agent({ keepAlive: true, maxSockets: 32, maxFreeSockets: 4, keepAliveMsecs: 15_000 })
    this.#watchAgent = new Agent({ keepAlive: true, maxFreeSockets: 1, keepAliveMsecs: 15_000 })
  }

  close(): void {
    this.#agent.destroy()
    this.#watchAgent.destroy()
  }

  async call(call: Call): Promise<Answer> {
    const { clock, attempts = 4 } = this.#options
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(call)
      } catch (error) {
        const waitMs = attempt < attempts ? retryDelayMs(error, call, attempt) : undefined
        if (waitMs === undefined) throw error
        await sleep(clock, waitMs, call.signal)
      }
    }
  }

  async #once(call: Call): Promise<Answer> {
    const { requestTimeoutMs = 60_000, clock, maxBodyBytes = 256 * 1024 * 1024 } = this.#options
    const deadline = new AbortController()
    using timer = clock.after(requestTimeoutMs, () => deadline.abort(new Fault('timeout', `${call.method} ${call.path}: no answer within ${requestTimeoutMs} ms`)), { background: true })
    void timer
    const signal = call.signal === undefined ? deadline.signal : AbortSignal.any([call.signal, deadline.signal])
    const response = await this.#send(call, this.#agent, signal)
    const chunks: Buffer[] = []
    let size = 0
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        size += chunk.length
        if (size > maxBodyBytes) throw new Fault('tooLarge', `${call.method} ${call.path}: the answer exceeds ${maxBodyBytes} bytes: list with a limit`)
        chunks.push(chunk)
      }
    } catch (error) {
      throw brokenConnection(error, call, signal)
    }
    const status = response.statusCode ?? 0
    const body = parseBody(Buffer.concat(chunks), response.headers['content-type'])
    if (status >= 200 && status < 300) return { status, body }
    const fault = faultOfStatus(body, status, `${call.method} ${call.path}`)
    const retryAfter = Number(response.headers['retry-after'])
    if (fault.retryAfterSeconds !== undefined || !Number.isFinite(retryAfter)) throw fault
    throw new Fault(fault.code, fault.message, { causes: fault.causes, details: fault.details, retryAfterSeconds: retryAfter })
  }

  /** Sends and resolves with the response's head. */
  #send(call: Call, agent: Agent, signal: AbortSignal): Promise<IncomingMessage> {
    const { ca, clientCertificate, token, userAgent = 'berth' } = this.#options
    const payload = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body))
    const headers: Record<string, string | number> = { accept: 'application/json', 'user-agent': userAgent }
    if (token !== undefined) headers['authorization'] = `Bearer ${token()}`
    if (payload !== undefined) {
      headers['content-type'] = call.contentType ?? 'application/json'
      headers['content-length'] = payload.length
    }
    const url = new URL(call.path, this.#origin)
    const pair = clientCertificate?.()
    return new Promise((resolve, reject) => {
      const outgoing = request(url, { method: call.method, headers, agent, ca, cert: pair?.cert, key: pair?.key, signal }, resolve)
      outgoing.on('error', (error) => reject(brokenConnection(error, call, signal)))
      outgoing.end(payload)
    })
  }

  async *watch<K extends ClientKind>(kind: K, path: string, callerSignal: AbortSignal | undefined): AsyncIterable<WatchEvent<Stored<K>>> {
    const { clock, watchIdleMs = 130_000 } = this.#options
    const cut = new AbortController()
    const signal = callerSignal === undefined ? cut.signal : AbortSignal.any([callerSignal, cut.signal])
    const call: Call = { method: 'GET', path, signal }
    const arm = (): Disposable => clock.after(watchIdleMs, () => cut.abort(new Fault('unavailable', `GET ${path}: the watch was silent for ${watchIdleMs} ms`)), { background: true })
    let idle = arm()
    try {
      const response = await this.#send(call, this.#watchAgent, signal)
      if (response.statusCode !== 200) {
        throw faultOfStatus(parseBody(await readBody(response, { maxBytes: longestLineBytes, what: 'refusal of a watch' }), response.headers['content-type']), response.statusCode ?? 0, `GET ${path}`)
      }
      for await (const line of linesOf(response)) {
        idle[Symbol.dispose]()
        idle = arm()
        yield watchEventOf(kind, JSON.parse(line), path)
      }
    } catch (error) {
      if (callerSignal?.aborted === true) return
      throw brokenConnection(error, call, signal)
    } finally {
      idle[Symbol.dispose]()
      cut.abort(new Fault('canceled', 'the watch was left'))
    }
  }
}

/** A Fault stays one; an abort is what its reason says; anything else is a broken connection. */
function brokenConnection(error: unknown, call: Call, signal: AbortSignal): Fault {
  if (isFault(error)) return error
  if (signal.aborted) return isFault(signal.reason) ? signal.reason : new Fault('canceled', `${call.method} ${call.path} was canceled`, { cause: signal.reason })
  const reason = error instanceof Error ? error.message : String(error)
  return new Fault('unavailable', `${call.method} ${call.path}: ${reason}`, { cause: error, details: { connectionBroken: true, maybeDone: call.method !== 'GET' } })
}

/** How long to wait before asking again, or undefined where that would not be safe or not help. */
function retryDelayMs(error: unknown, call: Call, attempt: number): number | undefined {
  if (!isFault(error)) return undefined
  if (error.code === 'resourceExhausted' && error.retryAfterSeconds !== undefined) return error.retryAfterSeconds * 1000
  if (call.method === 'GET' && error.details['connectionBroken'] === true) return attempt === 1 ? 0 : 50 * 2 ** attempt
  return undefined
}

function parseBody(bytes: Buffer, contentType: string | undefined): unknown {
  const text = bytes.toString('utf8')
  if (contentType === undefined || !contentType.includes('json')) return text
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Fault('unavailable', 'the server answered broken JSON', { cause: error })
  }
}

/** Objects carry their type on the wire; callers may leave it out. */
function typed(kind: ClientKind, object: SubmittedObject): object {
  return { apiVersion: kind.group === '' ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind, ...object }
}

function isObject(value: unknown): value is StoredObject {
  return typeof value === 'object' && value !== null && 'metadata' in value && typeof value.metadata === 'object' && value.metadata !== null
}

/** The server has validated what it stores; here we make sure that it is an object of that kind at all. */
function storedOf<K extends ClientKind>(kind: K, value: unknown): Stored<K> {
  if (!isObject(value) || (value.kind !== undefined && value.kind !== kind.kind)) {
    throw new Fault('unavailable', `the server answered something that is no ${kind.kind}`)
  }
  return value as unknown as Stored<K>
}

function listOf<K extends ClientKind>(kind: K, value: unknown): ListResult<Stored<K>> {
  if (!isObject(value) || !('items' in value) || !(Array.isArray(value.items) || value.items === null)) {
    throw new Fault('unavailable', `the server answered something that is no list of ${kind.plural}`)
  }
  const meta: { resourceVersion?: unknown; continue?: unknown; remainingItemCount?: unknown } = value.metadata
  const items: unknown[] = value.items ?? []
  return {
    items: items.map((item) => storedOf(kind, item)),
    resourceVersion: typeof meta.resourceVersion === 'string' ? meta.resourceVersion : '',
    ...(typeof meta.continue === 'string' && meta.continue !== '' ? { continue: meta.continue } : {}),
    ...(typeof meta.remainingItemCount === 'number' ? { remainingItemCount: meta.remainingItemCount } : {}),
  }
}

function watchEventOf<K extends ClientKind>(kind: K, event: unknown, path: string): WatchEvent<Stored<K>> {
  if (typeof event !== 'object' || event === null || !('type' in event) || !('object' in event)) {
    throw new Fault('unavailable', `GET ${path}: the watch sent something that is no event`)
  }
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: event.type, object: storedOf(kind, event.object) }
    case 'BOOKMARK':
      return { type: 'BOOKMARK', resourceVersion: storedOf(kind, event.object).metadata?.resourceVersion ?? '' }
    default:
      throw faultOfStatus(event.object, 0, `GET ${path}`)
  }
}

const longestLineBytes = 16 * 1024 * 1024

async function* linesOf(source: AsyncIterable<Buffer>): AsyncIterable<string> {
  let pending: Buffer[] = []
  let size = 0
  for await (const chunk of source) {
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...pending, chunk.subarray(start, end)]).toString('utf8')
      pending = []
      size = 0
      start = end + 1
      if (line.trim() !== '') yield line
    }
    if (start === chunk.length) continue
    pending.push(chunk.subarray(start))
    size += chunk.length - start
    if (size > longestLineBytes) throw new Fault('tooLarge', `a watch event exceeds ${longestLineBytes} bytes`)
  }
}
