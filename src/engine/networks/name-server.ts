/**
 * DNS for one container (RFC 1035), on sockets that stand in the container's own network namespace but belong to us: no packet
 * leaves it, whatever networks the container has, and whoever asks is known. A rule in the namespace redirects 127.0.0.11:53
 * here. Questions that are not ours go to the resolvers of the host, from the host.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED, TRUNCATED_RESPONSE, type Answer, type DecodedPacket } from 'dns-packet'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { Gate } from '#base/task.ts'
import { replyTo, type NamedEndpoint } from './names.ts'

export interface NameServerOptions {
  /** Bound to one port; ours from now on. */
  readonly sockets: { readonly udp: number; readonly tcp: number }
  /** What the container may see. */
  readonly visible: () => readonly NamedEndpoint[]
  /** Whom to ask for other names; nobody from an internal network. */
  readonly upstreams: () => Promise<readonly string[]>
  readonly clock: Clock
  readonly logger: Logger
}

const upstreamTimeoutMs = 2000
const maxUdpBytes = 512
const maxTcpBytes = 65_535
const mostTcpConnections = 64
const serverFailure = 2

export class NameServer implements AsyncDisposable {
  readonly #options: NameServerOptions
  readonly #udp: UdpSocket
  readonly #tcp: Server
  readonly #connections = new Set<Socket>()
  readonly #forwards = new Gate(16, 128)
  #turn = 0
  #isClosed = false

  private constructor(options: NameServerOptions, udp: UdpSocket, tcp: Server) {
    this.#options = options
    this.#udp = udp
    this.#tcp = tcp
    udp.on('message', (message, from) => this.#kept(this.#overUdp(message, from)))
    tcp.on('connection', (socket) => this.#overTcp(socket))
    udp.on('error', (error) => options.logger.warn({ error: String(error) }, 'DNS socket'))
  }

  static async open(options: NameServerOptions): Promise<NameServer> {
    const [udp, tcp] = await Promise.all([adoptUdp(options.sockets.udp), adoptTcp(options.sockets.tcp)])
    return new NameServer(options, udp, tcp)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const socket of this.#connections) socket.destroy()
    await Promise.all([new Promise<void>((resolve) => this.#udp.close(resolve)), new Promise<void>((resolve) => this.#tcp.close(() => resolve()))])
  }

  async #overUdp(message: Buffer, { address, port }: { readonly address: string; readonly port: number }): Promise<void> {
    const reply = await this.#reply(message, askOverUdp)
    // The container, and this socket with it, may be gone by now.
    if (reply === undefined || this.#isClosed) return
    const wanted = reply.length > udpLimit(message) ? truncated(reply) : reply
    this.#udp.send(wanted, port, address)
  }

  #overTcp(socket: Socket): void {
    if (this.#connections.size >= mostTcpConnections) {
      socket.destroy()
      return
    }
    this.#connections.add(socket)
    socket.unref()
    let pending = Buffer.alloc(0)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0)
        const message = pending.subarray(2, end)
        pending = pending.subarray(end)
        this.#kept(this.#answerOverTcp(socket, message))
      }
      if (pending.length > maxTcpBytes + 2) socket.destroy()
    })
  }

  async #answerOverTcp(socket: Socket, message: Buffer): Promise<void> {
    const reply = await this.#reply(message, askOverTcp)
    if (reply === undefined || reply.length > maxTcpBytes || socket.destroyed) return
    socket.write(withLength(reply))
  }

  /** A question that cannot be answered ends neither us nor the others. */
  #kept(answering: Promise<void>): void {
    answering.catch((error: unknown) => this.#options.logger.debug({ error: String(error) }, 'a DNS question could not be answered'))
  }

  /** Undefined for what deserves no answer: no question. */
  async #reply(message: Buffer, ask: AskUpstream): Promise<Buffer | undefined> {
    const query = decoded(message)
    const question = query?.questions?.[0]
    if (query === undefined || question === undefined || query.type !== 'query') return undefined
    this.#turn += 1
    const reply = replyTo(question, this.#options.visible(), this.#turn)
    if (reply.kind === 'answers') return answerTo(query, reply.answers)
    return (await this.#forward(message, ask)) ?? failureFor(query)
  }

  async #forward(message: Buffer, ask: AskUpstream): Promise<Buffer | undefined> {
    const upstreams = await this.#options.upstreams()
    for (const upstream of upstreams) {
      try {
        return await this.#forwards.run(() => ask(upstream, message, this.#options.clock))
      } catch (error) {
        this.#options.logger.debug({ upstream, error: String(error) }, 'a resolver of the host did not answer')
      }
    }
    return undefined
  }
}

/** Who asked over TCP wants more than UDP carries. */
type AskUpstream = (upstream: string, message: Buffer, clock: Clock) => Promise<Buffer>

function decoded(message: Buffer): DecodedPacket | undefined {
  try {
    return decode(message)
  } catch (error) {
    // Whatever a container sends must not end us; what cannot be read gets no answer.
    if (error instanceof Error) return undefined
    throw error
  }
}

function answerTo(query: DecodedPacket, answers: readonly Answer[]): Buffer {
  const flags = RECURSION_AVAILABLE | ((query.flags ?? 0) & RECURSION_DESIRED)
  return encode({ type: 'response', id: query.id, flags, questions: query.questions, answers: [...answers] })
}

function failureFor(query: DecodedPacket): Buffer {
  const flags = RECURSION_AVAILABLE | ((query.flags ?? 0) & RECURSION_DESIRED) | serverFailure
  return encode({ type: 'response', id: query.id, flags, questions: query.questions })
}

/** What the client takes over UDP: 512 bytes, or what its OPT record says (RFC 6891). */
function udpLimit(message: Buffer): number {
  const option = decoded(message)?.additionals?.find(({ type }) => type === 'OPT')
  return option?.type === 'OPT' && option.udpPayloadSize !== undefined ? Math.max(maxUdpBytes, option.udpPayloadSize) : maxUdpBytes
}

/** Header and question with the TC bit: the client asks again over TCP. */
function truncated(reply: Buffer): Buffer {
  const packet = decode(reply)
  return encode({ type: 'response', id: packet.id, flags: (packet.flags ?? 0) | TRUNCATED_RESPONSE, questions: packet.questions })
}

function askOverUdp(upstream: string, message: Buffer, clock: Clock): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(upstream.includes(':') ? 'udp6' : 'udp4')
    const timer = clock.after(upstreamTimeoutMs, () => finish(() => reject(noAnswer(upstream))), { background: true })
    const finish = (then: () => void): void => {
      timer.cancel()
      socket.close()
      then()
    }
    socket.once('error', (error) => finish(() => reject(error)))
    socket.on('message', (reply) => {
      // Only the answer to this very question: the id is the client's own.
      if (reply.length >= 2 && reply.readUInt16BE(0) === message.readUInt16BE(0)) finish(() => resolve(reply))
    })
    socket.once('connect', () => socket.send(message))
    socket.connect(53, upstream)
  })
}

function askOverTcp(upstream: string, message: Buffer, clock: Clock): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: upstream, port: 53 })
    const timer = clock.after(upstreamTimeoutMs, () => socket.destroy(noAnswer(upstream)), { background: true })
    let received = Buffer.alloc(0)
    socket.on('connect', () => socket.write(withLength(message)))
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      resolve(received.subarray(2, 2 + received.readUInt16BE(0)))
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      timer.cancel()
      reject(new Fault('unavailable', `${upstream} closed the connection`))
    })
  })
}

function noAnswer(upstream: string): Fault {
  return new Fault('timeout', `${upstream} did not answer within ${upstreamTimeoutMs} ms`)
}

function withLength(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}

function adoptUdp(fd: number): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    socket.once('error', reject)
    socket.bind({ fd, exclusive: true }, () => {
      socket.off('error', reject)
      socket.unref()
      resolve(socket)
    })
  })
}

function adoptTcp(fd: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ fd, exclusive: true }, () => {
      server.off('error', reject)
      server.unref()
      resolve(server)
    })
  })
}
