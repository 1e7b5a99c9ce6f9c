/** The main thread's end of a bridge: cuts the byte stream back into packets. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { Fault } from '#base/fault.ts'
import type { PacketSocket } from '../../contract/poller.ts'

const lengthBytes = 4

export class BridgedSocket extends Duplex implements PacketSocket {
  readonly #socket: Socket
  #pending: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    super({ readableObjectMode: true, readableHighWaterMark: 32, allowHalfOpen: true, autoDestroy: true })
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.#onClose())
  }

  #take(chunk: Buffer): void {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    while (bytes.length >= lengthBytes) {
      const length = bytes.readUInt32LE(0)
      if (bytes.length < lengthBytes + length) break
      if (!this.push(bytes.subarray(lengthBytes, lengthBytes + length))) this.#socket.pause()
      bytes = bytes.subarray(lengthBytes + length)
    }
    this.#pending = bytes
  }

  #onClose(): void {
    if (!this.readableEnded) this.push(null)
  }

  /** Ends both directions with the reason. */
  cutOff(reason: Fault): void {
    this.destroy(reason)
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // The other side is gone: its end is told by the readable side, writes are dropped.
    if (this.#socket.destroyed) return done()
    this.#socket.write(chunk, encoding, () => done())
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#socket.destroyed) return done()
    this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }
}
