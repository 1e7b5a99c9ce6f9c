/** Event, core/v1: something that happened to an object. The same stored objects are served as events.k8s.io/v1. */
import type { Stored, Submitted } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import type { Out } from '#schema/vocabulary.ts'
import { int32, microTime, object, string, time } from '#schema/vocabulary.ts'
import { eventRules } from './event-rules.ts'
import { objectReference } from './object-reference.ts'

export const eventSource = object(
  'core.v1.EventSource',
  {
    component: string().omitEmpty().proto(1).doc('Program that reported it.'),
    host: string().omitEmpty().proto(2).doc('Node it reported from.'),
  },
  { doc: 'Who reported an event.' },
)
export interface EventSource extends Out<typeof eventSource> {}

export const eventSeries = object(
  'core.v1.EventSeries',
  {
    count: int32().omitEmpty().proto(1).doc('How often it came.'),
    lastObservedTime: microTime().omitEmpty().proto(2).doc('When it last came.'),
  },
  { doc: 'How often the same event came again.' },
)
export interface EventSeries extends Out<typeof eventSeries> {}

export const Event = defineKind({
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  shortNames: ['ev'],
  namespaced: true,
  selectable: [
    'involvedObject.kind', 'involvedObject.namespace', 'involvedObject.name', 'involvedObject.uid', 'involvedObject.apiVersion', 'involvedObject.resourceVersion',
    'involvedObject.fieldPath', 'reason', 'reportingComponent', 'source', 'type',
  ],
  selectorAliases: { source: 'source.component' },
  validate: eventRules,
  doc: 'Something that happened to an object. Events are for people: they may be missing, and they are forgotten after a while.',
  fields: {
    involvedObject: objectReference.proto(2).doc('The object it is about.'),
    reason: string().omitEmpty().proto(3).doc('Why it happened, in one word.'),
    message: string().omitEmpty().proto(4).doc('What happened, for people.'),
    source: eventSource.always().proto(5).doc('Who reported it.'),
    firstTimestamp: time().omitEmpty().proto(6).doc('When it first happened.'),
    lastTimestamp: time().omitEmpty().proto(7).doc('When it last happened.'),
    count: int32().omitEmpty().proto(8).doc('How often it happened.'),
    type: string().omitEmpty().proto(9).doc('Normal or Warning.'),
    eventTime: microTime().omitEmpty().proto(10).doc('When it was first seen.'),
    series: eventSeries.optional().proto(11).doc('How often it came again.'),
    action: string().omitEmpty().proto(12).doc('What was done or failed.'),
    related: objectReference.optional().proto(13).doc('A second object that matters.'),
    reportingComponent: string().always().proto(14).doc('Controller that reported it.'),
    reportingInstance: string().always().proto(15).doc('Which instance of the controller.'),
  },
})
export interface Event extends Stored<typeof Event> {}
export interface SubmittedEvent extends Submitted<typeof Event> {}
