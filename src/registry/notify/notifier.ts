/**
 * Tells webhooks what happened. Each has a queue of its own, in order, of at most 1,000 events: while it does not answer, the oldest
 * make room for the newest, and that is counted. Nothing waits for a webhook.
 */
import { sleep } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { asFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { matchesGlob } from 'node:path'
import type { RegistryEvent } from '../http/call.ts'
import type { Metrics } from '../http/metrics.ts'
import type { EventSource } from './envelope.ts'
import { envelopeType, eventJson } from './envelope.ts'

export interface Webhook {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  /** Default: push, mount and delete, since pulls are many. */
  readonly actions?: readonly RegistryEvent['action'][]
  /** Globs over names of repositories. Default: all. */
  readonly repositories?: readonly string[]
}

export interface NotifierParts {
  readonly webhooks: readonly Webhook[]
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

const maxQueued = 1000
const maxBatch = 50
const answerMs = 10_000
const firstPauseMs = 1000
const longestPauseMs = 60_000

interface Queue {
  readonly webhook: Webhook
  readonly events: object[]
  wake: () => void
}

export class Notifier {
  readonly #parts: NotifierParts
  readonly #queues: readonly Queue[]

  constructor(parts: NotifierParts) {
    this.#parts = parts
    this.#queues = parts.webhooks.map((webhook) => ({ webhook, events: [], wake: () => {} }))
  }

  get isIdle(): boolean {
    return this.#queues.length === 0
  }

  notify(event: RegistryEvent, source: EventSource): void {
    const { metrics } = this.#parts
    for (const queue of this.#queues) {
      if (!wants(queue.webhook, event)) continue
      if (queue.events.length >= maxQueued) {
        queue.events.shift()
        metrics.add('registry_notifications_events_total', { type: 'Dropped' })
        metrics.add('registry_notifications_pending', {}, -1)
      }
      queue.events.push(eventJson(event, source))
      metrics.add('registry_notifications_pending')
      queue.wake()
    }
  }

  /** Sends until the signal aborts; one task per webhook. */
  async keepSending(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#queues.map((queue) => this.#serve(queue, signal)))
  }

  async #serve(queue: Queue, signal: AbortSignal): Promise<void> {
    const { clock, logger, metrics } = this.#parts
    let pauseMs = firstPauseMs
    while (!signal.aborted) {
      if (queue.events.length === 0) await somethingToSend(queue, signal)
      const batch = queue.events.slice(0, maxBatch)
      if (batch.length === 0) continue
      try {
        await this.#send(queue.webhook, batch, signal)
        metrics.add('registry_notifications_events_total', { type: 'Successes' }, batch.length)
        // Some may have been dropped for newer ones meanwhile.
        for (const event of batch) {
          if (queue.events[0] !== event) continue
          queue.events.shift()
          metrics.add('registry_notifications_pending', {}, -1)
        }
        pauseMs = firstPauseMs
      } catch (error) {
        if (signal.aborted) return
        metrics.add('registry_notifications_events_total', { type: 'Failures' }, batch.length)
        logger.warn({ url: queue.webhook.url, reason: asFault(error).message, pending: queue.events.length }, 'a webhook did not take events: they are sent again')
        await sleep(clock, pauseMs, signal)
        pauseMs = Math.min(longestPauseMs, 2 * pauseMs)
      }
    }
  }

  async #send(webhook: Webhook, events: readonly object[], signal: AbortSignal): Promise<void> {
    const late = new AbortController()
    using _timer = this.#parts.clock.after(answerMs, () => late.abort(new Error(`no answer in ${answerMs / 1000} s`)))
    const answer = await fetch(webhook.url, { method: 'POST', headers: { 'Content-Type': envelopeType, ...webhook.headers }, body: JSON.stringify({ events }), signal: AbortSignal.any([signal, late.signal]) })
    await answer.body?.cancel()
    if (!answer.ok) throw new Error(`it answered ${answer.status}`)
  }
}

function wants({ actions = ['push', 'mount', 'delete'], repositories }: Webhook, event: RegistryEvent): boolean {
  return actions.includes(event.action) && (repositories === undefined || repositories.some((glob) => matchesGlob(event.repository, glob)))
}

async function somethingToSend(queue: Queue, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = (): void => {
      signal.removeEventListener('abort', go)
      resolve()
    }
    queue.wake = go
    signal.addEventListener('abort', go)
  })
}
