/** Events are forgotten an hour after they were last written, as upstream does by default (`--event-ttl`). */
import type { Clock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Event } from '../../api/core/v1/event.ts'
import { asKind, type Entry } from '../entry.ts'
import type { Resource } from '../resources.ts'
import type { ObjectWrite, State } from '../state.ts'

const eventLifeMs = 3_600_000
export const expiryIntervalMs = 300_000
const deletionsPerCommit = 500

/** The latest moment that an event tells of. */
function lastWrittenMs({ object }: Entry): number {
  const { metadata, lastTimestamp, eventTime, series, firstTimestamp } = asKind<Event>(object)
  const times = [metadata.creationTimestamp, lastTimestamp, eventTime, series?.lastObservedTime, firstTimestamp]
  return Math.max(...times.map((time) => (time === undefined ? 0 : Date.parse(time) || 0)))
}

/** Deletes what has expired. An event that is written meanwhile stays: then its whole batch waits for the next round. */
export async function expireEvents(state: State, events: Resource, clock: Clock): Promise<void> {
  const limitMs = clock.nowMs() - eventLifeMs
  let batch: ObjectWrite[] = []
  for (const entry of [...state.cache(events).scan()]) {
    if (lastWrittenMs(entry) > limitMs) continue
    const { namespace = '', name } = entry.meta
    batch.push({ op: 'delete', resource: events, ref: { namespace, name }, expect: { modRevision: entry.revision } })
    if (batch.length < deletionsPerCommit) continue
    await forget(state, batch)
    batch = []
  }
  if (batch.length > 0) await forget(state, batch)
}

async function forget(state: State, batch: readonly ObjectWrite[]): Promise<void> {
  try {
    await state.commit(batch)
  } catch (error) {
    if (!isFault(error, 'conflict')) throw error
  }
}
