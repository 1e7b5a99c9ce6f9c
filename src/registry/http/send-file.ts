/**
 * A part of a file as the rest of an answer: two buffers in turn, one is read into while the other is written. Twice as
 * fast as a piped read stream, and memory stays at 1 MiB per download however large the blob is.
 */
import { open } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { Fault } from '#base/fault.ts'

const bufferBytes = 512 * 1024

/** Sends `[start, end)` and ends the answer, whose head has been written. `canceled` when the client goes away. */
export async function sendFile(path: string, range: { readonly start: number; readonly end: number }, res: ServerResponse): Promise<void> {
  await using file = await open(path, 'r')
  const size = Math.min(bufferBytes, range.end - range.start)
  const slots = [{ buffer: Buffer.allocUnsafeSlow(size), written: settled }, { buffer: Buffer.allocUnsafeSlow(size), written: settled }]
  let position = range.start
  for (let turn = 0; position < range.end; turn += 1) {
    const slot = slots[turn % 2]
    if (slot === undefined) break
    await slot.written
    const { bytesRead } = await file.read(slot.buffer, 0, Math.min(size, range.end - position), position)
    if (bytesRead === 0) throw new Fault('dataLoss', `the blob at ${path} is shorter than it was: ${position} of ${range.end} bytes`)
    position += bytesRead
    slot.written = write(res, slot.buffer.subarray(0, bytesRead))
  }
  await Promise.all(slots.map((slot) => slot.written))
  await new Promise<void>((resolve) => res.end(resolve))
}

const settled: Promise<void> = Promise.resolve()

function write(res: ServerResponse, bytes: Buffer): Promise<void> {
  const written = new Promise<void>((resolve, reject) => {
    res.write(bytes, (error) => (error === null || error === undefined ? resolve() : reject(new Fault('canceled', 'the client went away', { cause: error }))))
  })
  // It is awaited one turn later; a failure until then is not unhandled.
  written.catch((error: unknown) => error)
  return written
}
