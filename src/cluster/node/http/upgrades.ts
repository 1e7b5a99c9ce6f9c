/**
 * Requests that become streams: exec and attach over WebSocket channels or SPDY/3.1, port-forward over SPDY/3.1, alone or
 * inside a WebSocket. What can be checked is checked before the upgrade, so that a refusal is a plain HTTP answer.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { createWebSocketStream, WebSocketServer } from 'ws'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import { parseTarget, RouteTable } from '#base/http.ts'
import type { Logger } from '#base/log.ts'
import type { ContainerStatus, PodRuntime, Session } from '../../contract/runtime.ts'
import type { NodeAgent } from '../agent/agent.ts'
import { channelProtocols, serveSession } from './channels.ts'
import type { CommandStreams } from './spdy/sessions.ts'
import { serveSpdyCommand, serveSpdyPorts } from './spdy/sessions.ts'

export interface UpgradesOptions {
  readonly agent: NodeAgent
  readonly runtime: PodRuntime
  readonly clock: Clock
  readonly log: Logger
  readonly runningContainer: (params: Params) => Promise<ContainerStatus>
}

type Params = Readonly<Record<string, string>>

interface Command {
  readonly streams: CommandStreams
  readonly open: () => Promise<Session>
}

const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io'
const spdyCommandProtocol = 'v4.channel.k8s.io'
const spdyPortProtocol = 'portforward.k8s.io'

export class Upgrades {
  readonly #options: UpgradesOptions
  readonly #sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: 32 * 1024 * 1024,
    handleProtocols: (offered) => [...channelProtocols, tunnelProtocol].find((protocol) => offered.has(protocol)) ?? false,
  })
  readonly #routes = new RouteTable<'exec' | 'attach' | 'portForward'>()

  constructor(options: UpgradesOptions) {
    this.#options = options
    for (const verb of ['exec', 'attach'] as const) this.#routes.add('GET', `/${verb}/:namespace/:pod/:container`, verb).add('GET', `/${verb}/:namespace/:pod/:uid/:container`, verb)
    this.#routes.add('GET', '/portForward/:namespace/:pod', 'portForward').add('GET', '/portForward/:namespace/:pod/:uid', 'portForward')
  }

  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { path, query } = parseTarget(request.url ?? '/')
    const match = this.#routes.find('GET', path)
    if (match.kind !== 'found') throw new Fault('notFound', `404 page not found: ${path}`)
    const { handler: verb, params } = match
    const accepting = verb === 'portForward' ? this.#acceptPorts(request, { socket, head, params }) : this.#acceptCommand(request, { socket, head, params, query, verb })
    accepting.catch((error: unknown) => refuseUpgrade(socket, error))
  }

  async #acceptCommand(request: IncomingMessage, at: { readonly socket: Duplex; readonly head: Buffer; readonly params: Params; readonly query: URLSearchParams; readonly verb: 'exec' | 'attach' }): Promise<void> {
    const { socket, head } = at
    const offered = offeredProtocols(request)
    const command = await this.#command(at)
    if (isUpgradeTo(request, 'websocket') && channelProtocols.some((protocol) => offered.includes(protocol))) {
      this.#sockets.handleUpgrade(request, socket, head, (accepted) => void serveSession(accepted, command.open))
      return
    }
    if (!isUpgradeTo(request, 'spdy/3.1') || !offered.includes(spdyCommandProtocol)) {
      throw new Fault('invalidArgument', `unable to upgrade: WebSocket with ${channelProtocols.join(' or ')}, or SPDY/3.1 with ${spdyCommandProtocol}, is served`)
    }
    switchToSpdy(socket, spdyCommandProtocol)
    if (head.length > 0) socket.unshift(head)
    await serveSpdyCommand(socket, command.streams, { clock: this.#options.clock, open: command.open })
  }

  async #command({ params, query, verb }: { readonly params: Params; readonly query: URLSearchParams; readonly verb: 'exec' | 'attach' }): Promise<Command> {
    const { runtime, runningContainer } = this.#options
    const container = await runningContainer(params)
    const flag = (...names: string[]): boolean => names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''))
    const tty = flag('tty')
    const streams = { stdin: flag('input', 'stdin'), stdout: flag('output', 'stdout'), stderr: flag('error', 'stderr') && !tty, tty }
    if (!streams.stdin && !streams.stdout && !streams.stderr) throw new Fault('invalidArgument', 'you must specify at least 1 of stdin, stdout, stderr')
    if (verb === 'attach') return { streams, open: () => runtime.attach(container.id, streams) }
    const command = query.getAll('command')
    if (command.length === 0) throw new Fault('invalidArgument', 'you must specify at least 1 command for the container')
    return { streams, open: () => runtime.exec(container.id, { command, ...streams }) }
  }

  async #acceptPorts(request: IncomingMessage, { socket, head, params }: { readonly socket: Duplex; readonly head: Buffer; readonly params: Params }): Promise<void> {
    const { agent, runtime, log } = this.#options
    const { namespace = '', pod = '', uid } = params
    const sandbox = agent.worker(namespace, pod, uid)?.state.sandbox
    if (sandbox?.id === undefined || sandbox.phase !== 'ready') throw new Fault('notFound', `pod "${pod}" in namespace "${namespace}" is not running on this node`)
    const { id } = sandbox
    const serve = (transport: Duplex): void => {
      serveSpdyPorts(transport, (port) => runtime.dial(id, port)).catch((error: unknown) => log.info({ err: error, pod }, 'a port-forward broke off'))
    }
    const offered = offeredProtocols(request)
    if (isUpgradeTo(request, 'websocket') && offered.includes(tunnelProtocol)) {
      this.#sockets.handleUpgrade(request, socket, head, (accepted: WebSocket) => serve(createWebSocketStream(accepted)))
      return
    }
    if (!isUpgradeTo(request, 'spdy/3.1') || !offered.includes(spdyPortProtocol)) {
      throw new Fault('invalidArgument', `unable to upgrade: SPDY/3.1 with ${spdyPortProtocol}, or WebSocket with ${tunnelProtocol}, is served`)
    }
    switchToSpdy(socket, spdyPortProtocol)
    if (head.length > 0) socket.unshift(head)
    serve(socket)
  }
}

function isUpgradeTo(request: IncomingMessage, protocol: string): boolean {
  return request.headers.upgrade?.toLowerCase() === protocol
}

function offeredProtocols({ headers }: IncomingMessage): string[] {
  return [headers['sec-websocket-protocol'], headers['x-stream-protocol-version']].flat().flatMap((each) => each?.split(',') ?? []).map((each) => each.trim())
}

function switchToSpdy(socket: Duplex, protocol: string): void {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\nx-stream-protocol-version: ${protocol}\r\n\r\n`)
}

export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const { httpStatus, message } = asFault(error)
  const body = Buffer.from(message)
  socket.end(`HTTP/1.1 ${httpStatus} Refused\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${message}`)
}
