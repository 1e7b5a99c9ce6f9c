/**
 * The small HTTP pieces that every HTTP room shares: a route table, bounded body reading, and JSON answers. Each room
 * keeps its own dialect of errors (Docker `{"message"}`, OCI `errors[]`, Kubernetes `Status`).
 *
 * The table is our own because repository and image names hold slashes in the *middle* of a path
 * (`/v2/library/busybox/manifests/latest`, `/images/localhost:5000/a/b/json`), which find-my-way cannot express.
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { Fault } from './fault.ts'
import { jsonText } from './json.ts'

export type RouteParams = Readonly<Record<string, string>>

export type RouteMatch<H> =
  | { readonly kind: 'found'; readonly handler: H; readonly params: RouteParams; readonly pattern: string }
  /** The path exists under other methods: answer 405 with `Allow`. */
  | { readonly kind: 'methodNotAllowed'; readonly allow: readonly string[] }
  | { readonly kind: 'notFound' }

interface RouteNode<H> {
  readonly fixed: Map<string, RouteNode<H>>
  /** One segment of any text. */
  one?: RouteNode<H>
  /** One or more segments, longest first. */
  many?: RouteNode<H>
  readonly methods: Map<string, { readonly handler: H; readonly names: readonly string[]; readonly pattern: string }>
}

function emptyNode<H>(): RouteNode<H> {
  return { fixed: new Map(), methods: new Map() }
}

/**
 * Paths to handlers. A pattern's segments are fixed text, `:name` (exactly one segment) or `:name+` (one or more
 * segments, slashes kept, as many as still let the rest match). Fixed text wins over `:name`, `:name` over `:name+`.
 * HEAD is served by GET's handler where none of its own is given.
 *
 * ```ts
 * const routes = new RouteTable<Handler>().add('GET', '/images/:name+/json', inspectImage)
 * routes.find('GET', '/images/localhost:5000/a/b/json')   // { kind: 'found', params: { name: 'localhost:5000/a/b' }, … }
 * ```
 */
export class RouteTable<H> {
  readonly #root: RouteNode<H> = emptyNode()

  add(method: string, pattern: string, handler: H): this {
    let node = this.#root
    const names: string[] = []
    for (const segment of segmentsOf(pattern)) {
      if (!segment.startsWith(':')) {
        let next = node.fixed.get(segment)
        if (next === undefined) node.fixed.set(segment, (next = emptyNode()))
        node = next
      } else if (segment.endsWith('+')) {
        names.push(segment.slice(1, -1))
        node = node.many ??= emptyNode()
      } else {
        names.push(segment.slice(1))
        node = node.one ??= emptyNode()
      }
    }
    if (node.methods.has(method)) throw new TypeError(`two routes for ${method} ${pattern}`)
    node.methods.set(method, { handler, names, pattern })
    return this
  }

  /** `path` is the raw path without query; parameters come back percent-decoded. Bad percent encoding is `invalidArgument`. */
  find(method: string, path: string): RouteMatch<H> {
    const allow = new Set<string>()
    const found = descend(this.#root, { method, segments: segmentsOf(path), values: [], allow }, 0)
    if (found !== undefined) return found
    return allow.size > 0 ? { kind: 'methodNotAllowed', allow: [...allow].sort() } : { kind: 'notFound' }
  }
}

interface Walk {
  readonly method: string
  readonly segments: readonly string[]
  readonly values: string[]
  readonly allow: Set<string>
}

function segmentsOf(path: string): string[] {
  return path.replace(/^\//, '').split('/')
}

function descend<H>(node: RouteNode<H>, walk: Walk, at: number): RouteMatch<H> | undefined {
  const segment = walk.segments[at]
  if (segment === undefined) return arrive(node, walk)
  const fixed = node.fixed.get(segment)
  const byText = fixed === undefined ? undefined : descend(fixed, walk, at + 1)
  if (byText !== undefined) return byText
  if (node.one !== undefined && segment !== '') {
    const found = withValue(node.one, walk, segment, at + 1)
    if (found !== undefined) return found
  }
  if (node.many === undefined || segment === '') return undefined
  for (let end = walk.segments.length; end > at; end -= 1) {
    const found = withValue(node.many, walk, walk.segments.slice(at, end).join('/'), end)
    if (found !== undefined) return found
  }
  return undefined
}

function withValue<H>(node: RouteNode<H>, walk: Walk, value: string, next: number): RouteMatch<H> | undefined {
  walk.values.push(value)
  const found = descend(node, walk, next)
  walk.values.pop()
  return found
}

function arrive<H>(node: RouteNode<H>, walk: Walk): RouteMatch<H> | undefined {
  const route = node.methods.get(walk.method) ?? (walk.method === 'HEAD' ? node.methods.get('GET') : undefined)
  if (route === undefined) {
    for (const method of node.methods.keys()) walk.allow.add(method)
    return undefined
  }
  const params: Record<string, string> = {}
  route.names.forEach((name, index) => {
    params[name] = decodePercent(walk.values[index] ?? '')
  })
  return { kind: 'found', handler: route.handler, params, pattern: route.pattern }
}

/** Percent-decodes one path part; bad encoding is an `invalidArgument` fault. */
export function decodePercent(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch (error) {
    throw new Fault('invalidArgument', `the path part '${text}' is not percent-encoded UTF-8`, { cause: error })
  }
}

/** Splits a request target into its raw path and its decoded query. An absolute-form target keeps its path only. */
export function parseTarget(target: string): { readonly path: string; readonly query: URLSearchParams } {
  const origin = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '')
  const mark = origin.indexOf('?')
  if (mark < 0) return { path: origin || '/', query: new URLSearchParams() }
  return { path: origin.slice(0, mark) || '/', query: new URLSearchParams(origin.slice(mark + 1)) }
}

/** Reads a whole body of at most `maxBytes`; more is `tooLarge`, a connection that ends early is `canceled`. */
export async function readBody(body: Readable, options: { readonly maxBytes: number; readonly what?: string }): Promise<Buffer> {
  const what = options.what ?? 'request body'
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of body) {
      const bytes: Buffer = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
      length += bytes.length
      if (length > options.maxBytes) throw new Fault('tooLarge', `the ${what} is longer than the ${options.maxBytes} bytes allowed here`)
      chunks.push(bytes)
    }
  } catch (error) {
    if (error instanceof Fault) throw error
    throw new Fault('canceled', `the ${what} ended early`, { cause: error })
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length)
}

export interface SendOptions {
  readonly status?: number
  readonly headers?: OutgoingHttpHeaders
  /** `application/json` unless told otherwise. */
  readonly contentType?: string
}

/** Sends `value` as JSON with a Content-Length. A HEAD request gets the headers only. */
export function sendJson(res: ServerResponse, value: unknown, options: SendOptions = {}): void {
  sendBytes(res, Buffer.from(jsonText(value)), { contentType: 'application/json', ...options })
}

/** Sends bytes that are already at hand with a Content-Length. A HEAD request gets the headers only. */
export function sendBytes(res: ServerResponse, body: Uint8Array, options: SendOptions = {}): void {
  const headers = { 'Content-Type': options.contentType ?? 'application/octet-stream', 'Content-Length': body.length, ...options.headers }
  res.writeHead(options.status ?? 200, headers)
  if (isHead(res.req)) res.end()
  else res.end(body)
}

/** Sends a status with no body. */
export function sendEmpty(res: ServerResponse, options: SendOptions = {}): void {
  const status = options.status ?? 200
  const length = status === 204 || status === 304 ? {} : { 'Content-Length': 0 }
  res.writeHead(status, { ...length, ...options.headers })
  res.end()
}

function isHead(req: IncomingMessage): boolean {
  return req.method === 'HEAD'
}

/** An abort signal that fires when the client goes away before the answer is finished. */
export function signalOf(res: ServerResponse): AbortSignal {
  const controller = new AbortController()
  res.once('close', () => {
    if (!res.writableFinished) controller.abort(new Fault('canceled', 'the client went away'))
  })
  return controller.signal
}
