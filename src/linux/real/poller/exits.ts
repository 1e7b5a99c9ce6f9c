/** Ends of processes by pidfd (pidfd_open(2)); children are reaped here too. Poller's worker only. */
import { errnoFault } from '../../contract/errno.ts'
import { check, lastErrno, libc } from '../libc.ts'
import { startTimeOf } from '../operations/identity.ts'
import { type Epoll, EPOLLIN } from './epoll.ts'
import type { PollerEvent } from './messages.ts'

const P_PIDFD = 3
const WEXITED = 4
const CLD_EXITED = 1

interface Status {
  readonly exitCode: number | undefined
  readonly signal: number | undefined
}

/** siginfo_t: si_code at byte 8; the child's status follows pid and uid at byte 24. */
function reap(pidfd: number): Status {
  const info = Buffer.alloc(128)
  check(libc.waitid(P_PIDFD, pidfd, info, WEXITED), 'reap a child')
  const status = info.readInt32LE(24)
  return info.readInt32LE(8) === CLD_EXITED ? { exitCode: status, signal: undefined } : { exitCode: undefined, signal: status }
}

const unknownStatus: Status = { exitCode: undefined, signal: undefined }

export class Exits {
  readonly #epoll: Epoll
  readonly #post: (event: PollerEvent) => void
  readonly #watched = new Map<number, number>()

  constructor(epoll: Epoll, post: (event: PollerEvent) => void) {
    this.#epoll = epoll
    this.#post = post
  }

  watch(request: { readonly id: number; readonly pid: number; readonly startTime: bigint | undefined; readonly child: boolean }): void {
    const pidfd = libc.pidfdOpen(request.pid, 0)
    if (pidfd < 0) {
      const errno = lastErrno()
      if (errno !== 'ESRCH') throw errnoFault(errno, `watch process ${request.pid}`)
      return this.#post({ kind: 'exited', id: request.id, ...unknownStatus })
    }
    if (request.startTime !== undefined && startTimeOf(request.pid) !== request.startTime) {
      libc.close(pidfd)
      return this.#post({ kind: 'exited', id: request.id, ...unknownStatus })
    }
    this.#watched.set(request.id, pidfd)
    this.#epoll.add(pidfd, EPOLLIN, () => {
      const status = request.child ? reap(pidfd) : unknownStatus
      this.forget(request.id)
      this.#post({ kind: 'exited', id: request.id, ...status })
    })
  }

  forget(id: number): void {
    const pidfd = this.#watched.get(id)
    if (pidfd === undefined) return
    this.#watched.delete(id)
    this.#epoll.remove(pidfd)
    libc.close(pidfd)
  }
}
