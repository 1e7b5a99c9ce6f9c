/**
 * Writes Events about objects, as `kubectl describe` and `kubectl get events` show them. Repetitions of one event count
 * up instead of piling up; more than ten similar events (same object and reason) within ten minutes become one "combined"
 * event; an object that causes events without end is throttled to a burst of 25 and then one per five minutes
 * (client-go's event correlator behaves the same).
 *
 * Recording never fails and never waits: events are advice. At most `queueLimit` wait to be written, then new ones are dropped.
 */
import type { Clock } from '#base/clock.ts'
import { rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { StoredObject } from '#schema/kind.ts'
import { Event } from '../api/core/v1/event.ts'
import type { Client } from '../contract/client.ts'

export interface EventRecorder {
  event(about: StoredObject, type: 'Normal' | 'Warning', reason: string, message: string): void
  /** Resolves when everything recorded so far is written or given up. */
  flush(): Promise<void>
}

export interface EventRecorderOptions {
  readonly client: Client
  readonly clock: Clock
  readonly log: Logger
  /** `deployment-controller`, `default-scheduler`, … */
  readonly component: string
  /** The node it runs on, for node agents. */
  readonly host?: string
  readonly queueLimit?: number
}

const combineAfter = 10
const combineWindowMs = 600_000
const burst = 25
const refillMs = 300_000
const rememberedEvents = 4096

interface Known {
  readonly name: string
  readonly namespace: string
  count: number
}
interface Similar {
  readonly messages: Set<string>
  sinceMs: number
}
interface Bucket {
  tokens: number
  atMs: number
}

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, clock, log, component, host, queueLimit = 1000 } = options
  const known = new Map<string, Known>()
  const similar = new Map<string, Similar>()
  const buckets = new Map<string, Bucket>()
  let tail: Promise<void> = Promise.resolve()
  let queued = 0
  let lastNameNs = 0n

  const allowed = (uid: string): boolean => {
    const nowMs = clock.nowMs()
    const bucket = remember(buckets, uid, () => ({ tokens: burst, atMs: nowMs }))
    bucket.tokens = Math.min(burst, bucket.tokens + (nowMs - bucket.atMs) / refillMs)
    bucket.atMs = nowMs
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }

  /** The message to show, and the key under which repetitions count up. */
  const correlate = (group: string, message: string): { readonly key: string; readonly message: string } => {
    const entry = remember(similar, group, () => ({ messages: new Set<string>(), sinceMs: clock.nowMs() }))
    if (clock.nowMs() - entry.sinceMs > combineWindowMs) entry.messages.clear()
    entry.sinceMs = clock.nowMs()
    entry.messages.add(message)
    if (entry.messages.size < combineAfter) return { key: `${group}\0${message}`, message }
    entry.messages.clear()
    for (let i = 0; i < combineAfter; i += 1) entry.messages.add(String(i))
    return { key: group, message: `(combined from similar events): ${message}` }
  }

  const write = async (about: StoredObject, type: 'Normal' | 'Warning', reason: string, original: string): Promise<void> => {
    const { uid, namespace = 'default', name } = about.metadata
    const { key, message } = correlate([uid, type, reason, component].join('\0'), original)
    const time = rfc3339Seconds(clock.nowMs())
    const before = known.get(key)
    if (before !== undefined) {
      before.count += 1
      try {
        await client.patch(Event, before, { count: before.count, lastTimestamp: time, message }, { type: 'merge' })
        return
      } catch (error) {
        // It expired: begin a new one.
        if (!isFault(error, 'notFound')) throw error
      }
    }
    lastNameNs = clock.nowNs() > lastNameNs ? clock.nowNs() : lastNameNs + 1n
    const entry: Known = { name: `${name}.${lastNameNs.toString(16)}`, namespace, count: 1 }
    const involvedObject = { apiVersion: about.apiVersion, kind: about.kind, namespace: about.metadata.namespace, name, uid, resourceVersion: about.metadata.resourceVersion }
    await client.create(Event, {
      metadata: { namespace, name: entry.name },
      involvedObject, reason, message, type, count: 1, firstTimestamp: time, lastTimestamp: time,
      source: host === undefined ? { component } : { component, host },
      reportingComponent: component,
      reportingInstance: host ?? '',
    })
    remember(known, key, () => entry)
    known.set(key, entry)
  }

  return {
    event(about, type, reason, message) {
      if (queued >= queueLimit || !allowed(about.metadata.uid)) return
      queued += 1
      tail = tail
        .then(() => write(about, type, reason, message))
        .catch((error: unknown) => log.debug({ component, reason, err: error }, 'an event could not be recorded'))
        .finally(() => (queued -= 1))
        .then(() => undefined)
    },
    flush: () => tail,
  }
}

/** The entry of `key`, made if need be; the oldest entries are forgotten beyond a bound. */
function remember<V>(map: Map<string, V>, key: string, make: () => V): V {
  const found = map.get(key)
  if (found !== undefined) return found
  if (map.size >= rememberedEvents) {
    const [oldest] = map.keys()
    if (oldest !== undefined) map.delete(oldest)
  }
  const made = make()
  map.set(key, made)
  return made
}
