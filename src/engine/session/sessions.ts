/**
 * Sessions of BuildKit's clients (moby/buildkit `session/`): over one taken-over connection (`POST /session`) the client serves gRPC, and
 * the engine calls it for what a build needs of the client's machine: files, credentials, secrets, keys.
 */
import type { Duplex, Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Session, SessionOffer } from './client-session.ts'
import { Rendezvous } from './rendezvous.ts'

export class Sessions {
  readonly #sessions: Rendezvous<Session>
  readonly #uploads: Rendezvous<Readable>
  readonly #builds = new Map<string, AbortController>()

  constructor(clock: Clock) {
    this.#sessions = new Rendezvous(clock, 'no active session for')
    this.#uploads = new Rendezvous(clock, 'nothing was sent for upload request')
  }

  /** Serves the connection until either side ends it. `alreadyExists` where the id is taken. */
  async serve(socket: Duplex, offer: SessionOffer): Promise<void> {
    // Few clients have sessions: who has none, does not pay for HTTP/2.
    const { Session } = await import('./client-session.ts')
    const session = new Session(socket, offer)
    try {
      // Clients miss an end that comes before they serve: docker 20.10 then serves for ever.
      await Promise.race([session.ready, session.ended])
      using shown = this.#sessions.show(offer.id, session)
      await session.ended
      void shown
    } finally {
      session.close()
    }
  }

  /** The session of that id; waits for one that is on its way. */
  get(id: string): Promise<Session> {
    return this.#sessions.get(id)
  }

  /** Offers a body to the build that asks for it by that id, until it has read it or the client is gone. */
  async upload(id: string, body: Readable, signal: AbortSignal): Promise<void> {
    const { promise, resolve: taken } = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => taken(), { once: true })
    body.once('close', taken)
    using shown = this.#uploads.show(id, body)
    await promise
    void shown
  }

  takeUpload(id: string): Promise<Readable> {
    return this.#uploads.get(id)
  }

  /** A build that may be canceled by its id while the answer is held. */
  running(buildId: string): Disposable & { readonly signal: AbortSignal } {
    const controller = new AbortController()
    if (buildId !== '') this.#builds.set(buildId, controller)
    return {
      signal: controller.signal,
      [Symbol.dispose]: () => {
        if (this.#builds.get(buildId) === controller) this.#builds.delete(buildId)
      },
    }
  }

  cancel(buildId: string): void {
    this.#builds.get(buildId)?.abort(new Fault('canceled', 'the build was canceled'))
  }
}
