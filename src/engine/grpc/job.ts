/**
 * One build of a client's, from its `Control.Solve` until that has answered: what it says, what its frontend (mostly the client itself,
 * through `LLBBridge`) has asked for, and what that has chosen as the result.
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { BuildStatus } from '../http/build-trace.ts'
import { Vertices } from '../build/vertices.ts'
import type { BuildMessage } from '../contract/builds.ts'
import type { Session } from '../session/client-session.ts'
import type { BuildRecord } from './history.ts'
import { LogLimits } from './log-limits.ts'
import type { SolveRequest } from './solve-request.ts'
import { StatusLog } from './status-log.ts'

export interface JobOptions {
  readonly request: SolveRequest
  readonly clock: Clock
  /** Of that id; of the request's own where there is none. */
  readonly session: (id: string | undefined) => Promise<Session>
  /** Aborts when the client gives its Solve up. */
  readonly signal: AbortSignal
  readonly record: BuildRecord
}

export class Job implements Disposable {
  readonly request: SolveRequest
  readonly session: JobOptions['session']
  readonly signal: AbortSignal
  readonly record: BuildRecord
  readonly status = new StatusLog()
  /** Since 1970. */
  readonly startedNs: bigint
  readonly nowNs: () => bigint
  /** Steps of the engine's own, beside those of the builder. */
  readonly vertices: Vertices
  readonly #encoder: BuildStatus
  readonly #limits = new LogLimits()
  readonly #returned = Promise.withResolvers<string | undefined>()
  readonly #over = new AbortController()

  constructor({ request, clock, session, signal, record }: JobOptions) {
    this.record = record
    this.nowNs = () => clock.nowNs()
    this.startedNs = clock.nowNs()
    this.request = request
    this.session = session
    this.signal = AbortSignal.any([signal, this.#over.signal])
    this.#encoder = new BuildStatus(clock)
    this.vertices = new Vertices(`${request.ref} ${clock.nowNs()}`, this.tell)
    // Who waits hears of it; where nobody waits yet, nobody needs to.
    this.#returned.promise.catch((error: unknown) => error)
  }

  readonly tell = (message: BuildMessage): void => {
    this.record.count(message)
    for (const limited of this.#limits.apply(message)) {
      const response = this.#encoder.encode(limited)
      if (response !== undefined) this.status.add(response)
    }
  }

  /** What the frontend has chosen: a result's id, or nothing. Only its first word counts. */
  return(resultId: string | undefined): void {
    this.#returned.resolve(resultId)
  }

  fail(error: Error): void {
    this.#returned.reject(error)
  }

  /** The frontend's choice. `canceled` when the client goes before. */
  async chosen(): Promise<string | undefined> {
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const abort = (): void => reject(new Fault('canceled', 'context canceled'))
    this.signal.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([this.#returned.promise, aborted])
    } finally {
      this.signal.removeEventListener('abort', abort)
    }
  }

  [Symbol.dispose](): void {
    this.#over.abort(new Fault('canceled', 'the build is over'))
    this.vertices[Symbol.dispose]()
    this.status.end()
  }
}
