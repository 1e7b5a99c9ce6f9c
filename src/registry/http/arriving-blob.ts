/**
 * A blob that a mirror is fetching, sent on to the client that asked for it while it arrives. The last piece is held back until the digest
 * is known to be right, so that no client takes a wrong blob for whole.
 */
import type { ServerResponse } from 'node:http'
import { sleep } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { drained } from '#base/streams.ts'
import type { Watcher } from '../mirror/mirror.ts'

/** A client that takes nothing for so long is left behind: others wait for the same blob. */
const patienceMs = 30_000

export class ArrivingBlob implements Watcher {
  readonly #res: ServerResponse
  readonly #clock: Clock
  readonly #headers: (sizeBytes: number) => Readonly<Record<string, string | number>>
  #sizeBytes = 0
  #held: Uint8Array | undefined

  constructor(res: ServerResponse, clock: Clock, headers: (sizeBytes: number) => Readonly<Record<string, string | number>>) {
    this.#res = res
    this.#clock = clock
    this.#headers = headers
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  begin(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.#res.writeHead(200, this.#headers(sizeBytes))
  }

  async take(bytes: Uint8Array): Promise<void> {
    const ready = this.#held
    this.#held = bytes
    if (ready === undefined || this.#res.destroyed || this.#res.write(ready)) return
    const patience = new AbortController()
    const waited = sleep(this.#clock, patienceMs, patience.signal).then(() => this.#res.destroy(), (canceled: unknown) => canceled)
    await Promise.race([drained(this.#res), waited])
    patience.abort()
  }

  /** The blob is what it should be. */
  end(): void {
    if (this.#held === undefined) this.#res.end()
    else this.#res.end(this.#held)
  }
}
