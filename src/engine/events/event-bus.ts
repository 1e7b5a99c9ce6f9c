/** `Events` in memory: a ring of the last 256 events and bounded queues for those who listen (Engine API `GET /events`). */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { EngineEvent, EventQuery, Events } from '../contract/events.ts'
import { matchesFilters } from './event-filters.ts'

const keptEvents = 256
const longestQueue = 4096

interface Subscriber {
  readonly query: EventQuery
  readonly queue: EngineEvent[]
  overflowed: boolean
  wake: (() => void) | undefined
}

export function createEventBus({ clock }: { readonly clock: Clock }): Events {
  const kept: EngineEvent[] = []
  const subscribers = new Set<Subscriber>()
  let lastNs = 0n

  function deliver(subscriber: Subscriber, event: EngineEvent): void {
    if (!wants(subscriber.query, event)) return
    if (subscriber.queue.length >= longestQueue) subscriber.overflowed = true
    else subscriber.queue.push(event)
    subscriber.wake?.()
  }

  return {
    publish({ type, action, actor, namespace = 'docker' }) {
      // Two events never carry the same time: a reader that resumes by time then misses none.
      const nowNs = clock.nowNs()
      lastNs = nowNs > lastNs ? nowNs : lastNs + 1n
      const event: EngineEvent = Object.freeze({ type, action, actor: { id: actor.id, attributes: actor.attributes ?? {} }, scope: 'local', timeNs: lastNs, namespace })
      kept.push(event)
      if (kept.length > keptEvents) kept.shift()
      for (const subscriber of subscribers) deliver(subscriber, event)
    },
    subscribe(query) {
      const subscriber: Subscriber = { query, queue: [], overflowed: false, wake: undefined }
      const { sinceNs } = query
      if (sinceNs !== undefined) for (const event of kept) if (event.timeNs >= sinceNs) deliver(subscriber, event)
      subscribers.add(subscriber)
      return read(subscriber, clock, () => subscribers.delete(subscriber))
    },
  }
}

function wants({ filters, namespace = 'docker', untilNs }: EventQuery, event: EngineEvent): boolean {
  if (namespace !== 'all' && event.namespace !== namespace) return false
  if (untilNs !== undefined && event.timeNs > untilNs) return false
  return filters === undefined || matchesFilters(event, filters)
}

async function* read(subscriber: Subscriber, clock: Clock, leave: () => void): AsyncGenerator<EngineEvent> {
  const { query, queue } = subscriber
  let over = query.signal.aborted
  const finish = (): void => {
    over = true
    subscriber.wake?.()
  }
  query.signal.addEventListener('abort', finish, { once: true })
  const leftNs = query.untilNs === undefined ? undefined : query.untilNs - clock.nowNs()
  if (leftNs !== undefined && leftNs <= 0n) over = true
  using timer = leftNs === undefined || over ? undefined : clock.after(Number(leftNs / 1_000_000n) + 1, finish, { background: true })
  void timer
  try {
    for (;;) {
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) yield event
      if (subscriber.overflowed) throw new Fault('resourceExhausted', `more than ${longestQueue} events waited for this reader; it was cut off`)
      if (over) return
      await new Promise<void>((resolve) => (subscriber.wake = resolve))
      subscriber.wake = undefined
    }
  } finally {
    query.signal.removeEventListener('abort', finish)
    leave()
  }
}

