/** `NodeNetwork` on the machine: probes and hooks over real sockets, each bounded in time and size. */
import { connect as connectHttp2 } from 'node:http2'
import { request as requestHttp } from '#base/http-module.ts'
import type { IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { asFault, Fault } from '#base/fault.ts'
import { callOnce } from '#base/grpc.ts'
import { protoFields, ProtoWriter } from '#base/proto-wire.ts'
import type { HttpRequest, NodeNetwork } from '../ports.ts'

const longestBody = 10 * 1024
const mostRedirects = 10

export const realNodeNetwork: NodeNetwork = {
  httpGet: (request) => httpGet(request, request.path, 0),
  connect: ({ host, port, timeoutMs }) =>
    new Promise((resolve, reject) => {
      const socket = connectTcp({ host, port, timeout: timeoutMs })
      socket.once('connect', () => {
        socket.destroy()
        resolve()
      })
      socket.once('timeout', () => socket.destroy(new Fault('timeout', `dial tcp ${host}:${port}: i/o timeout`)))
      socket.once('error', (error) => reject(error instanceof Fault ? error : new Fault('unavailable', `dial tcp ${host}:${port}: ${error.message}`, { cause: error })))
    }),
  grpcHealth,
}

async function httpGet(request: HttpRequest, path: string, redirects: number): Promise<{ status: number; body: string }> {
  const response = await requestOnce(request, path)
  const location = response.headers.location
  const status = response.statusCode ?? 0
  if (status >= 300 && status < 400 && location !== undefined && redirects < mostRedirects) {
    const target = new URL(location, `${request.scheme.toLowerCase()}://${urlHost(request.host)}:${request.port}${path}`)
    // A redirect to another host counts as success, and is not followed.
    if (target.hostname === urlHost(request.host) || target.hostname === request.host) {
      response.destroy()
      return httpGet(request, `${target.pathname}${target.search}`, redirects + 1)
    }
  }
  return { status, body: await readBody(response) }
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function requestOnce({ scheme, host, port, headers, timeoutMs }: HttpRequest, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const url = `${scheme.toLowerCase()}://${urlHost(host)}:${port}${path}`
    const fail = (error: Error): void => reject(error instanceof Fault ? error : new Fault('unavailable', `Get "${url}": ${error.message}`, { cause: error }))
    const fields: Record<string, string> = { 'user-agent': 'kube-probe/1.36', accept: '*/*', connection: 'close' }
    for (const { name, value } of headers) fields[name.toLowerCase()] = value
    const signal = AbortSignal.timeout(timeoutMs)
    const outgoing = (scheme === 'HTTPS' ? requestHttps : requestHttp)({ host, port, path, headers: fields, agent: false, signal, ...(scheme === 'HTTPS' ? { rejectUnauthorized: false } : {}) }, (response) => resolve(response))
    outgoing.on('error', (error) => fail(signal.aborted ? new Fault('timeout', `Get "${url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`) : error))
    outgoing.end()
  })
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response) {
      if (!Buffer.isBuffer(chunk)) continue
      chunks.push(chunk)
      length += chunk.length
      if (length >= longestBody) break
    }
  } catch (error) {
    // The status is what a probe asks for; a body cut short says nothing more.
    if (!(error instanceof Error)) throw error
  } finally {
    response.destroy()
  }
  return Buffer.concat(chunks).subarray(0, longestBody).toString('utf8')
}

/** `grpc.health.v1.Health/Check`: a message of one string, answered by one of a number; absent means UNKNOWN (0). */
async function grpcHealth({ host, port, service, timeoutMs }: { host: string; port: number; service: string; timeoutMs: number }): Promise<number> {
  const session = connectHttp2(`http://${urlHost(host)}:${port}`)
  // The call is told, too.
  session.on('error', () => session.destroy())
  const signal = AbortSignal.timeout(timeoutMs)
  const request = new ProtoWriter()
  if (service !== '') request.string(1, service)
  try {
    const answer = await callOnce(session, '/grpc.health.v1.Health/Check', request.finish(), { signal })
    return Number([...protoFields(answer)].find(({ number }) => number === 1)?.value ?? 0n)
  } catch (error) {
    if (signal.aborted) throw new Fault('timeout', `timeout: failed to connect service "${host}:${port}" within ${timeoutMs} ms`, { cause: error })
    throw new Fault('unavailable', `gRPC health check of ${host}:${port}: ${asFault(error).message}`, { cause: error })
  } finally {
    session.destroy()
  }
}
