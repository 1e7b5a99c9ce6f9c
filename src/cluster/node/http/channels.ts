/**
 * Streams of a command over one WebSocket: the subprotocols `v4.channel.k8s.io` and `v5.channel.k8s.io` (Kubernetes
 * enhancement 4006). The first byte of each message names the channel: 0 stdin, 1 stdout, 2 stderr, 3 the outcome as a
 * Status, 4 terminal size; v5 adds 255, "this channel is at its end". Both directions wait for the slower side.
 */
import type { Readable, Writable } from 'node:stream'
import type { RawData, WebSocket } from 'ws'
import { asFault, isFault } from '#base/fault.ts'
import type { Session } from '../../contract/runtime.ts'

export const channelProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const

const stdinChannel = 0
const stdoutChannel = 1
const stderrChannel = 2
const outcomeChannel = 3
const resizeChannel = 4
const closeChannel = 255

/** At most so many bytes wait in the socket before the process has to wait. */
const mostBuffered = 1024 * 1024

/** Carries a session to its end, reports its exit code, closes the socket. Never rejects. */
export async function serveSession(socket: WebSocket, open: () => Promise<Session>): Promise<void> {
  // Messages may come before the command has started: they wait in the connection.
  socket.pause()
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    socket.once('error', () => resolve())
  })
  let session: Session
  try {
    session = await open()
  } catch (error) {
    send(socket, outcomeChannel, Buffer.from(JSON.stringify(failureStatus(asFault(error).message))))
    socket.resume()
    socket.close(1000)
    return
  }
  void closed.then(() => session.close())
  socket.on('message', (data: RawData) => receiveMessage(socket, session, toBuffer(data)))
  socket.resume()
  session.stdin?.on('error', () => {
    // The process has closed its standard input: what still comes is dropped.
  })
  try {
    await Promise.all([forward(socket, stdoutChannel, session.stdout), forward(socket, stderrChannel, session.stderr)])
    const exitCode = await session.exit
    send(socket, outcomeChannel, Buffer.from(JSON.stringify(exitStatus(exitCode))))
  } catch (error) {
    send(socket, outcomeChannel, Buffer.from(JSON.stringify(failureStatus(asFault(error).message))))
  }
  socket.close(1000)
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}

function send(socket: WebSocket, channel: number, data: Buffer): void {
  if (socket.readyState === socket.OPEN) socket.send(Buffer.concat([Buffer.from([channel]), data]))
}

async function forward(socket: WebSocket, channel: number, stream: Readable | undefined): Promise<void> {
  if (stream === undefined) return
  for await (const chunk of stream) {
    if (socket.readyState !== socket.OPEN) return
    const data: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))
    const sent = new Promise<void>((resolve) => socket.send(Buffer.concat([Buffer.from([channel]), data]), () => resolve()))
    if (socket.bufferedAmount > mostBuffered) await sent
  }
}

function receiveMessage(socket: WebSocket, session: Session, message: Buffer): void {
  const channel = message[0]
  const data = message.subarray(1)
  if (channel === stdinChannel) return writeInput(socket, session.stdin, data)
  if (channel === resizeChannel) return resize(session, data)
  if (channel === closeChannel && data[0] === stdinChannel) session.stdin?.end()
}

function writeInput(socket: WebSocket, stdin: Writable | undefined, data: Buffer): void {
  if (stdin === undefined || stdin.writableEnded || stdin.destroyed || data.length === 0) return
  // Messages already read still come after a pause: one pair of listeners is enough for all of them.
  if (stdin.write(data) || socket.isPaused) return
  socket.pause()
  const resume = (): void => {
    stdin.off('drain', resume)
    stdin.off('close', resume)
    socket.resume()
  }
  stdin.once('drain', resume)
  stdin.once('close', resume)
}

function resize(session: Session, data: Buffer): void {
  const size = parseSize(data)
  if (size !== undefined) void resizeIfRunning(session, size)
}

/** `{"Width":80,"Height":24}`; undefined for anything else. */
export function parseSize(data: Buffer): { columns: number; rows: number } | undefined {
  let size: unknown
  try {
    size = JSON.parse(data.toString('utf8'))
  } catch (error) {
    // A size that cannot be read changes nothing.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof size !== 'object' || size === null || !('Width' in size) || !('Height' in size)) return undefined
  if (typeof size.Width !== 'number' || typeof size.Height !== 'number') return undefined
  return { columns: size.Width, rows: size.Height }
}

export async function resizeIfRunning(session: Session, size: { readonly columns: number; readonly rows: number }): Promise<void> {
  try {
    await session.resize(size)
  } catch (error) {
    // The process has ended meanwhile; its exit is reported anyway.
    if (!isFault(error)) throw error
  }
}

/** What kubectl turns into its own exit code. */
export function exitStatus(exitCode: number): object {
  if (exitCode === 0) return { metadata: {}, status: 'Success' }
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  }
}

export function failureStatus(message: string): object {
  return { metadata: {}, status: 'Failure', message, reason: 'InternalError', details: { causes: [{ message }] }, code: 500 }
}
