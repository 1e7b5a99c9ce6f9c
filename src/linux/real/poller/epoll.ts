/** epoll(7) as an event loop of its own: handlers by descriptor. Used by the poller's worker only. */
import { present } from '#base/assert.ts'
import { check, libc, O_CLOEXEC } from '../libc.ts'

export const EPOLLIN = 1
export const EPOLLOUT = 4
export const EPOLLERR = 8
export const EPOLLHUP = 16

const CTL_ADD = 1
const CTL_DEL = 2
const CTL_MOD = 3

/** struct epoll_event is packed on x86-64 alone. */
const eventBytes = process.arch === 'x64' ? 12 : 16
const dataOffset = process.arch === 'x64' ? 4 : 8
const batch = 64

export type EventHandler = (events: number) => void

/**
 * Handlers are found by a token of the registration, never by the descriptor's number: a handler may close a descriptor and open
 * another under the same number while events of the first are still in the batch.
 */
export class Epoll {
  readonly #fd = check(libc.epollCreate(O_CLOEXEC), 'create an epoll instance')
  readonly #tokens = new Map<number, bigint>()
  readonly #handlers = new Map<bigint, EventHandler>()
  readonly #events = Buffer.alloc(eventBytes * batch)
  #lastToken = 0n

  add(fd: number, events: number, handler: EventHandler): void {
    this.#lastToken += 1n
    this.#control(CTL_ADD, fd, events, this.#lastToken)
    this.#tokens.set(fd, this.#lastToken)
    this.#handlers.set(this.#lastToken, handler)
  }

  change(fd: number, events: number): void {
    this.#control(CTL_MOD, fd, events, present(this.#tokens.get(fd), `descriptor ${fd} among those watched`))
  }

  /** To be called before the descriptor is closed. */
  remove(fd: number): void {
    const token = this.#tokens.get(fd)
    if (token === undefined) return
    this.#tokens.delete(fd)
    this.#handlers.delete(token)
    this.#control(CTL_DEL, fd, 0, token)
  }

  /** Blocks until something happens, then runs the handlers concerned. */
  wait(): void {
    const count = libc.epollWait(this.#fd, this.#events, batch, -1)
    for (let index = 0; index < count; index += 1) {
      const at = index * eventBytes
      this.#handlers.get(this.#events.readBigUInt64LE(at + dataOffset))?.(this.#events.readUInt32LE(at))
    }
  }

  close(): void {
    libc.close(this.#fd)
  }

  #control(operation: number, fd: number, events: number, token: bigint): void {
    const event = Buffer.alloc(eventBytes)
    event.writeUInt32LE(events, 0)
    event.writeBigUInt64LE(token, dataOffset)
    check(libc.epollControl(this.#fd, operation, fd, event), `watch descriptor ${fd}`)
  }
}
