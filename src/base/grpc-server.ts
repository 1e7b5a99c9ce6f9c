/**
 * gRPC served on a connection that somebody else has accepted (github.com/grpc/grpc, `PROTOCOL-HTTP2.md`): HTTP/2 by prior knowledge.
 * Messages are bytes here, as in `grpc.ts`. A call ends with its connection, and nothing of it outlives `serveGrpc`.
 */
import { performServerHandshake, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { asFault, Fault } from './fault.ts'
import { grpcCodes, grpcFrame, grpcMessages } from './grpc.ts'
import { ProtoWriter } from './proto-wire.ts'
import { drained } from './streams.ts'

/** What a call ends with (google/rpc `status.proto`). */
export interface GrpcStatus {
  readonly code: number
  readonly message: string
  /** Each a `google.protobuf.Any`, encoded. */
  readonly details?: readonly Buffer[]
}

export interface GrpcExchange {
  /** Names in lower case; several values of one name are joined by `, `. */
  readonly metadata: IncomingHttpHeaders
  /** Aborts when the client gives the call up, or is gone. */
  readonly signal: AbortSignal
  /** To be read once. */
  receive(): AsyncGenerator<Buffer>
  /** Resolves when there is room for the next. */
  send(message: Buffer): Promise<void>
}

/** Serves one call; what it throws becomes the status. */
export type GrpcMethod = (exchange: GrpcExchange) => Promise<void>

export interface GrpcServerOptions {
  /** By path, e.g. `/moby.buildkit.v1.Control/Solve`. */
  readonly methods: ReadonlyMap<string, GrpcMethod>
  /** How failures are told; by default the Fault's own code and message. */
  readonly statusOf?: (error: unknown) => GrpcStatus
  /** Of one message of a client. 16 MiB by default. */
  readonly maxMessageBytes?: number
}

/** Calls of one connection at a time; another is refused by HTTP/2. */
const maxCalls = 1000
/** Metadata that is read of one call, and that is sent with one (the details of a failure among it). */
const maxHeaderBytes = 64 << 10
const maxSentHeaderBytes = 1 << 20
/** Of the session's own tables and of what waits to be sent; Node counts in megabytes. */
const maxSessionMegabytes = 64
/** Bytes of one call that may be under way to us. */
const windowBytes = 1 << 20

/** A method that takes one message and answers one. */
export function unary(answer: (message: Buffer, exchange: GrpcExchange) => Promise<Buffer>): GrpcMethod {
  return async (exchange) => exchange.send(await answer(await oneMessage(exchange), exchange))
}

/** The message of a call that has but one. */
export async function oneMessage(exchange: GrpcExchange): Promise<Buffer> {
  let only: Buffer | undefined
  for await (const message of exchange.receive()) {
    if (only !== undefined) throw new Fault('invalidArgument', 'the method takes one message; another came')
    only = message
  }
  if (only === undefined) throw new Fault('invalidArgument', 'the method takes one message; none came')
  return only
}

/** Serves until either side ends the connection, and all its calls have ended. */
export async function serveGrpc(socket: Duplex, options: GrpcServerOptions): Promise<void> {
  const session = performServerHandshake(socket, {
    maxSessionMemory: maxSessionMegabytes,
    maxSendHeaderBlockLength: maxSentHeaderBytes,
    settings: { maxConcurrentStreams: maxCalls, initialWindowSize: windowBytes, maxHeaderListSize: maxHeaderBytes },
  })
  const calls = new Set<Promise<void>>()
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()
  session.once('close', () => end())
  // Each call is told on its own.
  session.on('error', () => session.destroy())
  socket.once('close', () => session.destroy())
  session.on('stream', (stream, headers) => {
    const call: Promise<void> = serveCall(stream, headers, options).finally(() => calls.delete(call))
    calls.add(call)
  })
  await ended
  await Promise.all(calls)
}

async function serveCall(stream: ServerHttp2Stream, metadata: IncomingHttpHeaders, options: GrpcServerOptions): Promise<void> {
  const gone = new AbortController()
  // A stream's own errors end it, which the call sees.
  stream.on('error', () => stream.destroy())
  stream.once('close', () => gone.abort(new Fault('canceled', 'the client gave the call up')))
  const exchange: GrpcExchange = {
    metadata,
    signal: gone.signal,
    // Who stops reading may still answer.
    receive: () => grpcMessages(stream.iterator({ destroyOnReturn: false }), options.maxMessageBytes ?? 16 << 20),
    async send(message) {
      if (stream.destroyed) throw new Fault('canceled', 'the client gave the call up')
      if (!stream.headersSent) respond(stream)
      if (!stream.write(grpcFrame(message))) await drained(stream)
    },
  }
  let status: GrpcStatus = { code: 0, message: '' }
  try {
    if (metadata[':method'] !== 'POST' || !(metadata['content-type'] ?? '').startsWith('application/grpc')) throw new Fault('invalidArgument', 'no gRPC: expected POST of application/grpc')
    const method = options.methods.get(metadata[':path'] ?? '')
    if (method === undefined) throw new Fault('unimplemented', `unknown method ${metadata[':path']}`)
    await method(exchange)
  } catch (error) {
    status = (options.statusOf ?? faultStatus)(error)
  }
  finish(stream, status)
}

function respond(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
}

function finish(stream: ServerHttp2Stream, status: GrpcStatus): void {
  if (stream.destroyed) return
  if (!stream.headersSent) respond(stream)
  stream.once('wantTrailers', () => stream.sendTrailers(trailersOf(status)))
  stream.end()
  // What the client may still send is not for anybody; that it ends, too, is what closes the stream.
  stream.resume()
}

function trailersOf({ code, message, details = [] }: GrpcStatus): Record<string, string> {
  const trailers: Record<string, string> = { 'grpc-status': String(code) }
  if (message !== '') trailers['grpc-message'] = encodeMessage(message)
  if (details.length > 0) {
    const encoded = encodeStatus({ code, message, details }).toString('base64').replace(/=+$/, '')
    // What does not fit is left out: the words alone say what failed.
    if (encoded.length < maxSentHeaderBytes / 2) trailers['grpc-status-details-bin'] = encoded
  }
  return trailers
}

/** `google.rpc.Status`. */
export function encodeStatus({ code, message, details = [] }: GrpcStatus): Buffer {
  const writer = new ProtoWriter()
  writer.varint(1, code)
  writer.string(2, message)
  for (const detail of details) writer.bytes(3, detail)
  return writer.finish()
}

export function faultStatus(error: unknown): GrpcStatus {
  const { code, message } = asFault(error)
  return { code: grpcCodes.find(([, fault]) => fault === code)?.[0] ?? 13, message }
}

const longestMessage = 16 << 10

/** Percent-encoding of what is no printable ASCII. */
function encodeMessage(message: string): string {
  return [...Buffer.from(message.slice(0, longestMessage), 'utf8')].map((byte) => (byte < 0x20 || byte > 0x7e || byte === 0x25 ? `%${byte.toString(16).toUpperCase().padStart(2, '0')}` : String.fromCharCode(byte))).join('')
}
