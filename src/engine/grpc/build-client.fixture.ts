/**
 * A client of BuildKit's services over one engine's socket, for tests without buildx: a connection for calls, and a session that lends
 * folders from memory and keeps what is sent to it.
 */
import { connect, type ClientHttp2Session } from 'node:http2'
import { request } from '#base/http-module.ts'
import type { Socket } from 'node:net'
import { callOnce, openCall, type CallOptions } from '#base/grpc.ts'
import { serveGrpc, type GrpcExchange } from '#base/grpc-server.ts'
import { ProtoMessage, ProtoWriter } from '#base/proto-wire.ts'
import { decodePacket, encodePacket, type FileStat } from '../session/file-packets.ts'

export type Folder = Readonly<Record<string, string>>

/** Takes a connection over. */
export function hijacked(socketPath: string, path: string, headers: Readonly<Record<string, string | string[]>> = {}): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const asked = request({ socketPath, method: 'POST', path, headers: { connection: 'Upgrade', upgrade: 'h2c', ...headers } })
  asked.once('upgrade', (_answer, socket: Socket, head) => {
    if (head.length > 0) socket.unshift(head)
    resolve(socket)
  })
  asked.once('response', (answer) => reject(new Error(`not taken over: ${answer.statusCode}`)))
  asked.once('error', reject)
  asked.end()
  return promise
}

export class BuildClient implements Disposable {
  readonly #http: ClientHttp2Session

  private constructor(http: ClientHttp2Session) {
    this.#http = http
    http.on('error', () => http.destroy())
  }

  static async open(socketPath: string): Promise<BuildClient> {
    const socket = await hijacked(socketPath, '/grpc')
    return new BuildClient(connect('http://engine', { createConnection: () => socket, maxSessionMemory: 100 }))
  }

  control(method: string, fill: (writer: ProtoWriter) => void = () => undefined, options: CallOptions = {}): Promise<Buffer> {
    return callOnce(this.#http, `/moby.buildkit.v1.Control/${method}`, message(fill), options)
  }

  bridge(ref: string, method: string, fill: (writer: ProtoWriter) => void = () => undefined): Promise<Buffer> {
    return callOnce(this.#http, `/moby.buildkit.v1.frontend.LLBBridge/${method}`, message(fill), { metadata: { 'buildkit-controlapi-buildid': ref } })
  }

  call(path: string, bytes: Buffer, options: CallOptions = {}): Promise<Buffer> {
    return callOnce(this.#http, path, bytes, options)
  }

  /** Names of a build's steps that were told, until it ends. */
  async steps(ref: string): Promise<readonly string[]> {
    const call = openCall(this.#http, '/moby.buildkit.v1.Control/Status')
    await call.send(message((status) => status.string(1, ref)))
    call.end()
    const names = new Set<string>()
    for await (const response of call.receive()) for (const vertex of new ProtoMessage(response).messages(1)) names.add(vertex.string(3))
    return [...names]
  }

  /** Events of the build history. */
  async history(fill: (writer: ProtoWriter) => void): Promise<readonly ProtoMessage[]> {
    const call = openCall(this.#http, '/moby.buildkit.v1.Control/ListenBuildHistory')
    await call.send(message(fill))
    call.end()
    return (await Array.fromAsync(call.receive())).map((event) => new ProtoMessage(event))
  }

  [Symbol.dispose](): void {
    this.#http.destroy()
  }
}

export function message(fill: (writer: ProtoWriter) => void): Buffer {
  const writer = new ProtoWriter()
  fill(writer)
  return writer.finish()
}

/** A field of `map<string, string>`. */
export function writeMap(writer: ProtoWriter, field: number, entries: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(entries)) {
    writer.message(field, (entry) => {
      entry.string(1, key)
      entry.string(2, value)
    })
  }
}

/** What a session's engine asked for. */
export interface Transfer {
  readonly folder: string
  readonly follow: readonly string[]
}

const diffCopy = '/moby.filesync.v1.FileSync/DiffCopy'

/** Serves a session; dispose it to end it. `transfers` fills with what is asked for. */
export async function openSession(socketPath: string, id: string, folders: Readonly<Record<string, Folder>>): Promise<Disposable & { readonly transfers: readonly Transfer[]; readonly ended: Promise<void> }> {
  const socket = await hijacked(socketPath, '/session', { 'x-docker-expose-session-uuid': id, 'x-docker-expose-session-name': 'test', 'x-docker-expose-session-grpc-method': [diffCopy] })
  const transfers: Transfer[] = []
  const serve = async (exchange: GrpcExchange): Promise<void> => {
    const header = (name: string): readonly string[] => String(exchange.metadata[name] ?? '').split(', ').filter((each) => each !== '')
    const transfer = { folder: header('dir-name')[0] ?? '', follow: header('followpaths') }
    transfers.push(transfer)
    await sendFolder(exchange, selected(folders[transfer.folder] ?? {}, transfer.follow))
  }
  const ended = serveGrpc(socket, { methods: new Map([[diffCopy, serve]]) })
  return { transfers, ended, [Symbol.dispose]: () => void socket.destroy() }
}

function selected(folder: Folder, follow: readonly string[]): readonly (readonly [path: string, content: string])[] {
  const isMeant = (path: string): boolean => follow.length === 0 || follow.some((each) => path === each || path.startsWith(`${each}/`))
  return Object.entries(folder).filter(([path]) => isMeant(path))
}

async function sendFolder(exchange: GrpcExchange, files: readonly (readonly [path: string, content: string])[]): Promise<void> {
  const parents = [...new Set(files.flatMap(([path]) => path.split('/').slice(0, -1).map((_, index, parts) => parts.slice(0, index + 1).join('/'))))]
  const entries = [...parents.map((path) => ({ path, content: undefined })), ...files.map(([path, content]) => ({ path, content }))].toSorted((a, b) => (a.path < b.path ? -1 : 1))
  for (const { path, content } of entries) await exchange.send(encodePacket({ kind: 'stat', stat: statOf(path, content) }))
  await exchange.send(encodePacket({ kind: 'stat', stat: undefined }))
  for await (const received of exchange.receive()) {
    const packet = decodePacket(received)
    if (packet?.kind === 'request') {
      const { id } = packet
      await exchange.send(encodePacket({ kind: 'data', id, data: Buffer.from(entries[id]?.content ?? '') }))
      await exchange.send(encodePacket({ kind: 'data', id, data: Buffer.alloc(0) }))
    } else if (packet?.kind === 'finish') return exchange.send(encodePacket({ kind: 'finish' }))
  }
}

function statOf(path: string, content: string | undefined): FileStat {
  return { path, type: content === undefined ? 'directory' : 'file', mode: content === undefined ? 0o755 : 0o644, uid: 0, gid: 0, sizeBytes: Buffer.byteLength(content ?? ''), modifiedNs: 0n, linkName: '', major: 0, minor: 0, xattrs: [] }
}

export interface AskedBuild {
  readonly ref: string
  readonly dockerfile: string
  readonly context?: Folder
  readonly attributes?: Readonly<Record<string, string>>
  readonly name?: string
  /** Of the exporter, beside the name; `type` is another than the image store. */
  readonly exporter?: Readonly<Record<string, string>>
  /** Sees the frontend's result before it is chosen. */
  readonly look?: (result: ProtoMessage) => Promise<void>
}

/** As buildx builds: a Solve that waits, beside it the client's own frontend. */
export async function buildAsBuildx(client: BuildClient, socketPath: string, { ref, dockerfile, context = {}, attributes = {}, name = '', exporter: { type = 'moby', ...more } = {}, look }: AskedBuild): Promise<{ readonly facts: ReadonlyMap<string, string>; readonly transfers: readonly Transfer[] }> {
  using session = await openSession(socketPath, `s-${ref}`, { dockerfile: { Dockerfile: dockerfile }, context })
  const solving = client.control('Solve', (solve) => {
    solve.string(1, ref)
    solve.string(5, `s-${ref}`)
    solve.message(13, (exporter) => {
      exporter.string(1, type)
      writeMap(exporter, 2, { name, ...more })
    })
  })
  const frontend = async (): Promise<void> => {
    await client.bridge(ref, 'Ping')
    let failure: unknown
    let result: Buffer = Buffer.alloc(0)
    try {
      const solved = await client.bridge(ref, 'Solve', (solve) => {
        solve.string(2, 'dockerfile.v0')
        writeMap(solve, 3, { filename: 'Dockerfile', ...attributes })
      })
      result = new ProtoMessage(solved).bytes(3)
      await look?.(new ProtoMessage(result))
    } catch (error) {
      failure = error
    }
    await client.bridge(ref, 'Return', (returned) => {
      if (failure === undefined) returned.bytes(1, result)
      else {
        returned.message(2, (status) => {
          status.varint(1, 2)
          status.string(2, failure instanceof Error ? failure.message : '')
        })
      }
    })
  }
  const [answer] = await Promise.all([solving, frontend()])
  return { facts: new ProtoMessage(answer).stringMap(1), transfers: session.transfers }
}
