/**
 * DNS for the containers of one network (RFC 1035), on the network's gateway address and a port of the kernel's choice. Containers
 * ask 127.0.0.11, which rules in their own namespace redirect here. Questions that are not ours go to the host's resolvers.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { AUTHORITATIVE_ANSWER, decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED, TRUNCATED_RESPONSE, type Answer, type DecodedPacket } from 'dns-packet'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { Gate } from '#base/task.ts'
import { replyTo, type NamedEndpoint } from './names.ts'

export interface NameServerOptions {
  /** The gateway address, which is the host's end of the network. */
  readonly address: string
  /** What the container behind an address may see. Undefined: nobody of ours asks. */
  readonly visible: (address: string) => readonly NamedEndpoint[] | undefined
  /** The host's resolvers; none for an internal network. */
  readonly upstreams: () => Promise<readonly string[]>
  readonly clock: Clock
  readonly logger: Logger
}

const upstreamTimeoutMs = 2000
const maxUdpBytes = 512
const maxTcpBytes = 65_535
const mostTcpConnections = 250
const serverFailure = 2

export class NameServer implements AsyncDisposable {
  readonly port: number
  readonly #options: NameServerOptions
  readonly #udp: UdpSocket
  readonly #tcp: Server
  readonly #connections = new Set<Socket>()
  readonly #forwards = new Gate(64, 256)
  #turn = 0

  private constructor(options: NameServerOptions, udp: UdpSocket, tcp: Server) {
    this.#options = options
    this.#udp = udp
    this.#tcp = tcp
    this.port = udp.address().port
    udp.on('message', (message, from) => this.#kept(this.#overUdp(message, from.address, from.port)))
    tcp.on('connection', (socket) => this.#overTcp(socket))
    udp.on('error', (error) => options.logger.warn({ error: String(error) }, 'DNS socket'))
  }

  static async open(options: NameServerOptions): Promise<NameServer> {
    for (let attempt = 0; ; attempt += 1) {
      const udp = await bindUdp(options.address)
      try {
        return new NameServer(options, udp, await listenTcp(options.address, udp.address().port))
      } catch (error) {
        udp.close()
        // The port that UDP got may be taken for TCP.
        if (attempt === 9) throw error
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections) socket.destroy()
    await Promise.all([new Promise<void>((resolve) => this.#udp.close(resolve)), new Promise<void>((resolve) => this.#tcp.close(() => resolve()))])
  }

  async #overUdp(message: Buffer, address: string, port: number): Promise<void> {
    const reply = await this.#reply(message, address)
    if (reply === undefined) return
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
    const reply = await this.#reply(message, socket.remoteAddress ?? '')
    if (reply === undefined || reply.length > maxTcpBytes || socket.destroyed) return
    const length = Buffer.alloc(2)
    length.writeUInt16BE(reply.length)
    socket.write(Buffer.concat([length, reply]))
  }

  /** A question that cannot be answered ends neither us nor the others. */
  #kept(answering: Promise<void>): void {
    answering.catch((error: unknown) => this.#options.logger.debug({ error: String(error) }, 'a DNS question could not be answered'))
  }

  /** Undefined for what deserves no answer: no question, or nobody we know. */
  async #reply(message: Buffer, address: string): Promise<Buffer | undefined> {
    const query = decoded(message)
    const question = query?.questions?.[0]
    const visible = this.#options.visible(address)
    if (query === undefined || question === undefined || query.type !== 'query' || visible === undefined) return undefined
    this.#turn += 1
    const reply = replyTo(question, visible, this.#turn)
    if (reply.kind === 'answers') return answerTo(query, reply.answers)
    return (await this.#forward(message)) ?? failureFor(query)
  }

  async #forward(message: Buffer): Promise<Buffer | undefined> {
    const upstreams = await this.#options.upstreams()
    for (const upstream of upstreams) {
      try {
        return await this.#forwards.run(() => askUpstream(upstream, message, this.#options.clock))
      } catch (error) {
        this.#options.logger.debug({ upstream, error: String(error) }, 'a resolver of the host did not answer')
      }
    }
    return undefined
  }
}

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
  const flags = AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | ((query.flags ?? 0) & RECURSION_DESIRED)
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

function askUpstream(upstream: string, message: Buffer, clock: Clock): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(upstream.includes(':') ? 'udp6' : 'udp4')
    const timer = clock.after(upstreamTimeoutMs, () => finish(() => reject(new Fault('timeout', `${upstream} did not answer within ${upstreamTimeoutMs} ms`))), { background: true })
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

function bindUdp(address: string): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    socket.once('error', reject)
    socket.bind({ address, port: 0 }, () => {
      socket.off('error', reject)
      socket.unref()
      resolve(socket)
    })
  })
}

function listenTcp(host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      server.unref()
      resolve(server)
    })
  })
}
