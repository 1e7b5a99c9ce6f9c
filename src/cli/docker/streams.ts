/**
 * The stream of an attached container or exec: with a terminal plain bytes, without one frames of an 8-byte header
 * (stream type, length) as the Docker Engine API documents them under "Attach to a container".
 */
import type { Duplex, Readable, Writable } from 'node:stream'
import { print, type Terminal } from '../terminal.ts'

const headerBytes = 8
const standardError = 2

/** Writes the frames of `source` to the two outputs until it ends. */
export async function demultiplex(source: Readable, stdout: Writable, stderr: Writable): Promise<void> {
  let pending = Buffer.alloc(0)
  for await (const chunk of source) {
    pending = pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([pending, Buffer.from(chunk)])
    while (pending.length >= headerBytes) {
      const end = headerBytes + pending.readUInt32BE(4)
      if (pending.length < end) break
      await print(pending[0] === standardError ? stderr : stdout, pending.subarray(headerBytes, end))
      pending = pending.subarray(end)
    }
  }
}

export interface Session {
  readonly connection: Duplex
  readonly tty: boolean
  readonly stdin: boolean
  readonly resize: (rows: number, columns: number) => Promise<void>
}

/** Joins the terminal to the connection until the far side ends. The terminal is raw while a TTY is attached. */
export async function runSession(terminal: Terminal, session: Session): Promise<void> {
  const { connection, tty, stdin } = session
  const raw = tty && stdin && terminal.stdin.isTTY === true
  using cleanup = new DisposableStack()
  if (raw) {
    terminal.stdin.setRawMode?.(true)
    cleanup.defer(() => terminal.stdin.setRawMode?.(false))
  }
  if (tty && terminal.stdout.isTTY === true) {
    const resize = (): Promise<void> => session.resize(terminal.stdout.rows ?? 24, terminal.stdout.columns ?? 80)
    cleanup.use(terminal.onSignal(['SIGWINCH'], () => void resize()))
    await resize()
  }
  if (stdin) {
    terminal.stdin.pipe(connection, { end: true })
    cleanup.defer(() => {
      terminal.stdin.unpipe(connection)
      terminal.stdin.pause()
      terminal.stdin.destroy()
    })
  }
  if (tty) for await (const chunk of connection) await print(terminal.stdout, Buffer.from(chunk))
  else await demultiplex(connection, terminal.stdout, terminal.stderr)
}
