/** Turns a command's bytes into text as they come, and remembers the last lines for the message of a failure. */
import { StringDecoder } from 'node:string_decoder'

const keptLines = 10
const keptBytes = 4096

export class OutputTail {
  readonly #decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') }
  #tail = ''

  add(data: Buffer, channel: 'stdout' | 'stderr'): string {
    return coloured(this.#keep(this.#decoders[channel].write(data)), channel)
  }

  end(): string {
    const { stdout, stderr } = this.#decoders
    return this.#keep(stdout.end()) + coloured(this.#keep(stderr.end()), 'stderr')
  }

  #keep(text: string): string {
    this.#tail = (this.#tail + text).slice(-keptBytes)
    return text
  }

  lines(): readonly string[] {
    return this.#tail.split('\n').filter((line) => line.trim() !== '').slice(-keptLines)
  }
}

/** The classic builder has one stream for both outputs; what went to stderr is bright red in it. */
function coloured(text: string, channel: 'stdout' | 'stderr'): string {
  return channel === 'stdout' || text === '' ? text : `\x1b[91m${text}\x1b[0m`
}
