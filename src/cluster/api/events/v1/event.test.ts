/** An event reads the same through both groups. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { present } from '#base/assert.ts'
import { withDefaults } from '#schema/defaults.ts'
import { unknownFields } from '#schema/decode.ts'
import { shownBy, storedForm, storedSelector } from '#schema/view.ts'
import { arbitraryObject } from '../../arbitrary.suite.ts'
import { Event as CoreEvent } from '../../core/v1/event.ts'
import { Event } from './event.ts'

const viewOf = present(Event.viewOf, 'what the event is a view of')

test('every stored event is an event of events.k8s.io, and comes back as it was', () => {
  fc.assert(
    fc.property(arbitraryObject(CoreEvent), (object) => {
      const stored: unknown = JSON.parse(JSON.stringify(withDefaults<unknown, unknown>(CoreEvent, { ...object, involvedObject: object.involvedObject ?? {} })))
      const view = shownBy(Event, viewOf, JSON.parse(JSON.stringify(stored)))
      assert.deepEqual(unknownFields(Event, view), [])
      assert.deepEqual(JSON.parse(JSON.stringify(withDefaults<unknown, unknown>(CoreEvent, storedForm(viewOf, view)))), stored)
    }),
  )
})

test('selectors of the view become selectors of what is stored', () => {
  assert.equal(storedSelector(viewOf, 'regarding.name=p, reason!=x,reportingController=c'), 'involvedObject.name=p,reason!=x,reportingComponent=c')
  assert.equal(storedSelector(viewOf, undefined), undefined)
})
