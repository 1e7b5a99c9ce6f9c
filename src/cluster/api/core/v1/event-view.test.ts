/** An event reads the same through both groups. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { withDefaults } from '#schema/defaults.ts'
import { unknownFields } from '#schema/decode.ts'
import { arbitraryObject } from '../../arbitrary.suite.ts'
import { Event as EventsEvent } from '../../events/v1/event.ts'
import { eventView, storedEvent } from './event-view.ts'
import { Event } from './event.ts'

test('every stored event is an event of events.k8s.io, and comes back as it was', () => {
  fc.assert(
    fc.property(arbitraryObject(Event), (object) => {
      const stored: unknown = withDefaults(Event, object)
      const view = eventView(JSON.parse(JSON.stringify(stored)))
      assert.deepEqual(unknownFields(EventsEvent, view), [])
      assert.deepEqual(JSON.parse(JSON.stringify(withDefaults(Event, storedEvent(view)))), JSON.parse(JSON.stringify(stored)))
    }),
  )
})
