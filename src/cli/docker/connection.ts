/**
 * A small client of the Docker Engine API over its unix socket: what the `berth` command speaks to the engine, the same
 * API and code path that `docker` uses. Errors carry the engine's own `message`.
 */
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { Agent, request } from '#base/http-module.ts'
import type { Duplex, Readable } from 'node:stream'
import { ExitError } from '../exit.ts'
import { parseJson, textAt } from '../json.ts'

const apiVersion = 'v1.44'

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD'
  /** Path below the version, e.g. `/containers/json`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly body?: unknown
  /** A raw body with its media type, instead of `body`. */
  readonly stream?: Readable
  readonly headers?: Readonly<Record<string, string>>
}

export class EngineRefusal extends ExitError {
  readonly status: number

  constructor(message: string, status: number) {
    super(`Error response from daemon: ${message}`, 1)
    this.status = status
  }
}

export class DockerConnection {
  readonly #socketPath: string
  readonly #agent = new Agent({ keepAlive: true })

  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  /** The parsed JSON of a 2xx answer (undefined where there is no body). Throws EngineRefusal otherwise. */
  async json(call: Call): Promise<unknown> {
    const text = (await collect(await this.stream(call))).toString('utf8')
    return text === '' ? undefined : parseJson(text)
  }

  /** The body of a 2xx answer while it arrives. */
  async stream(call: Call): Promise<IncomingMessage> {
    const response = await this.#send(call)
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 400) return response
    const text = (await collect(response)).toString('utf8')
    throw new EngineRefusal(textAt(parseJson(text), 'message') || text || `status ${status}`, status)
  }

  /** An attach or exec connection: raw bytes both ways after 101. */
  hijack(call: Call): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const { outgoing, body } = this.#open(call, { Connection: 'Upgrade', Upgrade: 'tcp' })
      outgoing.on('upgrade', (_response, socket, head) => {
        if (head.length > 0) socket.unshift(head)
        resolve(socket)
      })
      outgoing.on('response', (response) => {
        collect(response).then((text) => reject(new EngineRefusal(textAt(parseJson(text.toString('utf8')), 'message'), response.statusCode ?? 0)), reject)
      })
      outgoing.on('error', (error) => reject(this.#unreachable(error)))
      outgoing.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }

  #send(call: Call): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { outgoing, body } = this.#open(call, {})
      outgoing.on('response', resolve)
      outgoing.on('error', (error) => reject(this.#unreachable(error)))
      if (call.stream === undefined) outgoing.end(body)
      else call.stream.on('error', reject).pipe(outgoing)
    })
  }

  #open(call: Call, headers: Readonly<Record<string, string>>): { outgoing: ClientRequest; body: string | undefined } {
    const query = new URLSearchParams()
    for (const [key, value] of Object.entries(call.query ?? {})) if (value !== undefined) query.set(key, value)
    const body = call.body === undefined ? undefined : JSON.stringify(call.body)
    const options: RequestOptions = {
      socketPath: this.#socketPath,
      agent: this.#agent,
      method: call.method,
      path: `/${apiVersion}${call.path}${query.size > 0 ? `?${query.toString()}` : ''}`,
      headers: {
        Host: 'berth',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)) }),
        ...headers,
        ...call.headers,
      },
    }
    return { outgoing: request(options), body }
  }

  #unreachable(error: Error): Error {
    if (!('code' in error) || !(error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'EACCES')) return error
    const why = error.code === 'EACCES' ? 'permission denied: run it as root or join the group of the socket' : 'is Berth running? Start it with: berth up --detach'
    return new ExitError(`Cannot connect to the Berth engine at unix://${this.#socketPath}: ${why}`, 1)
  }
}

/** A small body in memory. */
export async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** One value per line of a JSON stream (progress of build, pull and push). */
export async function* jsonLines(stream: Readable): AsyncGenerator<unknown> {
  let rest = ''
  stream.setEncoding('utf8')
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') yield parseJson(line)
  }
  if (rest.trim() !== '') yield parseJson(rest)
}
