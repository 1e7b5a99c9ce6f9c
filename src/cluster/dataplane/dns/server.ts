/**
 * The cluster's DNS server, over UDP and TCP on the addresses given: answers for the cluster's zone come from the caches,
 * live for 5 s, and everything else goes to the configured resolvers; without any it is NXDOMAIN at once, so that programs
 * in a cluster without the Internet do not wait.
 */
import type { RemoteInfo, Socket as UdpSocket } from 'node:dgram'
import { createSocket } from 'node:dgram'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import type { Clock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { Service } from '../../api/core/v1/service.ts'
import type { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import type { Informer } from '../../client/informer.ts'
import type { Forward } from './forward.ts'
import { forwarder } from './forward.ts'
import type { Query, Reply } from './wire.ts'
import { decodeQuery, encodeRefusal, encodeReply } from './wire.ts'
import type { Zone, ZoneAnswer } from './zone.ts'
import { clusterZone, soaOf } from './zone.ts'

export interface ClusterDnsOptions {
  /** The caches that the service proxy fills (`ServiceProxy.services`, `.slices`). */
  readonly services: Informer<Service>
  readonly slices: Informer<EndpointSlice>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** `cluster.local` */
  readonly domain: string
  /** Where to listen: the DNS service's address, which the service proxy has put on its interface. Port 53 unless told otherwise. */
  readonly addresses: readonly string[]
  readonly port?: number
  /** Reverse names of these ranges are answered here alone: service and pod ranges. */
  readonly reverseCidrs: readonly string[]
  /** Resolvers for all other names. */
  readonly upstreams: readonly string[]
}

export interface ClusterDns extends AsyncDisposable {
  readonly port: number
  close(): Promise<void>
}

const ttlSeconds = 5
const plainUdpBytes = 512
const mostUdpBytes = 1232
const mostTcpBytes = 65_535
const mostTcpConnections = 250
const idleMs = 10_000
const mostCnames = 8

export async function startClusterDns(options: ClusterDnsOptions): Promise<ClusterDns> {
  const server = new DnsServer(options)
  try {
    await server.listen()
  } catch (error) {
    await server.close()
    throw error
  }
  return server
}

class DnsServer implements ClusterDns {
  readonly #options: ClusterDnsOptions
  readonly #zone: Zone
  readonly #forward: Forward | undefined
  readonly #udp: UdpSocket[] = []
  readonly #tcp: Server[] = []
  readonly #connections = new Set<Socket>()
  port = 0

  constructor(options: ClusterDnsOptions) {
    this.#options = options
    this.#zone = clusterZone(options)
    this.#forward = forwarder(options)
  }

  async listen(): Promise<void> {
    const { addresses, port = 53 } = this.#options
    this.port = port
    for (const address of addresses) {
      // TCP first: with port 0 it picks the number that UDP then takes too.
      const tcp = createServer((socket) => this.#serveTcp(socket))
      this.#tcp.push(tcp)
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject)
        tcp.listen({ host: address, port: this.port }, resolve)
      })
      this.port = portOf(tcp.address(), this.port)
      const udp = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4' })
      this.#udp.push(udp)
      udp.on('message', (message, from) => void this.#serveUdp(udp, message, from))
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject)
        udp.bind(this.port, address, resolve)
      })
      udp.on('error', (error) => this.#options.log.warn({ err: error }, 'the DNS socket reported an error'))
    }
  }

  async #serveUdp(socket: UdpSocket, message: Buffer, from: RemoteInfo): Promise<void> {
    const answer = await this.#handle(message, 'udp')
    if (answer === undefined) return
    try {
      socket.send(answer, from.port, from.address)
    } catch (error) {
      this.#options.log.debug({ err: error }, 'a DNS answer could not be sent')
    }
  }

  #serveTcp(socket: Socket): void {
    if (this.#connections.size >= mostTcpConnections) return void socket.destroy()
    this.#connections.add(socket)
    let timer = this.#options.clock.after(idleMs, () => socket.destroy(), { background: true })
    socket.on('close', () => {
      timer.cancel()
      this.#connections.delete(socket)
    })
    socket.on('error', () => socket.destroy())
    let received = Buffer.alloc(0)
    let working = Promise.resolve()
    socket.on('data', (chunk: Buffer) => {
      timer.cancel()
      timer = this.#options.clock.after(idleMs, () => socket.destroy(), { background: true })
      received = Buffer.concat([received, chunk])
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const message = Buffer.from(received.subarray(2, 2 + received.readUInt16BE(0)))
        received = received.subarray(2 + message.length)
        socket.pause()
        working = working.then(() => this.#answerTcp(socket, message))
      }
    })
  }

  async #answerTcp(socket: Socket, message: Buffer): Promise<void> {
    const answer = await this.#handle(message, 'tcp')
    if (answer !== undefined && socket.writable) {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(answer.length)
      socket.write(Buffer.concat([length, answer]))
    }
    socket.resume()
  }

  /** Never rejects: a question that cannot be answered is answered so. */
  async #handle(message: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const query = decodeQuery(message)
    if (query === undefined) return undefined
    if ('refuse' in query) return encodeRefusal(query.id, query.refuse)
    const maxBytes = transport === 'tcp' ? mostTcpBytes : Math.min(mostUdpBytes, Math.max(plainUdpBytes, query.udpBytes ?? plainUdpBytes))
    const own = this.#zone.answer(query.name.toLowerCase().replace(/\.$/, ''), query.type)
    if (own !== undefined) return encodeReply(query, this.#reply(query, own), maxBytes)
    if (this.#forward === undefined) return encodeReply(query, { code: 'NXDOMAIN', authoritative: false, answers: [], authorities: [], additionals: [], ttlSeconds }, maxBytes)
    try {
      return await this.#forward(message, transport)
    } catch (error) {
      if (!isFault(error)) this.#options.log.warn({ err: error }, 'forwarding a DNS question failed')
      return encodeReply(query, { code: 'SERVFAIL', authoritative: false, answers: [], authorities: [], additionals: [], ttlSeconds }, maxBytes)
    }
  }

  #reply(query: Query, own: ZoneAnswer): Reply {
    const answers = [...own.answers]
    // An external name that points into the cluster is followed here.
    for (let last = answers.at(-1); last?.type === 'CNAME' && query.type !== 'CNAME' && answers.length < mostCnames; ) {
      const next = this.#zone.answer(last.target, query.type)
      if (next === undefined || next.answers.length === 0) break
      answers.push(...next.answers)
      last = answers.at(-1)
    }
    // RFC 1035 asks for nothing, but askers that take the first address would all take the same.
    const shuffled = answers.every(({ type }) => type === 'A') ? this.#rotate(answers) : answers
    const authorities = answers.length === 0 ? [soaOf(this.#zone.domain)] : []
    return { code: own.code, authoritative: true, answers: shuffled, authorities, additionals: own.additionals, ttlSeconds }
  }

  #turn = 0

  #rotate<T>(list: readonly T[]): T[] {
    this.#turn += 1
    const at = this.#turn % Math.max(1, list.length)
    return [...list.slice(at), ...list.slice(0, at)]
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    await Promise.all(this.#tcp.map((server) => new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve()))))
    await Promise.all(this.#udp.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function portOf(address: AddressInfo | string | null, fallback: number): number {
  return typeof address === 'object' && address !== null ? address.port : fallback
}
