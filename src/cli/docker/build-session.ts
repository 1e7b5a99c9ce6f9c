/**
 * What a build takes from this side and gives to it: secrets, and the archive of an output. The client serves gRPC on a connection that it
 * opened (`POST /session`, moby/buildkit `session/`).
 */
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { randomUUID } from 'node:crypto'
import type { Writable } from 'node:stream'
import { grpcFrame, grpcMessages } from '#base/grpc.ts'
import { ProtoMessage, ProtoWriter } from '#base/proto-wire.ts'
import { print } from '../terminal.ts'
import type { DockerConnection } from './connection.ts'

export interface SessionOffers {
  readonly secrets: ReadonlyMap<string, Buffer>
  /** Takes the archive of an output. */
  readonly output: Writable | undefined
}

const getSecret = '/moby.buildkit.secrets.v1.Secrets/GetSecret'
const fileSend = '/moby.filesync.v1.FileSend/DiffCopy'
const notFound = 5
const unimplemented = 12

/** Its id names it to the build. It ends with its connection. */
export async function openBuildSession(engine: DockerConnection, offers: SessionOffers): Promise<{ readonly id: string } & Disposable> {
  const id = randomUUID()
  const methods = [...(offers.secrets.size > 0 ? [getSecret] : []), ...(offers.output === undefined ? [] : [fileSend])]
  const socket = await engine.hijack({ method: 'POST', path: '/session', headers: { Upgrade: 'h2c', 'X-Docker-Expose-Session-Uuid': id, 'X-Docker-Expose-Session-Name': 'berth', 'X-Docker-Expose-Session-Grpc-Method': methods.join(', ') } })
  // Loaded with the first session only.
  const { createServer } = process.getBuiltinModule('node:http2')
  const server = createServer()
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    serve(stream, headers, offers).catch((error: unknown) => stream.destroy(error instanceof Error ? error : undefined))
  })
  // Ended by HTTP/2's own words, so that calls under way are told.
  let session: ServerHttp2Session | undefined
  server.on('session', (opened: ServerHttp2Session) => {
    session = opened
  })
  server.emit('connection', socket)
  return {
    id,
    [Symbol.dispose]: () => {
      session?.close()
      socket.end()
    },
  }
}

async function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, { secrets, output }: SessionOffers): Promise<void> {
  let status = 0
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status) }))
  stream.on('error', () => stream.destroy())
  const path = headers[':path']
  if (path === fileSend && output !== undefined) {
    for await (const message of grpcMessages(stream)) await print(output, new ProtoMessage(message).bytes(1))
    await new Promise<void>((done) => output.end(done))
  } else if (path === getSecret) {
    let secret: Buffer | undefined
    for await (const message of grpcMessages(stream)) secret = secrets.get(new ProtoMessage(message).string(1))
    if (secret === undefined) status = notFound
    else {
      const answer = new ProtoWriter()
      answer.bytes(1, secret)
      stream.write(grpcFrame(answer.finish()))
    }
  } else status = unimplemented
  stream.end()
}
