/** One client's view of a container: first what was logged, where it asked for that, then what comes. */
import type { LogEntry, OutputChunk, StreamSession } from '../contract/containers.ts'

export function sessionOf(history: AsyncIterable<LogEntry> | undefined, live: StreamSession | undefined, controller: AbortController): StreamSession {
  async function* output(): AsyncGenerator<OutputChunk> {
    if (history !== undefined) yield* history
    if (live !== undefined) yield* live.output
  }
  const close = (): void => {
    controller.abort()
    live?.close()
  }
  return { output: history === undefined && live !== undefined ? live.output : output(), stdin: live?.stdin, close, [Symbol.dispose]: close }
}
