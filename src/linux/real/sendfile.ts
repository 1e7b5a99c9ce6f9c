/**
 * `Sendfile` through the C library. Called from the main thread, on koffi's own threads: the connection never blocks, the file's disk
 * may. Node tells nobody the descriptor of a connection but in the undocumented `_handle.fd`; this is the only place that looks.
 */
import { Socket } from 'node:net'
import koffi from 'koffi'
import type { Sendfile, SendfileTarget } from '../contract/sendfile.ts'

const library = koffi.load('libc.so.6')
const close: (fd: number) => number = library.func('int close(int fd)')
// Declared without the dots: on x86-64 and arm64 integers travel in the same registers either way.
const fcntl: (fd: number, command: number, value: number) => number = library.func('int fcntl(int fd, int command, int value)')
const advise: (fd: number, offset: number, lengthBytes: number, advice: number) => number = library.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)')
const sendfile = library.func('long sendfile(int socket, int file, int64_t *offset, size_t length)')

const F_DUPFD_CLOEXEC = 1030
const POSIX_FADV_SEQUENTIAL = 2
/** koffi refuses more than 256 calls that run or wait. */
const maxCalls = 64
let calls = 0

export const realSendfile: Sendfile = {
  open(socket, file) {
    const fd = descriptorOf(socket)
    if (fd === undefined) return undefined
    const own = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    if (own < 0) return undefined
    // The kernel asks for 64 KiB at a time: it would read less ahead than for reads of ours. Where it takes no advice, it is only slower.
    advise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
    return targetOn(own, file)
  },
}

function targetOn(own: number, file: number): SendfileTarget {
  const offset = new BigInt64Array(1)
  return {
    async send(position, lengthBytes) {
      if (calls >= maxCalls) return 0
      offset[0] = BigInt(position)
      calls += 1
      try {
        const taken = await new Promise<number>((resolve, reject) => {
          sendfile.async(own, file, offset, lengthBytes, (error: Error | null, result: number) => (error === null ? resolve(result) : reject(error)))
        })
        return Math.max(0, taken)
      } finally {
        calls -= 1
      }
    },
    [Symbol.dispose]: () => void close(own),
  }
}

/** Only of a plain connection that stands: those of TLS and other streams are of other classes. */
function descriptorOf(socket: Socket): number | undefined {
  if (socket.constructor !== Socket || socket.destroyed || !socket.writable || (socket.timeout ?? 0) > 0) return undefined
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null || !['TCP', 'Pipe'].includes(handle.constructor.name)) return undefined
  const fd: unknown = Reflect.get(handle, 'fd')
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}
