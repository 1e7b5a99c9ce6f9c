/**
 * What a build says, in the order of the Dockerfile although stages run side by side: the earliest unfinished stage speaks, the
 * others' words wait for their turn. What waits is bounded; a stage that says more loses its oldest words.
 */
import type { BuildMessage } from '../contract/builds.ts'

const maxWaiting = 20_000

export class OrderedOutput {
  readonly #emit: (message: BuildMessage) => void
  readonly #channels: Channel[] = []
  #speaking = 0

  constructor(emit: (message: BuildMessage) => void) {
    this.#emit = emit
  }

  /** Channels speak in the order in which they were made. */
  channel(): Channel {
    const index = this.#channels.length
    const channel = new Channel((message, waiting) => {
      if (index === this.#speaking) this.#emit(message)
      else {
        if (waiting.length === maxWaiting) waiting.shift()
        waiting.push(message)
      }
    }, () => this.#advance())
    this.#channels.push(channel)
    return channel
  }

  #advance(): void {
    for (;;) {
      const current = this.#channels[this.#speaking]
      if (current === undefined) return
      for (const message of current.waiting.splice(0)) this.#emit(message)
      if (!current.isClosed) return
      this.#speaking += 1
    }
  }
}

export class Channel {
  readonly waiting: BuildMessage[] = []
  isClosed = false
  readonly #send: (message: BuildMessage, waiting: BuildMessage[]) => void
  readonly #onClose: () => void

  constructor(send: (message: BuildMessage, waiting: BuildMessage[]) => void, onClose: () => void) {
    this.#send = send
    this.#onClose = onClose
  }

  say(message: BuildMessage): void {
    this.#send(message, this.waiting)
  }

  text(text: string): void {
    this.say({ kind: 'stream', text })
  }

  close(): void {
    this.isClosed = true
    this.#onClose()
  }
}

/** What nobody is to hear unless the build fails: the last words of it. */
export class HeldMessages {
  readonly #held: BuildMessage[] = []

  readonly hold = (message: BuildMessage): void => {
    if (this.#held.length === maxWaiting) this.#held.shift()
    this.#held.push(message)
  }

  release(emit: (message: BuildMessage) => void): void {
    for (const message of this.#held.splice(0)) emit(message)
  }
}
