/**
 * What stands between a container's output and one client. The container may write ahead of the client by a bounded number of
 * bytes; beyond that it is held back, and a client that then reads nothing for `stallMs` is cut off, because a container must not be
 * frozen for good by a reader that went to sleep (architecture, decision 5).
 */
import type { Clock, Timer } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { OutputChunk } from '../contract/containers.ts'
import type { OutputChannel, OutputSink } from '../contract/runtime.ts'

export interface OutputQueueOptions {
  readonly clock: Clock
  readonly highWaterBytes?: number
  readonly stallMs?: number
  readonly accepts?: (channel: OutputChannel) => boolean
  /** Called once when it ended for whatever reason: the end of output, a close by the reader, a cut-off. */
  readonly onClosed?: () => void
}

export class OutputQueue implements OutputSink, AsyncIterable<OutputChunk> {
  readonly #options: OutputQueueOptions
  readonly #highWaterBytes: number
  #chunks: OutputChunk[] = []
  #bytes = 0
  #ended = false
  #closed = false
  #fault: Fault | undefined
  #wake: (() => void) | undefined
  #room: PromiseWithResolvers<void> | undefined
  #stall: Timer | undefined

  constructor(options: OutputQueueOptions) {
    this.#options = options
    this.#highWaterBytes = options.highWaterBytes ?? 1 << 20
  }

  get closed(): boolean {
    return this.#closed
  }

  write(channel: OutputChannel, data: Buffer): void | Promise<void> {
    if (this.#ended || data.length === 0 || this.#options.accepts?.(channel) === false) return undefined
    this.#chunks.push({ channel, data })
    this.#bytes += data.length
    this.#wake?.()
    if (this.#bytes <= this.#highWaterBytes) return undefined
    this.#room ??= Promise.withResolvers<void>()
    this.#stall ??= this.#options.clock.after(this.#options.stallMs ?? 30_000, () => this.#cutOff(), { background: true })
    return this.#room.promise
  }

  /** No more output will come; what is queued is still read. */
  end(): void {
    this.#ended = true
    this.#makeRoom()
    this.#wake?.()
    this.#close()
  }

  /** The reader leaves: what is queued is dropped. */
  discard(): void {
    this.#chunks = []
    this.#bytes = 0
    this.end()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const batch = this.#chunks
        this.#chunks = []
        for (const chunk of batch) {
          yield chunk
          this.#bytes -= chunk.data.length
          this.#stall?.cancel()
          this.#stall = undefined
          if (this.#bytes <= this.#highWaterBytes / 2) this.#makeRoom()
          else if (this.#room !== undefined) this.#stall = this.#options.clock.after(this.#options.stallMs ?? 30_000, () => this.#cutOff(), { background: true })
        }
        if (this.#chunks.length > 0) continue
        if (this.#fault !== undefined) throw this.#fault
        if (this.#ended) return
        await new Promise<void>((resolve) => (this.#wake = resolve))
        this.#wake = undefined
      }
    } finally {
      this.discard()
    }
  }

  #makeRoom(): void {
    this.#stall?.cancel()
    this.#stall = undefined
    this.#room?.resolve()
    this.#room = undefined
  }

  #cutOff(): void {
    this.#fault = new Fault('resourceExhausted', `the client did not read its container's output for ${(this.#options.stallMs ?? 30_000) / 1000} s and was cut off`)
    this.discard()
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#options.onClosed?.()
  }
}
