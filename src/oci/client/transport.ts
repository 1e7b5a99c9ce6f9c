/**
 * HTTP requests to registries: one exchange at a time over kept connections, redirects followed without taking the
 * credentials along, plain HTTP only where it was allowed.
 */
import { Agent as HttpAgent, request as httpRequest } from '#base/http-module.ts'
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { getCACertificates } from 'node:tls'
import { Fault, systemErrorCode } from '#base/fault.ts'

export interface TransportOptions {
  /** Accept any certificate. */
  readonly insecure: boolean
  /** PEM certificates of authorities beside the machine's own. */
  readonly authorities?: readonly string[]
  readonly certificates?: readonly { readonly cert: string; readonly key: string }[]
}

export interface Exchange {
  readonly method: string
  readonly url: URL
  readonly headers?: OutgoingHttpHeaders
  /** Sent as it comes; a stream needs a Content-Length in `headers` or goes chunked. */
  readonly body?: Uint8Array | Readable
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Must be read or destroyed. */
  readonly body: IncomingMessage
  /** Where the answer came from, after redirects. */
  readonly url: URL
}

/** No byte for this long ends an exchange. */
const idleTimeoutMs = 60_000
const maxRedirects = 5

export class Transport implements Disposable {
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: 16 })
  readonly #https: HttpsAgent

  constructor(options: TransportOptions) {
    const { authorities = [], certificates = [] } = options
    this.#https = new HttpsAgent({
      keepAlive: true, maxSockets: 16, rejectUnauthorized: !options.insecure,
      ...(authorities.length === 0 ? {} : { ca: [...getCACertificates('default'), ...authorities] }),
      ...(certificates.length === 0 ? {} : { cert: certificates.map(({ cert }) => cert), key: certificates.map(({ key }) => key) }),
    })
  }

  /** One exchange; redirects of GET and HEAD are followed. Network failures are `unavailable`. */
  async exchange(asked: Exchange): Promise<Answer> {
    let current = asked
    for (let hop = 0; hop <= maxRedirects; hop += 1) {
      const answer = await this.#once(current)
      const target = answer.headers.location
      const follows = [301, 302, 303, 307, 308].includes(answer.status) && target !== undefined && (asked.method === 'GET' || asked.method === 'HEAD')
      if (!follows) return answer
      answer.body.resume()
      const url = URL.canParse(target, current.url) ? new URL(target, current.url) : undefined
      if (url?.protocol !== 'http:' && url?.protocol !== 'https:') throw new Fault('unavailable', `${current.url.host} redirects to what is no address of HTTP`)
      if (url.protocol !== 'https:' && current.url.protocol === 'https:') throw new Fault('permissionDenied', `${current.url.host} redirects to plain HTTP at ${url.host}: refused`)
      current = { ...current, url, headers: url.host === current.url.host ? current.headers : neutralHeaders(current.headers) }
    }
    throw new Fault('unavailable', `${asked.url.host} redirects more than ${maxRedirects} times`)
  }

  #once(asked: Exchange): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const isTls = asked.url.protocol === 'https:'
      const options = { method: asked.method, headers: asked.headers, agent: isTls ? this.#https : this.#http, timeout: idleTimeoutMs, signal: asked.signal }
      const fail = (error: unknown): void => reject(networkFault(error, asked.url))
      const req = (isTls ? httpsRequest : httpRequest)(asked.url, options, (body) => {
        resolve({ status: body.statusCode ?? 0, headers: body.headers, body, url: asked.url })
      })
      req.once('timeout', () => req.destroy(new Fault('unavailable', `${asked.url.host} was silent for ${idleTimeoutMs / 1000} s`)))
      req.once('error', fail)
      if (asked.body === undefined) req.end()
      else if (asked.body instanceof Uint8Array) req.end(asked.body)
      else pipeline(asked.body, req).catch(fail)
    })
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
    this.#https.destroy()
  }
}

/** What may be told to another host: no credentials, in whatever header they are. */
function neutralHeaders(headers: OutgoingHttpHeaders | undefined): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers ?? {}).filter(([name]) => ['accept', 'range'].includes(name.toLowerCase())))
}

function networkFault(error: unknown, url: URL): Fault {
  if (error instanceof Fault) return error
  if (error instanceof Error && error.name === 'AbortError') return new Fault('canceled', 'the transfer was canceled', { cause: error })
  const code = systemErrorCode(error)
  const why = error instanceof Error ? error.message : String(error)
  return new Fault('unavailable', `${url.host} cannot be reached: ${why}`, { cause: error, details: code === undefined ? {} : { errno: code } })
}
