/**
 * gRPC on HTTP/2 sessions of Node's own, for connections that somebody else opened (github.com/grpc/grpc, `PROTOCOL-HTTP2.md`). Messages
 * are bytes here: who calls knows their shape (`proto-wire.ts`). No compression is offered, and none is taken.
 */
import { constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import { Fault, type FaultCode } from './fault.ts'
import { drained } from './streams.ts'

/** gRPC's default; a message above is refused before it is read. */
const defaultMessageBytes = 4 << 20

const prefixBytes = 5

/** A message behind its prefix: not compressed, length. */
export function grpcFrame(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(prefixBytes + message.length)
  frame.writeUInt8(0, 0)
  frame.writeUInt32BE(message.length, 1)
  message.copy(frame, prefixBytes)
  return frame
}

/** Cuts a byte stream into messages. */
export async function* grpcMessages(stream: AsyncIterable<Buffer>, maxMessageBytes = defaultMessageBytes): AsyncGenerator<Buffer> {
  let pending: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    pending.push(chunk)
    length += chunk.length
    if (length < prefixBytes) continue
    let bytes = Buffer.concat(pending, length)
    for (;;) {
      if (bytes.length < prefixBytes) break
      if (bytes.readUInt8(0) !== 0) throw new Fault('unimplemented', 'a gRPC message is compressed')
      const messageBytes = bytes.readUInt32BE(1)
      if (messageBytes > maxMessageBytes) throw new Fault('tooLarge', `a gRPC message of ${messageBytes} bytes; at most ${maxMessageBytes} are read`)
      if (bytes.length < prefixBytes + messageBytes) break
      yield bytes.subarray(prefixBytes, prefixBytes + messageBytes)
      bytes = bytes.subarray(prefixBytes + messageBytes)
    }
    pending = bytes.length === 0 ? [] : [bytes]
    length = bytes.length
  }
  if (length > 0) throw new Fault('unavailable', 'a gRPC message was cut short')
}

/** Status codes (`doc/statuscodes.md`); what is not here is `internal`. */
export const grpcCodes: readonly (readonly [status: number, code: FaultCode])[] = [
  [1, 'canceled'], [3, 'invalidArgument'], [4, 'timeout'], [5, 'notFound'], [6, 'alreadyExists'], [7, 'permissionDenied'], [8, 'resourceExhausted'], [9, 'preconditionFailed'], [12, 'unimplemented'],
  [14, 'unavailable'], [15, 'dataLoss'], [16, 'unauthenticated'],
]

export interface GrpcCall {
  /** Resolves when there is room for the next. */
  send(message: Buffer): Promise<void>
  /** No further message follows. */
  end(): void
  /** To be read once. Ends with the call; a status other than OK is thrown as a Fault of its code. */
  receive(): AsyncGenerator<Buffer>
  /** Gives the call up. */
  cancel(): void
}

export interface CallOptions {
  /** Names in lower case; a list is sent as several of one name. */
  readonly metadata?: Readonly<Record<string, string | readonly string[]>>
  readonly signal?: AbortSignal
}

/** `method` is the path, e.g. `/moby.filesync.v1.FileSync/DiffCopy`. */
export function openCall(session: ClientHttp2Session, method: string, { metadata = {}, signal }: CallOptions = {}): GrpcCall {
  const headers: OutgoingHttpHeaders = { ':method': 'POST', ':path': method, 'content-type': 'application/grpc', te: 'trailers' }
  for (const [name, value] of Object.entries(metadata)) headers[name] = typeof value === 'string' ? value : [...value]
  const stream = session.request(headers, signal === undefined ? {} : { signal })
  return new Call(stream, method)
}

/** One message there, one back. */
export async function callOnce(session: ClientHttp2Session, method: string, message: Buffer, options: CallOptions = {}): Promise<Buffer> {
  const call = openCall(session, method, options)
  await call.send(message)
  call.end()
  let answer: Buffer | undefined
  for await (const received of call.receive()) answer = received
  if (answer === undefined) throw new Fault('unavailable', `${method} answered no message`)
  return answer
}

class Call implements GrpcCall {
  readonly #stream: ClientHttp2Stream
  readonly #method: string
  #status: { readonly code: number; readonly message: string } | undefined

  constructor(stream: ClientHttp2Stream, method: string) {
    this.#stream = stream
    this.#method = method
    const take = (headers: IncomingHttpHeaders): void => {
      const code = headers['grpc-status']
      if (typeof code === 'string') this.#status = { code: Number(code), message: decodeMessage(String(headers['grpc-message'] ?? '')) }
    }
    // Where there is no message the status comes in the first headers.
    stream.on('response', take)
    stream.on('trailers', take)
    // Told to whoever reads; a call that nobody reads has nobody to tell.
    stream.on('error', () => undefined)
  }

  async send(message: Buffer): Promise<void> {
    // Whoever reads is told where the other side is gone.
    if (this.#stream.destroyed || this.#stream.writableEnded || this.#stream.write(grpcFrame(message))) return
    await drained(this.#stream)
  }

  end(): void {
    this.#stream.end()
  }

  async *receive(): AsyncGenerator<Buffer> {
    try {
      yield* grpcMessages(this.#stream)
    } catch (error) {
      if (error instanceof Fault) throw error
      if (this.#status === undefined) throw new Fault('unavailable', `${this.#method}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    } finally {
      this.cancel()
    }
    const { code, message } = this.#status ?? { code: 14, message: 'the connection ended before the answer did' }
    if (code !== 0) throw new Fault(grpcCodes.find(([status]) => status === code)?.[1] ?? 'internal', message || `${this.#method} failed with status ${code}`)
  }

  cancel(): void {
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL)
  }
}

/** Percent-encoded UTF-8; what is not is taken as it stands. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}
