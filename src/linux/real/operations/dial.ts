/** A TCP connection from inside a network namespace; a socket stays where it was opened. Kernel worker only. */
import { errnoFault } from '../../contract/errno.ts'
import { AF_INET, addressBytes } from '../addresses.ts'
import { check, lastErrno, libc, O_CLOEXEC } from '../libc.ts'
import { inNetworkNamespace } from './namespaces.ts'

const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_SNDTIMEO = 21
const AF_INET6 = 10
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

function socketAddress(family: number, bytes: Buffer, port: number): Buffer {
  const address = Buffer.alloc(family === AF_INET ? 16 : 28)
  address.writeUInt16LE(family, 0)
  address.writeUInt16BE(port, 2)
  address.set(bytes, family === AF_INET ? 4 : 8)
  return address
}
