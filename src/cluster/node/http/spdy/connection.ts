/**
 * The server's side of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00), as far as Kubernetes clients use it: streams that the client
 * opens, data in both directions, half-close, ping. kubectl still speaks it for port-forward (inside a WebSocket) and, up to
 * 1.30, for exec. Its library ignores window updates, so the connection itself is what holds a fast sender back.
 */
import type { Duplex } from 'node:stream'
import { Duplex as DuplexStream } from 'node:stream'
import { asFault, Fault } from '#base/fault.ts'
import { drained } from '#base/streams.ts'
import type { SpdyHeaders } from './headers.ts'
import { HeaderReader, HeaderWriter } from './headers.ts'

const version = 3
const headerBytes = 8
const longestFrame = 1024 * 1024
const longestData = 32 * 1024
const mostStreams = 1000
const finFlag = 1

const control = { synStream: 1, synReply: 2, rstStream: 3, settings: 4, ping: 6, goAway: 7, headers: 8, windowUpdate: 9 } as const

/** A stream that the client has opened. Ending it half-closes; destroying it with an error resets. */
export class SpdyStream extends DuplexStream {
  readonly id: number
  readonly headers: SpdyHeaders
  readonly #connection: SpdyConnection
  #wanted: (() => void) | undefined

  constructor(connection: SpdyConnection, id: number, headers: SpdyHeaders) {
    super({ allowHalfOpen: true })
    this.#connection = connection
    this.id = id
    this.headers = headers
  }

  /** Data from the client; resolves when more may come. */
  async receive(data: Buffer): Promise<void> {
    if (this.destroyed || this.readableEnded || this.push(data)) return
    await new Promise<void>((resolve) => (this.#wanted = resolve))
  }

  receiveEnd(): void {
    if (!this.destroyed) this.push(null)
  }

  override _read(): void {
    this.#wanted?.()
    this.#wanted = undefined
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    void this.#send(chunk, false, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    void this.#send(Buffer.alloc(0), true, done)
  }

  async #send(data: Buffer, fin: boolean, done: (error?: Error | null) => void): Promise<void> {
    try {
      await this.#connection.sendData(this.id, data, fin)
    } catch (error) {
      return done(asFault(error))
    }
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#connection.forget(this, error !== null)
    this._read()
    done(error)
  }
}

export class SpdyConnection {
  readonly #transport: Duplex
  readonly #streams = new Map<number, SpdyStream>()
  readonly #reader = new HeaderReader()
  readonly #writer = new HeaderWriter()
  readonly #onStream: (stream: SpdyStream) => void

  /** `onStream` hears of each stream once it has been accepted. */
  constructor(transport: Duplex, onStream: (stream: SpdyStream) => void) {
    this.#transport = transport
    this.#onStream = onStream
  }

  /** Serves until the client leaves. Rejects when it breaks the protocol. */
  async run(): Promise<void> {
    let received: Buffer = Buffer.alloc(0)
    try {
      for await (const chunk of this.#transport) {
        if (!Buffer.isBuffer(chunk)) continue
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
        for (let frame = firstFrame(received); frame !== undefined; frame = firstFrame(received)) {
          received = received.subarray(frame.length)
          await this.#receive(frame)
        }
      }
    } catch (error) {
      // A connection that breaks off is how clients leave.
      if (error instanceof Fault) throw error
    } finally {
      this.close()
    }
  }

  close(): void {
    for (const stream of this.#streams.values()) stream.destroy()
    this.#streams.clear()
    this.#transport.destroy()
    this.#reader[Symbol.dispose]()
    this.#writer[Symbol.dispose]()
  }

  /** Sends what is written still, then closes. */
  end(): void {
    this.#transport.end()
  }

  async #receive(frame: Buffer): Promise<void> {
    const flags = frame[4] ?? 0
    const payload = frame.subarray(headerBytes)
    if ((frame[0] ?? 0) < 0x80) {
      const stream = this.#streams.get(frame.readUInt32BE(0))
      if (payload.length > 0) await stream?.receive(payload)
      if ((flags & finFlag) !== 0) stream?.receiveEnd()
      return
    }
    const type = frame.readUInt16BE(2)
    if (type === control.synStream) return this.#accept(payload, flags)
    if (type === control.rstStream) return void this.#streams.get(payload.readUInt32BE(0) & 0x7fffffff)?.destroy()
    // Ids of a client's pings are odd; even ones would answer ours.
    if (type === control.ping && payload.length >= 4 && payload.readUInt32BE(0) % 2 === 1) return this.#send(controlFrame(control.ping, 0, payload.subarray(0, 4)))
    if (type === control.headers && payload.length > 4) await this.#reader.read(payload.subarray(4))
  }

  async #accept(payload: Buffer, flags: number): Promise<void> {
    if (payload.length < 10) throw new Fault('invalidArgument', 'a SPDY SYN_STREAM frame is too short')
    const id = payload.readUInt32BE(0) & 0x7fffffff
    // Also of a stream that is refused: the compression's context goes on.
    const headers = await this.#reader.read(payload.subarray(10))
    if (this.#streams.has(id) || this.#streams.size >= mostStreams) return this.#reset(id, 3)
    const stream = new SpdyStream(this, id, headers)
    this.#streams.set(id, stream)
    const block = await this.#writer.write(new Map())
    await this.#send(controlFrame(control.synReply, 0, Buffer.concat([uint32(id), block])))
    this.#onStream(stream)
    if ((flags & finFlag) !== 0) stream.receiveEnd()
  }

  #reset(id: number, status: number): Promise<void> {
    return this.#send(controlFrame(control.rstStream, 0, Buffer.concat([uint32(id), uint32(status)])))
  }

  async sendData(id: number, data: Buffer, fin: boolean): Promise<void> {
    for (let at = 0; at === 0 || at < data.length; at += longestData) {
      const part = data.subarray(at, at + longestData)
      const last = at + longestData >= data.length
      const header = Buffer.alloc(headerBytes)
      header.writeUInt32BE(id, 0)
      header.writeUInt32BE(part.length, 4)
      header[4] = fin && last ? finFlag : 0
      await this.#send(Buffer.concat([header, part]))
    }
  }

  forget(stream: SpdyStream, failed: boolean): void {
    if (!this.#streams.delete(stream.id) || !failed || this.#transport.destroyed) return
    // 5 is CANCEL. Nobody waits for it.
    void this.#reset(stream.id, 5).then(undefined, () => undefined)
  }

  async #send(frame: Buffer): Promise<void> {
    if (this.#transport.destroyed || this.#transport.writableEnded) throw new Fault('canceled', 'the SPDY connection is closed')
    if (this.#transport.write(frame)) return
    await drained(this.#transport)
  }
}

/** The first whole frame of what has been received; undefined when more must come. */
function firstFrame(received: Buffer): Buffer | undefined {
  if (received.length < headerBytes) return undefined
  const length = received.readUInt32BE(4) & 0xffffff
  if (length > longestFrame) throw new Fault('tooLarge', `a SPDY frame has ${length} bytes, at most ${longestFrame} are allowed`)
  if ((received[0] ?? 0) >= 0x80 && (received.readUInt16BE(0) & 0x7fff) !== version) throw new Fault('invalidArgument', 'only version 3 of SPDY is spoken here')
  return received.length < headerBytes + length ? undefined : received.subarray(0, headerBytes + length)
}

function controlFrame(type: number, flags: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt16BE(0x8000 | version, 0)
  header.writeUInt16BE(type, 2)
  header.writeUInt32BE(payload.length, 4)
  header[4] = flags
  return Buffer.concat([header, payload])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
