/**
 * A part of a file as the rest of an answer: by sendfile(2) where there is a plain connection, else from two buffers in turn, one is
 * read into while the other is written. Twice as fast as a piped read stream, and memory stays below 1 MiB per download however
 * large the blob is.
 */
import { type FileHandle, open } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { finished } from 'node:stream/promises'
import { Fault } from '#base/fault.ts'
import type { Sendfile } from '#linux/contract/sendfile.ts'

const bufferBytes = 512 * 1024
/** What Node writes whenever a connection is full. */
const ownBytes = 64 * 1024
/** At most this much by one call: it holds a thread for so long. */
const callBytes = 1024 * 1024

export interface SentPart {
  readonly path: string
  readonly start: number
  readonly end: number
}

/** Where a sending stands. */
interface Sending {
  readonly path: string
  readonly file: FileHandle
  readonly res: ServerResponse
  readonly end: number
  position: number
}

/** Sends `[start, end)` and ends the answer, whose head has been written and which has a body. `canceled` when the client goes away, `dataLoss` when the file is shorter. */
export async function sendFile({ path, start, end }: SentPart, res: ServerResponse, sendfile?: Sendfile): Promise<void> {
  await using file = await open(path, 'r')
  const sending: Sending = { path, file, res, end, position: start }
  // Chunks have their lengths between them.
  if (sendfile !== undefined && !res.chunkedEncoding) await sendByKernel(sending, sendfile)
  await sendByBuffers(sending)
  res.end()
  try {
    await finished(res)
  } catch (error) {
    throw gone(error)
  }
}

/**
 * Nearly to the end, or not beyond the first piece where the connection is none for sendfile(2). Node writes the last piece: a client that has
 * all and hangs up at once has not gone away.
 */
async function sendByKernel(sending: Sending, sendfile: Sendfile): Promise<void> {
  const { file, res } = sending
  const end = sending.end - ownBytes
  if (sending.position >= end) return
  const buffer = Buffer.allocUnsafeSlow(ownBytes)
  // When it has been written, so have the head and the answers before this one.
  await write(res, await readPiece(sending, buffer))
  const { socket } = res
  if (socket === null) return
  using target = sendfile.open(socket, file.fd)
  if (target === undefined) return
  while (sending.position < end) {
    const taken = await target.send(sending.position, Math.min(callBytes, end - sending.position))
    sending.position += taken
    sentByKernel.set(socket, (sentByKernel.get(socket) ?? 0) + taken)
    if (taken === 0) await write(res, await readPiece(sending, buffer))
  }
}

async function sendByBuffers(sending: Sending): Promise<void> {
  const size = Math.min(bufferBytes, sending.end - sending.position)
  const slots = [{ buffer: Buffer.allocUnsafeSlow(size), written: settled }, { buffer: Buffer.allocUnsafeSlow(size), written: settled }]
  for (let turn = 0; sending.position < sending.end; turn += 1) {
    const slot = slots[turn % 2]
    if (slot === undefined) break
    await slot.written
    slot.written = write(sending.res, await readPiece(sending, slot.buffer))
  }
  await Promise.all(slots.map((slot) => slot.written))
}

async function readPiece(sending: Sending, buffer: Buffer): Promise<Buffer> {
  const { path, file, end, position } = sending
  const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - position), position)
  if (bytesRead === 0) throw new Fault('dataLoss', `the blob at ${path} is shorter than it was: ${position} of ${end} bytes`)
  sending.position += bytesRead
  return buffer.subarray(0, bytesRead)
}

const settled: Promise<void> = Promise.resolve()

function write(res: ServerResponse, bytes: Buffer): Promise<void> {
  const written = new Promise<void>((resolve, reject) => {
    res.write(bytes, (error) => (error === null || error === undefined ? resolve() : reject(gone(error))))
  })
  // It may be awaited one turn later; a failure until then is not unhandled.
  written.catch((error: unknown) => error)
  return written
}

function gone(cause: unknown): Fault {
  return new Fault('canceled', 'the client went away', { cause })
}

const sentByKernel = new WeakMap<Socket, number>()

/** Bytes written on a connection so far: Node counts only its own. */
export function bytesSent(socket: Socket): number {
  return socket.bytesWritten + (sentByKernel.get(socket) ?? 0)
}
