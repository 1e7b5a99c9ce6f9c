/**
 * A SEQPACKET socket (unix(7)) joined to one end of a stream socketpair; the main thread reads the other end as a
 * net.Socket. Towards the main thread each packet is written behind its length (4 bytes, little-endian); what comes from
 * there is sent on in packets of at most 8 KiB, conmon's buffer. Poller's worker only.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import { errnoFault } from '../../contract/errno.ts'
import { check, lastErrno, libc, O_CLOEXEC, O_NONBLOCK } from '../libc.ts'
import { type Epoll, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from './epoll.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_SEQPACKET = 5
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const SHUT_WR = 1
const O_PATH = 0o10000000

const packetBytes = 8192
/** What may wait for a slow reader before the sender is held back. */
const queueBytes = 512 * 1024

/** sockaddr_un holds 107 bytes; a folder descriptor makes any path short. */
function connectTo(path: string): number {
  const what = `connect to ${path}`
  const socket = check(libc.socket(AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC | O_NONBLOCK, 0), what)
  let folder: number | undefined
  try {
    folder = openFolder(path)
    const name = Buffer.from(`/proc/thread-self/fd/${folder}/${basename(path)}\0`)
    const address = Buffer.alloc(2 + name.length)
    address.writeUInt16LE(AF_UNIX, 0)
    address.set(name, 2)
    check(libc.connect(socket, address, address.length), what)
    return socket
  } catch (error) {
    libc.close(socket)
    throw error
  } finally {
    if (folder !== undefined) closeSync(folder)
  }
}

function openFolder(path: string): number {
  try {
    return openSync(dirname(path), O_PATH | constants.O_DIRECTORY)
  } catch (error) {
    throw errnoFault(systemErrorCode(error) ?? 'EIO', `connect to ${path}`)
  }
}

export interface BridgeEvents {
  stalled(): void
  flowing(): void
  closed(): void
}

export class Bridge {
  /** The main thread's end. */
  readonly peerFd: number
  readonly #epoll: Epoll
  readonly #events: BridgeEvents
  readonly #socket: number
  readonly #local: number
  readonly #buffer = Buffer.alloc(64 * 1024)
  #toLocal: Buffer[] = []
  #toLocalBytes = 0
  #toSocket: Buffer | undefined
  #socketEnded = false
  #localEnded = false
  #stalled = false
  #closed = false

  constructor(epoll: Epoll, path: string, events: BridgeEvents) {
    this.#epoll = epoll
    this.#events = events
    this.#socket = connectTo(path)
    const fds = Buffer.alloc(8)
    check(libc.socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0, fds), 'open a socket pair')
    this.#local = fds.readInt32LE(0)
    this.peerFd = fds.readInt32LE(4)
    epoll.add(this.#socket, EPOLLIN, (seen) => this.#onSocket(seen))
    epoll.add(this.#local, EPOLLIN, (seen) => this.#onLocal(seen))
  }

  #onSocket(seen: number): void {
    if ((seen & EPOLLOUT) !== 0) this.#sendPending()
    if (!this.#closed && (seen & (EPOLLIN | EPOLLHUP | EPOLLERR)) !== 0) this.#receive()
    this.#update()
  }

  #onLocal(seen: number): void {
    if ((seen & EPOLLOUT) !== 0) this.#flush()
    if (!this.#closed && (seen & EPOLLIN) !== 0) this.#takeFromLocal()
    // HUP: the main thread closed its end for good.
    if ((seen & (EPOLLHUP | EPOLLERR)) !== 0) return this.close()
    this.#update()
  }

  #receive(): void {
    if (this.#toLocalBytes >= queueBytes) return
    const length = libc.recv(this.#socket, this.#buffer, this.#buffer.length, MSG_DONTWAIT)
    if (length < 0) {
      if (lastErrno() === 'EAGAIN') return
      this.#socketEnded = true
    } else if (length === 0) this.#socketEnded = true
    else {
      const frame = Buffer.alloc(4 + length)
      frame.writeUInt32LE(length, 0)
      this.#buffer.copy(frame, 4, 0, length)
      this.#toLocal.push(frame)
      this.#toLocalBytes += frame.length
    }
    this.#flush()
  }

  #flush(): void {
    while (this.#toLocal.length > 0) {
      const [frame = Buffer.alloc(0), ...rest] = this.#toLocal
      const sent = libc.send(this.#local, frame, frame.length, MSG_DONTWAIT | MSG_NOSIGNAL)
      if (sent < 0) {
        if (lastErrno() !== 'EAGAIN') return this.close()
        return this.#markStalled()
      }
      this.#toLocalBytes -= sent
      this.#toLocal = sent === frame.length ? rest : [frame.subarray(sent), ...rest]
      this.#markFlowing()
    }
    if (this.#socketEnded) this.close()
  }

  #takeFromLocal(): void {
    if (this.#toSocket !== undefined || this.#localEnded) return
    const length = libc.recv(this.#local, this.#buffer, packetBytes, MSG_DONTWAIT)
    if (length < 0) {
      if (lastErrno() !== 'EAGAIN') this.close()
      return
    }
    if (length === 0) {
      this.#localEnded = true
      libc.shutdown(this.#socket, SHUT_WR)
      return
    }
    this.#toSocket = Buffer.from(this.#buffer.subarray(0, length))
    this.#sendPending()
  }

  #sendPending(): void {
    if (this.#toSocket === undefined) return
    const sent = libc.send(this.#socket, this.#toSocket, this.#toSocket.length, MSG_DONTWAIT | MSG_NOSIGNAL)
    if (sent >= 0) this.#toSocket = undefined
    else if (lastErrno() !== 'EAGAIN') {
      // The other side reads no more: what the main thread writes from here on has nowhere to go.
      this.#toSocket = undefined
      this.#localEnded = true
    }
  }

  #markStalled(): void {
    if (this.#stalled || this.#toLocalBytes < queueBytes) return
    this.#stalled = true
    this.#events.stalled()
  }

  #markFlowing(): void {
    if (!this.#stalled) return
    this.#stalled = false
    this.#events.flowing()
  }

  #update(): void {
    if (this.#closed) return
    const readSocket = !this.#socketEnded && this.#toLocalBytes < queueBytes
    this.#epoll.change(this.#socket, (readSocket ? EPOLLIN : 0) | (this.#toSocket === undefined ? 0 : EPOLLOUT))
    const readLocal = !this.#localEnded && this.#toSocket === undefined
    this.#epoll.change(this.#local, (readLocal ? EPOLLIN : 0) | (this.#toLocal.length === 0 ? 0 : EPOLLOUT))
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const fd of [this.#socket, this.#local]) {
      this.#epoll.remove(fd)
      libc.close(fd)
    }
    this.#events.closed()
  }
}
