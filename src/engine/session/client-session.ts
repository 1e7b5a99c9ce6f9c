/**
 * One client's session (moby/buildkit `session/`): the client serves gRPC on a connection that it has opened, and the engine calls it for
 * what a build needs of the client's machine: files, credentials, secrets, keys; and for a place to put its result.
 */
import { connect, type ClientHttp2Session } from 'node:http2'
import type { Duplex } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { callOnce, openCall, type CallOptions, type GrpcCall } from '#base/grpc.ts'
import { protoFields, ProtoWriter } from '#base/proto-wire.ts'
import type { IsKept, LentBlobs } from '../contract/builds.ts'
import type { RegistryAuth } from '../contract/images.ts'
import type { BuiltRoot } from '../http/backend.ts'
import { clientBlobs } from './client-blobs.ts'
import { receiveTar } from './receive-files.ts'
import { sendFiles } from './send-files.ts'

export interface SessionOffer {
  readonly id: string
  /** Paths of the gRPC methods that the client serves, e.g. `/moby.filesync.v1.FileSync/DiffCopy`. */
  readonly methods: readonly string[]
  /** By which the client knows its folder in each of its sessions; empty: it has none. */
  readonly sharedKey: string
}

/** Bytes that may be under way to us. */
const windowBytes = 4 << 20

const fileSend = '/moby.filesync.v1.FileSend/DiffCopy'

export interface FileSelection {
  /** As the client calls the folder: `context`, `dockerfile`, or the name of a named context. */
  readonly folder: string
  /** Patterns of `.dockerignore`'s kind. */
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  /** Only these paths, which may hold wildcards, and what their symlinks lead to. */
  readonly follow?: readonly string[]
}

/** Which of a build's outputs is meant, as the client counts them; absent: the only one. */
export interface OutputTarget {
  readonly exporter?: number
  /** The client's folder keeps nothing else. */
  readonly replace?: boolean
}

export class Session {
  /** The client has begun to serve. */
  readonly ready: Promise<void>
  readonly ended: Promise<void>
  readonly #http: ClientHttp2Session
  readonly #offer: SessionOffer

  constructor(socket: Duplex, offer: SessionOffer) {
    this.#offer = offer
    this.#http = connect('http://session', { createConnection: () => socket, settings: { enablePush: false, initialWindowSize: windowBytes } })
    this.#http.on('connect', () => this.#http.setLocalWindowSize(windowBytes))
    this.ready = new Promise((done) => this.#http.once('remoteSettings', () => done()))
    this.ended = new Promise((done) => {
      this.#http.once('close', () => done())
      socket.once('close', () => this.#http.destroy())
    })
    // Each call is told on its own.
    this.#http.on('error', () => undefined)
  }

  close(): void {
    this.#http.destroy()
  }

  get sharedKey(): string {
    return this.#offer.sharedKey
  }

  /** The selected files as a tar, without the bytes of those that are kept. */
  async *files(selection: FileSelection, signal: AbortSignal, isKept?: IsKept): AsyncGenerator<Buffer> {
    const metadata = encoded({ 'dir-name': [selection.folder], 'include-patterns': selection.include ?? [], 'exclude-patterns': selection.exclude ?? [], followpaths: selection.follow ?? [] })
    yield* receiveTar(this.#call('/moby.filesync.v1.FileSync/DiffCopy', { metadata, signal }), isKept)
  }

  /** The body of an upload that the client names by a URL (`http://buildkit-session/ID`). */
  async *upload(url: URL, signal: AbortSignal): AsyncGenerator<Buffer> {
    const call = this.#call('/moby.upload.v1.Upload/Pull', { metadata: { urlpath: url.pathname, urlhost: url.host }, signal })
    call.end()
    for await (const message of call.receive()) for (const { number, bytes } of protoFields(message)) if (number === 1) yield bytes
  }

  /** Blobs of an OCI layout of the client's, by the name that it has for it. */
  blobs(store: string): LentBlobs {
    return clientBlobs((method, options) => this.#call(method, options), store)
  }

  /** What was built, into the client's folder. */
  async sendFiles(files: Awaited<ReturnType<BuiltRoot['files']>>, signal: AbortSignal, target: OutputTarget = {}): Promise<void> {
    await sendFiles(this.#call(fileSend, { signal, metadata: targetMetadata(target) }), files)
  }

  /** An archive into the client's file. */
  async sendArchive(archive: AsyncIterable<Uint8Array>, signal: AbortSignal, target: OutputTarget = {}): Promise<void> {
    const call = this.#call(fileSend, { signal, metadata: targetMetadata(target) })
    for await (const chunk of archive) {
      const message = new ProtoWriter()
      message.bytes(1, Buffer.from(chunk))
      await call.send(message.finish())
    }
    call.end()
    // Over when the client has written all of it; it says nothing but that.
    for await (const message of call.receive()) if (message.length > 0) throw new Fault('internal', 'the client answered an archive with a message')
  }

  /** Undefined: the client has none for that registry. */
  async credentials(host: string, signal: AbortSignal): Promise<RegistryAuth | undefined> {
    const method = '/moby.filesync.v1.Auth/Credentials'
    if (!this.#offer.methods.includes(method)) return undefined
    const request = new ProtoWriter()
    request.string(1, host)
    const answer = new Map<number, string>()
    for (const { number, bytes } of protoFields(await callOnce(this.#http, method, request.finish(), { signal }))) answer.set(number, bytes.toString('utf8'))
    const [username = '', secret = ''] = [answer.get(1), answer.get(2)]
    if (secret === '') return undefined
    // Without a name the secret is a token (docker-credential-helpers).
    return username === '' ? { identityToken: secret } : { username, password: secret }
  }

  /** Undefined: the client has no secret of that id. */
  async secret(id: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const method = '/moby.buildkit.secrets.v1.Secrets/GetSecret'
    if (!this.#offer.methods.includes(method)) return undefined
    const request = new ProtoWriter()
    request.string(1, id)
    try {
      const answer = await callOnce(this.#http, method, request.finish(), { signal })
      return [...protoFields(answer)].find(({ number }) => number === 1)?.bytes ?? Buffer.alloc(0)
    } catch (error) {
      if (isFault(error, 'notFound')) return undefined
      throw error
    }
  }

  /** Whether the client forwards its agent of that id. */
  async hasAgent(id: string, signal: AbortSignal): Promise<boolean> {
    const method = '/moby.sshforward.v1.SSH/CheckAgent'
    if (!this.#offer.methods.includes(method)) return false
    const request = new ProtoWriter()
    request.string(1, id)
    try {
      await callOnce(this.#http, method, request.finish(), { signal })
      return true
    } catch (error) {
      if (isFault(error, 'internal') || isFault(error, 'notFound')) return false
      throw error
    }
  }

  /** One connection to the client's agent; over when both sides have ended it. `connection` may be half open. */
  async forwardAgent(id: string, connection: Duplex, signal: AbortSignal): Promise<void> {
    const call = this.#call('/moby.sshforward.v1.SSH/ForwardAgent', { metadata: { 'buildkit.ssh.id': id }, signal })
    const toClient = async (): Promise<void> => {
      for await (const chunk of connection) {
        const message = new ProtoWriter()
        message.bytes(1, Buffer.from(chunk))
        await call.send(message.finish())
      }
      call.end()
    }
    const fromClient = async (): Promise<void> => {
      for await (const message of call.receive()) for (const { number, bytes } of protoFields(message)) if (number === 1) connection.write(bytes)
      connection.end()
    }
    try {
      await Promise.all([toClient(), fromClient()])
    } finally {
      connection.destroy()
      call.cancel()
    }
  }

  #call(method: string, options: CallOptions): GrpcCall {
    if (!this.#offer.methods.includes(method)) throw new Fault('invalidArgument', `the client's session does not offer ${method}`)
    return openCall(this.#http, method, options)
  }
}

function targetMetadata({ exporter, replace = false }: OutputTarget): Readonly<Record<string, string>> {
  return { ...(exporter === undefined ? {} : { 'buildkit-attachable-exporter-id': String(exporter) }), ...(replace ? { 'buildkit-exporter-multi-platform': '1' } : {}) }
}

/** Headers hold ASCII only: other values are sent as in a URL, and say so. */
function encoded(metadata: Readonly<Record<string, readonly string[]>>): Readonly<Record<string, readonly string[]>> {
  const headers: Record<string, readonly string[]> = {}
  for (const [name, values] of Object.entries(metadata)) {
    if (values.length === 0) continue
    const isPlain = values.every((value) => /^[\x20-\x7e]*$/.test(value))
    headers[name] = isPlain ? values : values.map((value) => encodeURIComponent(value))
    if (!isPlain) headers[`${name}-encoded`] = ['1']
  }
  return headers
}
