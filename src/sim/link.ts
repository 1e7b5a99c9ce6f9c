/**
 * The network between one component and the API server: a client that is late, loses requests before they arrive or
 * answers after they were given, breaks watches, holds events back, and can be cut for good when its process dies.
 * Requests and events of one link keep their order; a lost answer says `unavailable`, as a broken connection would.
 */
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Client, WatchEvent } from '#cluster/contract/client.ts'
import type { SeededRandom } from './random.ts'
import { pause } from './slow-store.ts'

/** How bad the network is. Probabilities per request or event. */
export interface Weather {
  readonly latencyMs: number
  readonly loseRequest: number
  readonly loseAnswer: number
  readonly breakWatch: number
  readonly expireWatch: number
  /** Up to so long events are held back now and then: caches go stale. */
  readonly stallMs: number
}

export const calm: Weather = { latencyMs: 0, loseRequest: 0, loseAnswer: 0, breakWatch: 0, expireWatch: 0, stallMs: 0 }

export interface Link {
  readonly client: Client
  weather: Weather
  /** Nothing gets through in either direction while true. */
  partitioned: boolean
  /** The process at this end is dead: requests on their way are lost, answers go nowhere. */
  cut(): void
}

export interface LinkOptions {
  readonly clock: Clock
  readonly random: SeededRandom
  /** The server at this moment; undefined while it is down. */
  readonly server: () => Client | undefined
}

const connectTimeoutMs = 3000

export function openLink({ clock, random, server }: LinkOptions): Link {
  const dead = new AbortController()
  const state: { weather: Weather; partitioned: boolean } = { weather: calm, partitioned: false }
  const refuse = (what: string): never => {
    throw new Fault('unavailable', what, { details: { connectionBroken: true, maybeDone: true } })
  }
  const never = (): Promise<never> => new Promise(() => undefined)
  const travel = async (): Promise<void> => {
    const { latencyMs } = state.weather
    if (latencyMs > 0) await sleep(clock, random.int(latencyMs + 1))
  }

  const call = async <T>(send: (client: Client) => Promise<T>): Promise<T> => {
    if (dead.signal.aborted) return refuse('the process is dead')
    await travel()
    if (state.partitioned) {
      await sleep(clock, connectTimeoutMs)
      return refuse('connection timed out')
    }
    // A dead process hears nothing any more; its continuation must not run.
    if (dead.signal.aborted) return never()
    if (random.chance(state.weather.loseRequest)) return refuse('connection reset on the way to the server')
    const target = server()
    if (target === undefined) return refuse('connection refused')
    let answer: T | undefined
    let failure: unknown
    let failed = false
    try {
      answer = await send(target)
    } catch (error) {
      failed = true
      failure = error
    }
    await travel()
    if (dead.signal.aborted) return never()
    if (state.partitioned || random.chance(state.weather.loseAnswer)) return refuse('connection reset on the way back')
    if (failed) throw failure
    return answer as T
  }

  async function* watch<T>(open: (client: Client, signal: AbortSignal) => AsyncIterable<WatchEvent<T>>, caller: AbortSignal | undefined): AsyncIterable<WatchEvent<T>> {
    const signal = caller === undefined ? dead.signal : AbortSignal.any([caller, dead.signal])
    if (signal.aborted) return
    await travel()
    if (state.partitioned) {
      await pause(clock, connectTimeoutMs, signal)
      return refuse('connection timed out')
    }
    const target = server()
    if (target === undefined) return refuse('connection refused')
    if (random.chance(state.weather.expireWatch)) throw new Fault('expired', 'too old resource version (injected)')
    for await (const event of open(target, signal)) {
      const stalls = state.weather.stallMs > 0 && random.chance(0.02)
      const lateMs = stalls ? random.int(state.weather.stallMs) : state.weather.latencyMs > 0 ? random.int(state.weather.latencyMs + 1) : 0
      if (lateMs > 0 && !(await pause(clock, lateMs, signal))) return
      if (signal.aborted) return
      if (state.partitioned || random.chance(state.weather.breakWatch)) return refuse('the watch connection broke')
      yield event
    }
  }

  const client: Client = {
    get: (kind, ref, options) => call((to) => to.get(kind, ref, options)),
    list: (kind, options) => call((to) => to.list(kind, options)),
    watch: (kind, options) => watch((to, signal) => to.watch(kind, { ...options, signal }), options.signal),
    create: (kind, object, options) => call((to) => to.create(kind, object, options)),
    createSubresource: (kind, ref, subresource, body, options) => call((to) => to.createSubresource(kind, ref, subresource, body, options)),
    update: (kind, object, options) => call((to) => to.update(kind, object, options)),
    patch: (kind, ref, patch, options) => call((to) => to.patch(kind, ref, patch, options)),
    delete: (kind, ref, options) => call((to) => to.delete(kind, ref, options)),
  }
  return Object.assign(state, { client, cut: () => dead.abort() })
}
