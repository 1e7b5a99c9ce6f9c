/**
 * A client whose engine may die under it: what a dead socket refused or cut off is asked again until there is an answer. An
 * answer after such a death is marked, for the first request may have been carried out.
 */
import type { Duplex, Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { type Call, DockerConnection, EngineRefusal, collect } from '../../../src/cli/docker/connection.ts'

export interface Answer {
  readonly status: number
  readonly body: unknown
  /** The refusal's own words. */
  readonly message: string
  /** An earlier attempt was cut off: it may have been done. */
  readonly again: boolean
}

const patienceMs = 90_000
/** A request that is answered by nobody for so long hangs. */
const hangMs = 60_000

export class PatientClient {
  readonly #connection: DockerConnection
  /** How many requests were cut off. */
  cutOff = 0

  constructor(socket: string) {
    this.#connection = new DockerConnection(socket)
  }

  async ask(call: Call, accepted: readonly number[] = []): Promise<Answer> {
    const answer = await this.#untilAnswered(call, async () => ({ status: 200, body: await this.#connection.json(call), message: '' }))
    if (answer.status !== 200 && !accepted.includes(answer.status)) throw new Error(`${call.method} ${call.path}: ${answer.status} ${answer.message}${answer.again ? ' (asked again after the engine died)' : ''}`)
    return answer
  }

  /** The raw bytes of an answer, from its beginning to its end. */
  async bytes(call: Call): Promise<Buffer> {
    const answer = await this.#untilAnswered(call, async () => ({ status: 200, body: await collect(await this.#connection.stream(call)), message: '' }))
    if (!Buffer.isBuffer(answer.body)) throw new Error(`${call.method} ${call.path}: ${answer.status} ${answer.message}`)
    return answer.body
  }

  /** One attempt; undefined when the engine died meanwhile. */
  async hijack(call: Call): Promise<Duplex | EngineRefusal | undefined> {
    try {
      return await this.#connection.hijack(call)
    } catch (error) {
      if (error instanceof EngineRefusal) return error
      if (error instanceof Error) {
        this.cutOff += 1
        return undefined
      }
      throw error
    }
  }

  close(): void {
    this.#connection.close()
  }

  async #untilAnswered(call: Call, attempt: () => Promise<Omit<Answer, 'again'>>): Promise<Answer> {
    const started = performance.now()
    for (let attempts = 0; ; attempts += 1) {
      const alarm = new AbortController()
      try {
        const late = delay(hangMs, 'late' as const, { signal: alarm.signal }).catch((error: unknown) => error)
        const answer = await Promise.race([attempt(), late])
        if (answer === 'late' || typeof answer !== 'object' || answer === null || !('status' in answer)) throw new Hang(`${call.method} ${call.path}: no answer within ${hangMs / 1000} s`)
        return { ...(answer as Omit<Answer, 'again'>), again: attempts > 0 }
      } catch (error) {
        if (error instanceof EngineRefusal) return { status: error.status, body: undefined, message: error.message, again: attempts > 0 }
        if (!(error instanceof Error) || error instanceof Hang) throw error
        this.cutOff += 1
        if (performance.now() - started > patienceMs) throw new Error(`${call.method} ${call.path}: the engine did not come back within ${patienceMs / 1000} s`, { cause: error })
        await delay(20)
      } finally {
        alarm.abort()
      }
    }
  }
}

class Hang extends Error {}

/** All that comes until the stream ends or dies; `undefined` when it died or said nothing more for 20 s. */
export async function readToEnd(stream: Readable): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  const silence = AbortSignal.timeout(20_000)
  const give = (): void => void stream.destroy(new Error('silent for 20 s'))
  silence.addEventListener('abort', give)
  try {
    for await (const chunk of stream) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } catch (error) {
    if (error instanceof Error) return undefined
    throw error
  } finally {
    silence.removeEventListener('abort', give)
  }
}
