/** TLS with HTTP/2 and HTTP/1.1 on one port. Client certificates are asked for, checked later, and not required. */
import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Fault } from '#base/fault.ts'
import type { KeyPair } from '../pki/authority.ts'
import type { Connection } from './authentication.ts'
import type { Front } from './front.ts'

export interface ListenOptions {
  /** Addresses to listen on, e.g. loopback and the node's own. The first port is used for all when 0. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[]
  readonly server: KeyPair
  /** PEM: who signs clients' certificates. */
  readonly authority: string
  readonly front: Front
}

export interface Listener {
  readonly addresses: readonly { readonly host: string; readonly port: number }[]
  /** Takes a renewed certificate for new connections. */
  replaceCertificate(server: KeyPair): void
  /** Stops accepting, ends what is open. */
  close(): Promise<void>
}

/** Idle keep-alive connections; clients of Kubernetes keep theirs for long. */
const keepAliveMs = 180_000
const headersMs = 30_000
const keepAliveProbeMs = 30_000

/** The session of an HTTP/2 request is one object per connection; of HTTP/1.1 the socket is. */
function connectionOf(request: IncomingMessage): Connection {
  const stream: unknown = Reflect.get(request, 'stream')
  const session: unknown = typeof stream === 'object' && stream !== null ? Reflect.get(stream, 'session') : undefined
  if (typeof session === 'object' && session !== null) {
    // The session's socket is a wrapper that answers for the TLS socket underneath.
    return { identity: session, socket: Reflect.get(session, 'socket') as TLSSocket }
  }
  const { socket } = request
  if (!(socket instanceof TLSSocket)) throw new Fault('internal', 'a request came without TLS')
  return { identity: socket, socket }
}

function createServer({ server, authority, front }: ListenOptions, sockets: Set<Socket>): Http2SecureServer {
  const made = createSecureServer({
    allowHTTP1: true,
    cert: server.certificate,
    key: server.key,
    ca: authority,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    settings: { maxConcurrentStreams: 1_000, initialWindowSize: 1_048_576 },
  })
  // For HTTP/1.1, which the types of an HTTP/2 server know nothing of.
  Object.assign(made, { keepAliveTimeout: keepAliveMs, headersTimeout: headersMs })
  // The compatibility API gives HTTP/2 requests the face of HTTP/1.1 ones; the types do not know.
  made.on('request', (request, response) => front.handle(request as unknown as IncomingMessage, response as unknown as ServerResponse, connectionOf(request as unknown as IncomingMessage)))
  made.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => front.upgrade(request, socket, head, connectionOf(request)))
  made.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    // A peer that is gone without a word would hold its watches for ever.
    socket.setKeepAlive(true, keepAliveProbeMs)
    socket.once('close', () => sockets.delete(socket))
  })
  // Probes that hang up, scanners that speak no TLS: theirs to sort out.
  made.on('tlsClientError', (_error, socket) => socket.destroy())
  made.on('sessionError', (_error, session) => session.destroy())
  return made
}

function listen(server: Http2SecureServer, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(new Fault('unavailable', `the API server cannot listen on ${host}:${port}: ${cause.message}`, { cause })))
    server.listen({ host, port }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}

export async function startListener(options: ListenOptions): Promise<Listener> {
  const sockets = new Set<Socket>()
  const servers: Http2SecureServer[] = []
  const addresses: { readonly host: string; readonly port: number }[] = []
  const close = async (): Promise<void> => {
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const socket of sockets) socket.destroy()
    await Promise.all(closed)
  }
  try {
    for (const { host, port } of options.addresses) {
      const server = createServer(options, sockets)
      addresses.push({ host, port: await listen(server, host, port === 0 ? (addresses[0]?.port ?? 0) : port) })
      servers.push(server)
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    addresses,
    replaceCertificate({ certificate, key }) {
      for (const server of servers) server.setSecureContext({ cert: certificate, key, ca: options.authority })
    },
    close,
  }
}
