/**
 * A client of conmon's attach socket. Each packet begins with a byte that names its channel (2 standard output, 3 standard
 * error); what we send is standard input, and shutting our direction down is its end of file.
 */
import type { Writable } from 'node:stream'
import type { PacketSocket } from '#linux/contract/poller.ts'
import type { Attachment, OutputSink } from '../contract/runtime.ts'

const stderrChannel = 3

export class SocketAttachment implements Attachment {
  readonly stdin: Writable | undefined
  readonly closed: Promise<void>
  readonly #socket: PacketSocket

  constructor(socket: PacketSocket, sink: OutputSink, hasStdin: boolean) {
    this.#socket = socket
    this.stdin = hasStdin ? socket : undefined
    this.closed = this.#pump(sink)
  }

  async #pump(sink: OutputSink): Promise<void> {
    try {
      for await (const packet of this.#socket) {
        const bytes: Buffer = packet
        // conmon ends some packets of a terminal with an empty one.
        if (bytes.length < 2) continue
        const taken = sink.write(bytes[0] === stderrChannel ? 'stderr' : 'stdout', bytes.subarray(1))
        if (taken !== undefined) await taken
      }
    } catch (error) {
      // Closed by us, or cut off for standing still: either way this client sees no more; the log has everything.
      if (!this.#socket.destroyed) this.#socket.destroy(error instanceof Error ? error : undefined)
    } finally {
      // The other side is gone: without this a stdin that was never ended would keep the descriptor.
      this.#socket.destroy()
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
