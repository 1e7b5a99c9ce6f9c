/** What a command may reach of the terminal: streams, whether they are terminals, and the wall clock for ages. */
import type { Readable, Writable } from 'node:stream'
import type { Clock } from '#base/clock.ts'

export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown }
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number }
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number }
  readonly clock: Clock
  /** Calls back when a signal meant for the command arrives or the window changes; disposing stops listening. */
  onSignal(signals: readonly NodeJS.Signals[], listener: (signal: NodeJS.Signals) => void): Disposable
}

export function processTerminal(clock: Clock): Terminal {
  // A reader that has seen enough (`berth status | head`) ends the command, quietly, as SIGPIPE would.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit(0)
    })
  }
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    clock,
    onSignal(signals, listener) {
      for (const signal of signals) process.on(signal, listener)
      return {
        [Symbol.dispose]() {
          for (const signal of signals) process.off(signal, listener)
        },
      }
    },
  }
}

/** Writes and waits until the stream has taken it. A closed reader (`| head`) is not an error. */
export function print(stream: Writable, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      if (error === null || error === undefined || ('code' in error && error.code === 'EPIPE')) resolve()
      else reject(error)
    })
  })
}
