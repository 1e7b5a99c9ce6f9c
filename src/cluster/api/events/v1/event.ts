/** Event, events.k8s.io/v1: the newer view of the events of core/v1. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { int32, microTime, object, string, time } from '#schema/vocabulary.ts'
import { Event as CoreEvent, eventSource } from '../../core/v1/event.ts'
import { objectReference } from '../../core/v1/object-reference.ts'

export const eventSeries = object(
  'events.v1.EventSeries',
  {
    count: int32().proto(1).doc('How often it came.'),
    lastObservedTime: microTime().proto(2).doc('When it last came.'),
  },
  { doc: 'How often the same event came again.' },
)
export interface EventSeries extends Out<typeof eventSeries> {}

export const Event = defineKind({
  group: 'events.k8s.io',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  shortNames: ['ev'],
  namespaced: true,
  viewOf: {
    kind: CoreEvent,
    fieldNames: {
      regarding: 'involvedObject',
      note: 'message',
      reportingController: 'reportingComponent',
      deprecatedSource: 'source',
      deprecatedFirstTimestamp: 'firstTimestamp',
      deprecatedLastTimestamp: 'lastTimestamp',
      deprecatedCount: 'count',
    },
  },
  selectable: ['regarding.kind', 'regarding.namespace', 'regarding.name', 'regarding.uid', 'reason', 'reportingController', 'type'],
  doc: 'Something that happened to an object. Events are for people: they may be missing, and they are forgotten after a while.',
  fields: {
    eventTime: microTime().proto(2).doc('When it was first seen.'),
    series: eventSeries.optional().proto(3).doc('How often it came again.'),
    reportingController: string().omitEmpty().proto(4).doc('Controller that reported it.'),
    reportingInstance: string().omitEmpty().proto(5).doc('Which instance of the controller.'),
    action: string().omitEmpty().proto(6).doc('What was done or failed.'),
    reason: string().omitEmpty().proto(7).doc('Why it happened, in one word.'),
    regarding: objectReference.always().proto(8).doc('The object it is about.'),
    related: objectReference.optional().proto(9).doc('A second object that matters.'),
    note: string().omitEmpty().proto(10).doc('What happened, for people.'),
    type: string().omitEmpty().proto(11).doc('Normal or Warning.'),
    deprecatedSource: eventSource.always().proto(12),
    deprecatedFirstTimestamp: time().omitEmpty().proto(13),
    deprecatedLastTimestamp: time().omitEmpty().proto(14),
    deprecatedCount: int32().omitEmpty().proto(15),
  },
})
export interface Event extends Stored<typeof Event> {}
export interface SubmittedEvent extends Submitted<typeof Event> {}
