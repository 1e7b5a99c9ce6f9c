/** One HTTP exchange, HTTP/1.1 or HTTP/2 alike (node's compatibility API): reading bounded bodies, writing with back-pressure. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'

export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: URL
  /** Aborts when the client goes away or the server stops. */
  readonly signal: AbortSignal
}

/** Upstream's bound on request bodies. */
export const maxBodyBytes = 3 * 1_048_576

export async function readBytes({ request, signal }: Exchange): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > maxBodyBytes) throw new Fault('tooLarge', `the request is too large: a body may have at most ${maxBodyBytes} bytes`)
  const bytes = await readBody(request, { maxBytes: maxBodyBytes })
  if (signal.aborted) throw new Fault('canceled', 'the client went away')
  return bytes
}

export function header({ request }: Exchange, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

export function send({ request, response }: Exchange, status: number, headers: Readonly<Record<string, string>>, body: Buffer): void {
  response.writeHead(status, { ...headers, 'content-length': String(body.length) })
  response.end(request.method === 'HEAD' ? undefined : body)
}

export function sendJson(exchange: Exchange, status: number, value: unknown): void {
  send(exchange, status, { 'content-type': 'application/json' }, Buffer.from(`${JSON.stringify(value)}\n`))
}

/** Resolves when the client has room again, or is gone. */
export async function write({ response, signal }: Exchange, bytes: Buffer): Promise<void> {
  if (signal.aborted || response.write(bytes)) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    response.once('drain', done)
    signal.addEventListener('abort', done, { once: true })
  })
}

const writtenAtOnce = 65_536

/** Writes many small buffers in few large ones. */
export async function writeAll(exchange: Exchange, pieces: Iterable<Buffer>): Promise<void> {
  let [waiting, bytes]: [Buffer[], number] = [[], 0]
  for (const piece of pieces) {
    waiting.push(piece)
    bytes += piece.length
    if (bytes < writtenAtOnce) continue
    await write(exchange, Buffer.concat(waiting))
    if (exchange.signal.aborted) return
    ;[waiting, bytes] = [[], 0]
  }
  if (bytes > 0) await write(exchange, Buffer.concat(waiting))
}
