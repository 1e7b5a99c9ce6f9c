/** Columns of `kubectl get events`, for both views of events. */
import type { Column } from '#schema/table.ts'
import { age, defineTable, nameColumn, text, wide } from '#schema/table.ts'
import { Event as EventsEvent } from '../../events/v1/event.ts'
import { Event } from './event.ts'
import type { EventSource } from './event.ts'
import type { ObjectReference } from './object-reference.ts'

/** What the columns need, whichever group the event is read through. */
interface Printed {
  readonly type: string | undefined
  readonly reason: string | undefined
  readonly message: string | undefined
  readonly about: ObjectReference
  readonly source: EventSource
  readonly first: string | undefined
  readonly last: string | undefined
  readonly times: number
  readonly name: string
}

function printedCore(event: Event): Printed {
  const first = event.firstTimestamp ?? event.eventTime
  const { series } = event
  return {
    type: event.type,
    reason: event.reason,
    message: event.message,
    about: event.involvedObject,
    source: event.source.component === undefined ? { ...event.source, component: event.reportingComponent } : event.source,
    first,
    last: series?.lastObservedTime ?? event.lastTimestamp ?? first,
    times: series?.count ?? event.count ?? 1,
    name: event.metadata.name,
  }
}

function printedView(event: EventsEvent): Printed {
  const first = event.deprecatedFirstTimestamp ?? event.eventTime
  const { series } = event
  return {
    type: event.type,
    reason: event.reason,
    message: event.note,
    about: event.regarding,
    source: event.deprecatedSource.component === undefined ? { ...event.deprecatedSource, component: event.reportingController } : event.deprecatedSource,
    first,
    last: series?.lastObservedTime ?? event.deprecatedLastTimestamp ?? first,
    times: series?.count ?? event.deprecatedCount ?? 1,
    name: event.metadata.name,
  }
}

function columns<O>(printed: (event: O) => Printed): Column<O>[] {
  return [
    text('Last Seen', 'Time since it last happened.', (event, { nowMs }) => age(printed(event).last, nowMs)),
    text('Type', 'Normal or Warning.', (event) => printed(event).type ?? ''),
    text('Reason', 'Why it happened, in one word.', (event) => printed(event).reason ?? ''),
    text('Object', 'The object it is about.', (event) => {
      const { kind = '', name = '' } = printed(event).about
      return name === '' ? kind.toLowerCase() : `${kind.toLowerCase()}/${name}`
    }),
    wide('Subobject', 'The part of the object it is about.', (event) => printed(event).about.fieldPath ?? ''),
    wide('Source', 'Who reported it.', (event) => {
      const { component = '', host } = printed(event).source
      return host === undefined ? component : `${component}, ${host}`
    }),
    text('Message', 'What happened.', (event) => (printed(event).message ?? '').trim()),
    wide('First Seen', 'Time since it first happened.', (event, { nowMs }) => age(printed(event).first, nowMs)),
    { name: 'Count', type: 'integer', priority: 1, description: 'How often it happened.', cell: (event: O) => printed(event).times },
    wide('Name', nameColumn.description, (event) => printed(event).name),
  ]
}

export const eventTable = defineTable(Event, columns(printedCore))
export const eventsEventTable = defineTable(EventsEvent, columns(printedView))
