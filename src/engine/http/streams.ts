/**
 * Hijacked connections (Engine API, "Attach to a container"): after `101 UPGRADED` (or, for clients that did not ask for an upgrade, in a
 * plain 200 body) the connection carries raw bytes. Without a terminal the container's two outputs are told apart by frames of
 * `[channel, 0, 0, 0, length (4 bytes, big endian)]`; with one everything is raw. The client's half-close is the end of its input.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex, Writable } from 'node:stream'
import { sleep, type Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { drained } from '#base/streams.ts'
import type { OutputChunk, StreamSession } from '../contract/containers.ts'
import { detachFilter } from './detach-keys.ts'

const rawStream = 'application/vnd.docker.raw-stream'
const multiplexedStream = 'application/vnd.docker.multiplexed-stream'

/** Since 1.42 the media type tells whether the bytes are framed. */
export function streamMediaType(tty: boolean, minorVersion: number): string {
  return tty || minorVersion < 42 ? rawStream : multiplexedStream
}

/** One frame: header and data in one buffer, so that it is one write. */
export function frame({ channel, data }: OutputChunk): Buffer {
  const framed = Buffer.allocUnsafe(8 + data.length)
  framed.writeUInt32BE(channel === 'stdout' ? 0x01000000 : 0x02000000, 0)
  framed.writeUInt32BE(data.length, 4)
  data.copy(framed, 8)
  return framed
}

/** Writes and waits where the other side is slower. False: it is gone. */
export async function writeAll(target: Writable, bytes: Buffer): Promise<boolean> {
  if (target.destroyed || target.writableEnded) return false
  if (target.write(bytes)) return true
  await drained(target)
  return !target.destroyed
}

/** Sends a session's output until it ends, then half-closes. */
async function pumpOutput(session: StreamSession, target: Writable, tty: boolean): Promise<void> {
  for await (const chunk of session.output) {
    if (!(await writeAll(target, tty ? chunk.data : frame(chunk)))) break
  }
  target.end()
}

export interface HijackTarget {
  readonly req: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
}

/** The Python SDK reads the answer's head through a buffer and then the bare socket: output in the same read would be lost to it. */
const headReadMs = 30

/** To be awaited between the head and the first output. At once for clients that keep what they have buffered. */
export async function headRead({ req }: HijackTarget, clock: Clock): Promise<void> {
  if (/^docker-(sdk-python|py)/.test(req.headers['user-agent'] ?? '')) await sleep(clock, headReadMs)
}

/** Answers an upgrade request: from here on the socket is the stream. */
export function acceptUpgrade({ req, socket }: HijackTarget, mediaType: string): void {
  const wanted = req.headers.upgrade
  if (wanted === undefined) socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${mediaType}\r\n\r\n`)
  else socket.write(`HTTP/1.1 101 UPGRADED\r\nContent-Type: ${mediaType}\r\nConnection: Upgrade\r\nUpgrade: ${wanted}\r\n\r\n`)
}

export interface ServeOptions {
  readonly tty: boolean
  readonly log: Logger
  /** Bytes that make the client leave; only looked for with a terminal. */
  readonly detachKeys: Buffer | undefined
}

/**
 * Tells a client that is gone from one that only ended its input: both read as an end, but where the other side of a socket is closed
 * the kernel refuses even a write of nothing (EPIPE). Without this a quiet container would keep the sessions of all who left.
 */
function probe(socket: Duplex): void {
  if (!socket.destroyed && !socket.writableEnded) socket.write(Buffer.alloc(0))
}

/** Carries bytes both ways until the output ends or the client goes. */
export async function serveSession({ socket, head }: HijackTarget, session: StreamSession, { tty, log, detachKeys }: ServeOptions): Promise<void> {
  let detached = false
  // Who goes takes the input along; who detaches leaves the process its own.
  const leave = (): void => {
    const { stdin } = session
    if (!detached && stdin !== undefined && !stdin.writableEnded && !stdin.destroyed) stdin.end()
    session.close()
  }
  socket.on('error', (error: Error) => log.debug({ error: error.message }, 'a stream client went away'))
  socket.on('close', leave)
  socket.on('end', () => probe(socket))
  // Gone while the session was made: its `close` was told already.
  if (socket.destroyed) leave()
  const detach = (): void => {
    detached = true
    session.close()
    // Closed both ways: who types on is told so.
    socket.end(() => socket.destroy())
  }
  feedStdin({ socket, head }, session, { detach, keys: tty ? detachKeys : undefined })
  try {
    await pumpOutput(session, socket, tty)
  } catch (error) {
    log.info({ error: String(error) }, 'cut a stream client off')
    socket.destroy()
  } finally {
    leave()
  }
}

function feedStdin({ socket, head }: { readonly socket: Duplex; readonly head: Buffer }, session: StreamSession, { detach, keys }: { readonly detach: () => void; readonly keys: Buffer | undefined }): void {
  const { stdin } = session
  if (stdin === undefined) {
    // Nobody takes the input, but its end must be seen.
    socket.resume()
    return
  }
  const resume = (): void => void socket.resume()
  const filter = keys === undefined ? undefined : detachFilter(keys)
  const take = (typed: Buffer): void => {
    const { bytes, detached } = filter?.(typed) ?? { bytes: typed, detached: false }
    if (bytes.length > 0 && !stdin.destroyed && !stdin.writableEnded && !stdin.write(bytes)) {
      socket.pause()
      stdin.once('drain', resume)
    }
    if (detached) detach()
  }
  const finish = (): void => void stdin.end()
  stdin.on('error', resume)
  if (head.length > 0) take(head)
  socket.on('data', take)
  socket.on('end', finish)
  // A container's input outlives its clients: nothing of theirs stays with it.
  socket.once('close', () => {
    stdin.off('error', resume)
    stdin.off('drain', resume)
  })
}

/** For clients that read the stream from an ordinary response (no upgrade asked for). */
export async function serveResponse(res: ServerResponse, session: StreamSession, options: { readonly tty: boolean; readonly mediaType: string; readonly log: Logger; readonly input?: IncomingMessage }): Promise<void> {
  res.writeHead(200, { 'Content-Type': options.mediaType })
  res.flushHeaders()
  res.on('close', () => session.close())
  if (options.input !== undefined && session.stdin !== undefined) options.input.pipe(session.stdin)
  try {
    await pumpOutput(session, res, options.tty)
  } catch (error) {
    options.log.info({ error: String(error) }, 'cut a stream client off')
    res.destroy()
  }
}
