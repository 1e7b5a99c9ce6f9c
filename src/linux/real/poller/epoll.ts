/** epoll(7) as an event loop of its own: handlers by descriptor. Used by the poller's worker only. */
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

export class Epoll {
  readonly #fd = check(libc.epollCreate(O_CLOEXEC), 'create an epoll instance')
  readonly #handlers = new Map<number, EventHandler>()
  readonly #events = Buffer.alloc(eventBytes * batch)

  add(fd: number, events: number, handler: EventHandler): void {
    this.#control(CTL_ADD, fd, events)
    this.#handlers.set(fd, handler)
  }

  change(fd: number, events: number): void {
    this.#control(CTL_MOD, fd, events)
  }

  /** To be called before the descriptor is closed. */
  remove(fd: number): void {
    if (!this.#handlers.delete(fd)) return
    this.#control(CTL_DEL, fd, 0)
  }

  /** Blocks until something happens, then runs the handlers concerned. */
  wait(): void {
    const count = libc.epollWait(this.#fd, this.#events, batch, -1)
    for (let index = 0; index < count; index += 1) {
      const at = index * eventBytes
      this.#handlers.get(this.#events.readInt32LE(at + dataOffset))?.(this.#events.readUInt32LE(at))
    }
  }

  #control(operation: number, fd: number, events: number): void {
    const event = Buffer.alloc(eventBytes)
    event.writeUInt32LE(events, 0)
    event.writeInt32LE(fd, dataOffset)
    check(libc.epollControl(this.#fd, operation, fd, event), `watch descriptor ${fd}`)
  }
}
