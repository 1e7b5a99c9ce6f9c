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
    component: string().omitEmpty().proto(1),
    host: string().omitEmpty().proto(2),
  },
)
export interface EventSource extends Out<typeof eventSource> {}

export const eventSeries = object(
  'core.v1.EventSeries',
  {
    count: int32().omitEmpty().proto(1),
    lastObservedTime: microTime().omitEmpty().proto(2),
  },
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
  fields: {
    involvedObject: objectReference.proto(2),
    reason: string().omitEmpty().proto(3),
    message: string().omitEmpty().proto(4),
    source: eventSource.always().proto(5),
    firstTimestamp: time().omitEmpty().proto(6),
    lastTimestamp: time().omitEmpty().proto(7),
    count: int32().omitEmpty().proto(8),
    type: string().omitEmpty().proto(9),
    eventTime: microTime().omitEmpty().proto(10),
    series: eventSeries.optional().proto(11),
    action: string().omitEmpty().proto(12),
    related: objectReference.optional().proto(13),
    reportingComponent: string().always().proto(14),
    reportingInstance: string().always().proto(15),
  },
})
export interface Event extends Stored<typeof Event> {}
export interface SubmittedEvent extends Submitted<typeof Event> {}
