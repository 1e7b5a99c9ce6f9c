/** One reader's view of a stream of events, bounded: what overflows is replaced by one `resync`. */
import type { RuntimeEvent } from '#cluster/contract/runtime.ts'

const mostWaiting = 1024

export class EventQueue implements AsyncIterable<RuntimeEvent> {
  #waiting: RuntimeEvent[] = []
  #wake: (() => void) | undefined
  #ended = false

  push(event: RuntimeEvent): void {
    if (this.#ended) return
    if (this.#waiting.length >= mostWaiting) this.#waiting = [{ kind: 'resync' }]
    else this.#waiting.push(event)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RuntimeEvent> {
    for (;;) {
      const next = this.#waiting.shift()
      if (next !== undefined) yield next
      else if (this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
