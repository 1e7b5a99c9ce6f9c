/** Turns a command's bytes into text as they come, and remembers the last lines for the message of a failure. */
import { StringDecoder } from 'node:string_decoder'

const keptLines = 10
const keptBytes = 4096

export class OutputTail {
  readonly #decoder = new StringDecoder('utf8')
  #tail = ''

  add(data: Buffer): string {
    return this.#keep(this.#decoder.write(data))
  }

  end(): string {
    return this.#keep(this.#decoder.end())
  }

  #keep(text: string): string {
    this.#tail = (this.#tail + text).slice(-keptBytes)
    return text
  }

  lines(): readonly string[] {
    return this.#tail.split('\n').filter((line) => line.trim() !== '').slice(-keptLines)
  }
}
