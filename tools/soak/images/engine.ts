/** Operations on images whose engine may die under them: each is repeated until it was carried out, and its stream's own verdict counts. */
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { collect, type Call, DockerConnection, EngineRefusal } from '../../../src/cli/docker/connection.ts'

const patienceMs = 90_000

/** What the engine itself refused, in a status or in its stream. */
export class Refused extends Error {
  readonly status: number
  /** An earlier attempt was cut off: it may have been carried out. */
  readonly again: boolean

  constructor(what: string, details: { readonly status: number; readonly again: boolean }) {
    super(`${what}${details.again ? ' (asked again after the engine died)' : ''}`)
    this.status = details.status
    this.again = details.again
  }
}

export class ImageEngine {
  readonly #connection: DockerConnection
  /** How many requests were cut off. */
  cutOff = 0

  constructor(socket: string) {
    this.#connection = new DockerConnection(socket)
  }

  /** The whole answer; `make` is called for each attempt, since a body can be sent once. */
  async run(make: () => Call): Promise<Buffer> {
    const started = performance.now()
    for (let attempt = 0; ; attempt += 1) {
      const call = make()
      try {
        const answer = await collect(await this.#connection.stream(call))
        const complaint = complaintOf(answer)
        if (complaint !== undefined) throw new Refused(`${call.method} ${call.path}: ${complaint}`, { status: 200, again: attempt > 0 })
        return answer
      } catch (error) {
        if (error instanceof Refused) throw error
        if (error instanceof EngineRefusal) throw new Refused(`${call.method} ${call.path}: ${error.status} ${error.message}`, { status: error.status, again: attempt > 0 })
        if (!(error instanceof Error)) throw error
        this.cutOff += 1
        if (performance.now() - started > patienceMs) throw new Error(`${call.method} ${call.path}: the engine did not come back within ${patienceMs / 1000} s`, { cause: error })
        await delay(20)
      }
    }
  }

  async json(make: () => Call): Promise<unknown> {
    return JSON.parse((await this.run(make)).toString())
  }

  close(): void {
    this.#connection.close()
  }
}

/** `{"error": …}` in a stream of messages; archives are no such stream. */
function complaintOf(answer: Buffer): string | undefined {
  if (answer[0] !== 0x7b) return undefined
  for (const line of answer.toString().split('\n')) {
    if (!line.includes('"error"')) continue
    const message: { readonly error?: string } = JSON.parse(line)
    if (message.error !== undefined) return message.error
  }
  return undefined
}

export function bodyOf(bytes: Buffer): Readable {
  return Readable.from([bytes])
}
