/** Sockets of another network namespace: a socket stays where it was opened. Kernel worker only. */
import { errnoFault, errnoOf } from '../../contract/errno.ts'
import { AF_INET, addressBytes } from '../addresses.ts'
import { check, lastErrno, libc, O_CLOEXEC, O_NONBLOCK } from '../libc.ts'
import { inNetworkNamespace } from './namespaces.ts'

const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOL_SOCKET = 1
const SO_SNDTIMEO = 21
const AF_INET6 = 10
const AF_UNIX = 1
const MSG_NOSIGNAL = 0x4000
const timeoutSeconds = 5n

/** The connected descriptor; who takes it closes it. */
export function dialTcp(request: { readonly netns: string; readonly host: string; readonly port: number }): number {
  const what = `connect to ${request.host}:${request.port} in ${request.netns}`
  const bytes = addressBytes(request.host)
  const family = bytes.length === 4 ? AF_INET : AF_INET6
  const socket = inNetworkNamespace(request.netns, () => check(libc.socket(family, SOCK_STREAM | O_CLOEXEC, 0), what))
  // A full backlog must not hold the worker; the kernel answers EINPROGRESS when this passes.
  const timeout = Buffer.alloc(16)
  timeout.writeBigInt64LE(timeoutSeconds, 0)
  libc.setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, timeout, 16)
  const address = socketAddress(family, bytes, request.port)
  if (libc.connect(socket, address, address.length) === 0) return socket
  const errno = lastErrno()
  libc.close(socket)
  throw errnoFault(errno === 'EINPROGRESS' ? 'ETIMEDOUT' : errno, what)
}

/** A datagram to a unix socket. A receiver that is behind must not hold the worker. */
export function sendDatagram({ path, data }: { readonly path: string; readonly data?: Uint8Array }): void {
  const what = `send to ${path}`
  const name = Buffer.from(`${path}\0`)
  if (name.length > 108) throw errnoFault('ENAMETOOLONG', what)
  const address = Buffer.alloc(2 + name.length)
  address.writeUInt16LE(AF_UNIX, 0)
  address.set(name, 2)
  const socket = check(libc.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, 0), what)
  try {
    check(libc.connect(socket, address, address.length), what)
    if (data !== undefined) check(libc.send(socket, Buffer.from(data), data.length, MSG_NOSIGNAL), what)
  } finally {
    libc.close(socket)
  }
}

/** The same free port for UDP and TCP. */
export function bindBoth(request: { readonly netns: string; readonly host: string }): { udp: number; tcp: number; port: number } {
  return inNetworkNamespace(request.netns, () => {
    for (let attempt = 0; ; attempt += 1) {
      const udp = boundSocket(SOCK_DGRAM, request.host, 0)
      const port = portOf(udp)
      try {
        return { udp, tcp: boundSocket(SOCK_STREAM, request.host, port), port }
      } catch (error) {
        libc.close(udp)
        // The port that UDP got may be taken for TCP.
        if (errnoOf(error) !== 'EADDRINUSE' || attempt === 9) throw error
      }
    }
  })
}

function boundSocket(type: number, host: string, port: number): number {
  const bytes = addressBytes(host)
  const family = bytes.length === 4 ? AF_INET : AF_INET6
  const socket = check(libc.socket(family, type | O_CLOEXEC | O_NONBLOCK, 0), `open a socket on ${host}`)
  const address = socketAddress(family, bytes, port)
  if (libc.bind(socket, address, address.length) === 0) return socket
  const errno = lastErrno()
  libc.close(socket)
  throw errnoFault(errno, `bind ${host}:${port}`)
}

function portOf(socket: number): number {
  const address = Buffer.alloc(28)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(address.length)
  check(libc.getsockname(socket, address, length), 'read the port of a socket')
  return address.readUInt16BE(2)
}

function socketAddress(family: number, bytes: Buffer, port: number): Buffer {
  const address = Buffer.alloc(family === AF_INET ? 16 : 28)
  address.writeUInt16LE(family, 0)
  address.writeUInt16BE(port, 2)
  address.set(bytes, family === AF_INET ? 4 : 8)
  return address
}
