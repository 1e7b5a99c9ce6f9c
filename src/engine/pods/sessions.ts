/** The engine's stream sessions in the shape the node agent serves: separate readable streams, with backpressure. */
import { PassThrough, type Writable } from 'node:stream'
import type { Session } from '#cluster/contract/runtime.ts'
import { asFault } from '#base/fault.ts'
import { drained } from '#base/streams.ts'
import type { StreamSession } from '../contract/containers.ts'

export interface SessionParts {
  /** undefined: nothing was attached. */
  readonly session: StreamSession | undefined
  readonly exit: Promise<number>
  readonly want: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean }
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void>
  /** Called once, when the session is left. */
  onClose(): void
}

export function podSession(parts: SessionParts): Session {
  const { session, want } = parts
  const stdout = want.stdout ? new PassThrough() : undefined
  const stderr = want.stderr ? new PassThrough() : undefined
  const drained = session === undefined ? endAll([stdout, stderr]) : pump(session, { stdout, stderr })
  const stdin: Writable | undefined = want.stdin ? session?.stdin : undefined
  let closed = false
  return {
    ...(stdin === undefined ? {} : { stdin }),
    ...(stdout === undefined ? {} : { stdout }),
    ...(stderr === undefined ? {} : { stderr }),
    resize: (size) => parts.resize(size),
    exit: Promise.all([parts.exit, drained]).then(([code]) => code),
    close() {
      if (closed) return
      closed = true
      session?.close()
      stdout?.destroy()
      stderr?.destroy()
      parts.onClose()
    },
  }
}

async function endAll(streams: readonly (PassThrough | undefined)[]): Promise<void> {
  for (const stream of streams) stream?.end()
}

async function pump(session: StreamSession, streams: { readonly stdout: PassThrough | undefined; readonly stderr: PassThrough | undefined }): Promise<void> {
  try {
    for await (const { channel, data } of session.output) {
      const stream = streams[channel]
      if (stream === undefined || stream.destroyed) continue
      // Or gone: a reader that left must not hold up the other stream.
      if (!stream.write(data)) await drained(stream)
    }
    streams.stdout?.end()
    streams.stderr?.end()
  } catch (error) {
    const fault = asFault(error)
    streams.stdout?.destroy(fault)
    streams.stderr?.destroy(fault)
  }
}
