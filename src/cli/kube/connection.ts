/**
 * The `berth kube` commands' connection to a Kubernetes API server, from a kubeconfig: TLS with a client certificate or a
 * token. Refusals keep the server's own message, as kubectl prints them.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { Readable } from 'node:stream'
import { WebSocket } from 'ws'
import { parse as parseYaml } from 'yaml'
import { ExitError } from '../exit.ts'
import { collect } from '../docker/connection.ts'
import { listAt, objectAt, parseJson, textAt } from '../json.ts'

export interface KubeCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly body?: unknown
  readonly contentType?: string
  readonly accept?: string
  readonly signal?: AbortSignal
}

export class KubeRefusal extends ExitError {
  readonly status: number
  readonly reason: string

  constructor(message: string, status: number, reason: string) {
    super(`Error from server${reason === '' ? '' : ` (${reason})`}: ${message}`, 1)
    this.status = status
    this.reason = reason
  }
}

interface Access {
  readonly server: URL
  readonly ca: Buffer
  readonly cert: Buffer | undefined
  readonly key: Buffer | undefined
  readonly token: string | undefined
  readonly namespace: string
}

function named(config: unknown, list: string, name: string, inner: string): Readonly<Record<string, unknown>> {
  return objectAt(listAt(config, list).find((entry) => textAt(entry, 'name') === name), inner)
}

function decoded(entry: unknown, key: string): Buffer | undefined {
  const data = textAt(entry, `${key}-data`)
  if (data !== '') return Buffer.from(data, 'base64')
  const path = textAt(entry, key)
  return path === '' ? undefined : readFileSync(path)
}

function readAccess(path: string): Access {
  if (!existsSync(path)) throw new ExitError(`no kubeconfig at ${path}: is Berth running? Start it with: berth up --detach`)
  const config: unknown = parseYaml(readFileSync(path, 'utf8'))
  const context = named(config, 'contexts', textAt(config, 'current-context'), 'context')
  const cluster = named(config, 'clusters', textAt(context, 'cluster'), 'cluster')
  const user = named(config, 'users', textAt(context, 'user'), 'user')
  return {
    server: new URL(textAt(cluster, 'server')),
    ca: decoded(cluster, 'certificate-authority') ?? Buffer.alloc(0),
    cert: decoded(user, 'client-certificate'),
    key: decoded(user, 'client-key'),
    token: textAt(user, 'token') || undefined,
    namespace: textAt(context, 'namespace') || 'default',
  }
}

export class KubeConnection {
  readonly #access: Access
  readonly #agent: Agent

  constructor(kubeconfigPath: string) {
    this.#access = readAccess(kubeconfigPath)
    this.#agent = new Agent({ keepAlive: true, ca: this.#access.ca, cert: this.#access.cert, key: this.#access.key })
  }

  get defaultNamespace(): string {
    return this.#access.namespace
  }

  async json(call: KubeCall): Promise<unknown> {
    return parseJson((await this.text(call)))
  }

  async text(call: KubeCall): Promise<string> {
    return (await collect(await this.stream(call))).toString('utf8')
  }

  async stream(call: KubeCall): Promise<Readable> {
    const response = await this.#send(call)
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 300) return response
    const body = parseJson((await collect(response)).toString('utf8'))
    throw new KubeRefusal(textAt(body, 'message') || String(body), status, textAt(body, 'reason'))
  }

  /** A WebSocket of the remote-command protocol (v5.channel.k8s.io, falling back to v4). */
  webSocket(path: string, query: URLSearchParams): WebSocket {
    const url = new URL(`${path}?${query.toString()}`, this.#access.server)
    url.protocol = 'wss:'
    const headers = this.#access.token === undefined ? {} : { Authorization: `Bearer ${this.#access.token}` }
    return new WebSocket(url, ['v5.channel.k8s.io', 'v4.channel.k8s.io'], { ca: this.#access.ca, cert: this.#access.cert, key: this.#access.key, headers })
  }

  close(): void {
    this.#agent.destroy()
  }

  #send(call: KubeCall): Promise<IncomingMessage> {
    const query = new URLSearchParams()
    for (const [key, value] of Object.entries(call.query ?? {})) if (value !== undefined) query.set(key, value)
    const body = call.body === undefined ? undefined : JSON.stringify(call.body)
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(`${call.path}${query.size > 0 ? `?${query.toString()}` : ''}`, this.#access.server),
        {
          agent: this.#agent,
          method: call.method,
          ...(call.signal === undefined ? {} : { signal: call.signal }),
          headers: {
            Accept: call.accept ?? 'application/json',
            'User-Agent': 'berth',
            ...(this.#access.token === undefined ? {} : { Authorization: `Bearer ${this.#access.token}` }),
            ...(body === undefined ? {} : { 'Content-Type': call.contentType ?? 'application/json', 'Content-Length': String(Buffer.byteLength(body)) }),
          },
        },
        resolve,
      )
      outgoing.on('error', (error) => {
        const refused = 'code' in error && error.code === 'ECONNREFUSED'
        reject(refused ? new ExitError(`The connection to the server ${this.#access.server.host} was refused: is Berth running? Start it with: berth up --detach`) : error)
      })
      outgoing.end(body)
    })
  }
}
