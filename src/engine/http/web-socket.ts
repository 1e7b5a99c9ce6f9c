/**
 * `GET /containers/{id}/attach/ws` (RFC 6455): the same session as a hijacked attach, its bytes in messages instead of frames; the two
 * outputs are not told apart. Clients up to 1.27 are sent text messages, later ones binary.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { StreamSession } from '../contract/containers.ts'
import type { Typed } from './detach-keys.ts'
import type { HijackTarget } from './streams.ts'

/** A client's message may be a pasted file, but not a disk. */
const largestMessageBytes = 16 << 20
/** What waits for a slow reader before the container's output is held back. */
const bufferedBytes = 1 << 20

export interface SocketOptions {
  readonly log: Logger
  readonly binary: boolean
  /** Bytes that make the client leave; only looked for with a terminal. */
  readonly filter: ((typed: Buffer) => Typed) | undefined
}

/** Answers the handshake. A request that is none is refused before anything is attached. */
export async function acceptWebSocket({ req, socket, head }: HijackTarget): Promise<WebSocket> {
  if (req.headers.upgrade?.toLowerCase() !== 'websocket' || req.headers['sec-websocket-key'] === undefined) throw new Fault('invalidArgument', 'bad handshake: expected an upgrade to websocket (RFC 6455)')
  // Few clients ask for this: who does not, does not pay for it.
  const { WebSocketServer } = await import('ws')
  const server = new WebSocketServer({ noServer: true, maxPayload: largestMessageBytes, clientTracking: false, perMessageDeflate: false })
  return await new Promise((resolve, reject) => {
    const gone = (): void => reject(new Fault('canceled', 'the client went away during the handshake'))
    socket.once('close', gone)
    server.handleUpgrade(req, socket, head, (client) => {
      socket.off('close', gone)
      resolve(client)
    })
  })
}

/** Carries bytes both ways until the output ends or the client goes. */
export async function serveWebSocket(client: WebSocket, session: StreamSession, options: SocketOptions): Promise<void> {
  const { log } = options
  const gone = new Promise<void>((resolve) => client.once('close', () => resolve()))
  client.on('error', (error: Error) => log.debug({ error: error.message }, 'a web socket client went away'))
  client.once('close', () => session.close())
  feed(client, session, options)
  try {
    for await (const { data } of session.output) {
      if (client.readyState !== client.OPEN) break
      client.send(data, { binary: options.binary })
      if (client.bufferedAmount > bufferedBytes) await drained(client, gone)
    }
    client.close(1000)
  } catch (error) {
    log.info({ error: String(error) }, 'cut a web socket client off')
    client.terminate()
  } finally {
    session.close()
  }
}

/** Resolves when what was sent so far is with the kernel, or the client is gone. */
async function drained(client: WebSocket, gone: Promise<void>): Promise<void> {
  const sent = new Promise<void>((resolve) => client.ping(undefined, undefined, () => resolve()))
  await Promise.race([sent, gone])
}

function feed(client: WebSocket, session: StreamSession, { filter }: SocketOptions): void {
  const { stdin } = session
  client.on('message', (data) => {
    const typed = Array.isArray(data) ? Buffer.concat(data) : Buffer.isBuffer(data) ? data : Buffer.from(data)
    const { bytes, detached } = filter?.(typed) ?? { bytes: typed, detached: false }
    if (bytes.length > 0 && stdin !== undefined && !stdin.destroyed && !stdin.writableEnded && !stdin.write(bytes)) {
      client.pause()
      stdin.once('drain', () => client.resume())
    }
    if (!detached) return
    session.close()
    client.close(1000)
  })
  stdin?.on('error', () => client.resume())
}

/** For a client that did not ask for an upgrade there is no socket to take over. */
export function requireUpgrade(hijack: HijackTarget | undefined): HijackTarget & { readonly socket: Duplex } {
  if (hijack === undefined) throw new Fault('invalidArgument', 'bad handshake: expected an upgrade to websocket (RFC 6455)')
  return hijack
}
