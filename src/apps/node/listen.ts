/** Listening sockets of the node process: the Docker API's unix socket, and the registry's port. */
import { chmodSync, chownSync, readFileSync, rmSync } from 'node:fs'
import type { RequestListener, Server } from 'node:http'
import { createServer } from '#base/http-module.ts'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { IncomingMessage } from 'node:http'
import { systemErrorCode } from '#base/fault.ts'

export interface Listening extends AsyncDisposable {
  readonly server: Server
}

export interface Handlers {
  readonly request: RequestListener
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** What is no HTTP. */
  readonly clientError: (error: Error, socket: Duplex) => void
  /** Options for `createServer`. */
  readonly server: { readonly maxHeaderSize?: number }
}

/** Tells when a request begins and when it is over. */
export function noticing({ request, upgrade, ...rest }: Omit<Handlers, 'server'>, work: () => void): Omit<Handlers, 'server'> {
  return {
    ...rest,
    request: (incoming, response) => {
      work()
      response.once('close', work)
      request(incoming, response)
    },
    upgrade: (incoming, socket, head) => {
      work()
      socket.once('close', work)
      upgrade(incoming, socket, head)
    },
  }
}

/** The group that may use the Docker socket besides root, where the machine has one. */
function dockerGroup(): number | undefined {
  try {
    const line = readFileSync('/etc/group', 'utf8').split('\n').find((entry) => entry.startsWith('docker:'))
    const gid = Number(line?.split(':')[2])
    return line === undefined || Number.isNaN(gid) ? undefined : gid
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** A unix socket of mode 0660, root:docker where there is such a group. One that an earlier process left is replaced. */
export async function listenUnix(path: string, handlers: Handlers): Promise<Listening> {
  rmSync(path, { force: true })
  const before = process.umask(0o117)
  try {
    const listening = await start({ path }, handlers)
    chmodSync(path, 0o660)
    const gid = dockerGroup()
    if (gid !== undefined) chownSync(path, 0, gid)
    return listening
  } finally {
    process.umask(before)
  }
}

/** PEM of a certificate (with those between it and its authority) and of its key. */
export interface TlsIdentity {
  readonly certificate: string
  readonly key: string
}

/** With `tls`, HTTPS. */
export function listenTcp(host: string, port: number, request: RequestListener, tls?: TlsIdentity): Promise<Listening> {
  return start({ host, port, ...(tls === undefined ? {} : { tls }) }, { request, upgrade: (_request, socket) => socket.destroy(), clientError: (_error, socket) => socket.destroy(), server: {} })
}

function start(where: { readonly path: string } | { readonly host: string; readonly port: number; readonly tls?: TlsIdentity }, { request, upgrade, clientError, server: options }: Handlers): Promise<Listening> {
  // Builds, pulls, logs and waits last as long as they last; only the headers have a deadline.
  const lasting = { requestTimeout: 0, keepAliveTimeout: 75_000, ...options }
  const tls = 'tls' in where ? where.tls : undefined
  const server = tls === undefined ? createServer(lasting, request) : createTlsServer({ ...lasting, cert: tls.certificate, key: tls.key }, request)
  server.on('upgrade', upgrade)
  server.on('clientError', clientError)
  // Also those that were upgraded, which `closeAllConnections` no longer knows.
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () =>
      resolve({
        server,
        [Symbol.asyncDispose]: () =>
          new Promise<void>((closed) => {
            server.close(() => closed())
            for (const socket of sockets) socket.destroy()
          }),
      }),
    )
  })
}
