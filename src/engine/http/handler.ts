/**
 * The Docker Engine API 1.24 to 1.50 (docs.docker.com/reference/api/engine): versions, routing, errors. The routes themselves stand in
 * `routes/`. Every error is `{"message": …}` with the status of its Fault code; messages are part of the API, because the docker CLI reads
 * them.
 */
import { posix } from 'node:path'
import type { IncomingMessage } from 'node:http'
import { ServerResponse } from '#base/http-module.ts'
import type { Duplex } from 'node:stream'
import { asFault, Fault, isFault } from '#base/fault.ts'
import { parseTarget, RouteTable, sendEmpty, sendJson, signalOf } from '#base/http.ts'
import type { EngineBackend } from './backend.ts'
import type { Exchange, Handler } from './exchange.ts'
import { containerRoutes } from './routes/containers.ts'
import { containerStreamRoutes } from './routes/container-streams.ts'
import { execRoutes } from './routes/exec.ts'
import { imageRoutes } from './routes/images.ts'
import { cacheMountRoutes } from './routes/cache-mounts.ts'
import { buildRoutes } from './routes/build.ts'
import { networkRoutes } from './routes/networks.ts'
import { diskUsageRoutes } from './routes/disk-usage.ts'
import { swarmRoutes } from './routes/swarm.ts'
import { systemRoutes } from './routes/system.ts'
import { volumeRoutes } from './routes/volumes.ts'
import { latestVersion, oldestVersion } from './version.ts'

export interface EngineHandler {
  readonly request: (req: IncomingMessage, res: ServerResponse) => void
  /** For the server's `upgrade` event. */
  readonly upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** For the server's `clientError` event: what is no HTTP is told so. */
  readonly clientError: (error: Error, socket: Duplex) => void
}

/** For `createServer`: X-Registry-Config carries credentials of many registries, and Go's servers take heads of a megabyte. */
export const engineServerOptions: { readonly maxHeaderSize: number } = { maxHeaderSize: 1 << 20 }

const allRoutes: readonly (readonly [method: string, pattern: string, handler: Handler])[] = [
  ...systemRoutes,
  ...diskUsageRoutes,
  ...swarmRoutes,
  ...containerRoutes,
  ...containerStreamRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...buildRoutes, ...cacheMountRoutes,
  ...networkRoutes,
  ...volumeRoutes,
]

export function engineHandler(backend: EngineBackend): EngineHandler {
  const routes = new RouteTable<Handler>()
  for (const [method, pattern, handler] of allRoutes) routes.add(method, pattern, handler)

  async function serve(req: IncomingMessage, res: ServerResponse, hijack: Exchange['hijack']): Promise<void> {
    try {
      const { path, query } = parseTarget(req.url ?? '/')
      const clean = cleanPath(path)
      if (clean !== path) {
        res.setHeader('Location', clean + (req.url ?? '').slice(path.length))
        sendEmpty(res, { status: 301 })
        return
      }
      const { minorVersion, rest } = versionOf(path)
      if (req.method === 'OPTIONS') {
        setHeaders(res, backend)
        sendEmpty(res)
        return
      }
      const match = routes.find(req.method ?? 'GET', rest)
      if (match.kind !== 'found') throw new Fault('notFound', 'page not found')
      setHeaders(res, backend)
      await match.handler({ backend, req, res, params: match.params, query, minorVersion, signal: signalOf(res), hijack })
    } catch (error) {
      if (hijack === undefined) await readRest(req)
      sendFault(res, error, backend)
    }
  }

  return {
    clientError(error, socket) {
      backend.log.debug({ error: error.message }, 'a request was no HTTP')
      // A head of which nothing was answered yet.
      const tooLong = 'code' in error && error.code === 'HPE_HEADER_OVERFLOW'
      if (socket.writable) socket.end(`HTTP/1.1 ${tooLong ? '431 Request Header Fields Too Large' : '400 Bad Request'}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      else socket.destroy()
    },
    request: (req, res) => void serve(req, res, undefined),
    upgrade(req, socket, head) {
      const res = new ServerResponse(req)
      // Whatever is answered, this connection serves no further request.
      res.shouldKeepAlive = false
      socket.on('error', (error: Error) => backend.log.debug({ error: error.message }, 'an upgraded client went away'))
      serve(req, res, { req, socket, head })
        .then(() => writeRefusal(res, socket))
        .catch((error: unknown) => {
          backend.log.error({ error: String(error) }, 'could not answer an upgrade request')
          socket.destroy()
        })
    },
  }
}

/** Doubled slashes, `.` and `..` lead elsewhere, as Go's routers have it; a slash at the end stays. */
function cleanPath(path: string): string {
  return path.includes('//') || path.includes('/.') ? posix.normalize(path) : path
}

function versionOf(path: string): { readonly minorVersion: number; readonly rest: string } {
  const match = /^\/v(\d+)\.(\d+)(\/.*)$/.exec(path)
  if (match === null) return { minorVersion: latestVersion, rest: path }
  const version = `${match[1]}.${match[2]}`
  const minorVersion = Number(match[2])
  if (Number(match[1]) > 1 || minorVersion > latestVersion) throw new Fault('invalidArgument', `client version ${version} is too new. Maximum supported API version is 1.${latestVersion}`)
  if (Number(match[1]) < 1 || minorVersion < oldestVersion) throw new Fault('invalidArgument', `client version ${version} is too old. Minimum supported API version is 1.${oldestVersion}, please upgrade your client to a newer version`)
  return { minorVersion, rest: match[3] ?? '/' }
}

function setHeaders(res: ServerResponse, { system }: EngineBackend): void {
  res.setHeader('Api-Version', `1.${latestVersion}`)
  res.setHeader('Docker-Experimental', 'false')
  res.setHeader('Ostype', 'linux')
  res.setHeader('Server', `Docker/${system.engineVersion} (linux)`)
}

const maxRestBytes = 256 * 1024

/**
 * What is left of a refused request's body, as far as Go's servers read it before they answer: a client that still writes takes an
 * early answer for a broken connection.
 */
async function readRest(req: IncomingMessage): Promise<void> {
  if (req.complete || req.destroyed) return
  await new Promise<void>((done) => {
    let bytes = 0
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxRestBytes) done()
    })
    req.once('close', done).once('end', done).resume()
  })
}

function sendFault(res: ServerResponse, error: unknown, { log }: EngineBackend): void {
  const fault = asFault(error)
  if (isFault(fault, 'internal')) log.error({ error: fault.message, stack: fault.cause instanceof Error ? fault.cause.stack : fault.stack }, 'a request failed')
  if (res.headersSent || res.writableEnded) {
    res.destroy()
    return
  }
  if (fault.code === 'canceled') log.debug({ error: fault.message }, 'the client went away')
  sendJson(res, { message: fault.message }, { status: fault.code === 'canceled' ? 499 : fault.httpStatus })
}

/** An upgrade that was answered like an ordinary request (mostly a refusal): its bytes go out by hand, for no server waits for them. */
function writeRefusal(res: ServerResponse, socket: Duplex): void {
  if (!res.headersSent || res.socket !== null) return
  if (socket.destroyed) return
  // ServerResponse buffers until it is given its socket.
  res.assignSocket(socket as Parameters<ServerResponse['assignSocket']>[0])
  res.on('finish', () => socket.end())
}
