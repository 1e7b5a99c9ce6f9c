/** What the event recorder writes, against the real API core. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '#base/log.ts'
import { startControlPlane } from '#sim/control-plane.ts'
import { ConfigMap } from '../api/core/v1/config-map.ts'
import { Event } from '../api/core/v1/event.ts'
import type { Client } from '../contract/client.ts'
import type { EventRecorder } from './event-recorder.ts'
import { createEventRecorder } from './event-recorder.ts'

async function withRecorder(tell: (recorder: EventRecorder, about: ConfigMap, events: () => Promise<Event[]>, client: Client) => Promise<void>): Promise<void> {
  await using plane = await startControlPlane()
  const { client, clock } = plane
  const about = await client.create(ConfigMap, { metadata: { namespace: 'default', name: 'subject' } })
  const recorder = createEventRecorder({ client, clock, log: silentLogger, component: 'test-controller' })
  await tell(recorder, about, async () => [...(await client.list(Event)).items], client)
}

test('an event names its object and counts up when it repeats', () =>
  withRecorder(async (recorder, about, events) => {
    for (let i = 0; i < 3; i += 1) recorder.event(about, 'Normal', 'Pulled', 'it was pulled')
    recorder.event(about, 'Warning', 'Failed', 'it failed')
    await recorder.flush()
    const found = await events()
    assert.deepEqual(found.map(({ type, reason, message, count }) => `${type} ${reason} ${count}: ${message}`).toSorted((a, b) => a.localeCompare(b)), ['Normal Pulled 3: it was pulled', 'Warning Failed 1: it failed'])
    const [first] = found
    assert.deepEqual([first?.involvedObject.kind, first?.involvedObject.name, first?.involvedObject.uid, first?.source?.component], ['ConfigMap', 'subject', about.metadata.uid, 'test-controller'])
    assert.match(first?.metadata.name ?? '', /^subject\.[0-9a-f]+$/)
  }))

test('more than ten similar events become one, and an object cannot cause them without end', () =>
  withRecorder(async (recorder, about, events) => {
    for (let i = 0; i < 100; i += 1) recorder.event(about, 'Normal', 'Created', `made number ${i}`)
    await recorder.flush()
    const found = await events()
    assert.equal(found.length, 10)
    const combined = found.find(({ message }) => message?.startsWith('(combined from similar events)'))
    // A burst of 25 and not one more: nine single ones, the rest combined.
    assert.equal(combined?.count, 16)
  }))

test('an event that expired meanwhile begins anew', () =>
  withRecorder(async (recorder, about, events, client) => {
    recorder.event(about, 'Normal', 'Pulled', 'it was pulled')
    await recorder.flush()
    for (const { metadata } of await events()) await client.delete(Event, metadata)
    recorder.event(about, 'Normal', 'Pulled', 'it was pulled')
    await recorder.flush()
    assert.deepEqual((await events()).map(({ count }) => count), [1])
  }))
