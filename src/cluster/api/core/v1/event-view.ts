/**
 * The two views of an event. Events are stored in the form of core/v1; events.k8s.io/v1 shows the same objects under other
 * field names, so that what one client writes through one group another reads through the other.
 */
import type { JsonObject, MutableJsonObject } from '#schema/json.ts'

/** core/v1 name → events.k8s.io/v1 name, where they differ. */
const renamed: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
]

function rename(object: JsonObject, names: ReadonlyMap<string, string>, apiVersion: string): JsonObject {
  const result: MutableJsonObject = {}
  for (const [key, value] of Object.entries(object)) result[names.get(key) ?? key] = value
  return { ...result, apiVersion }
}

const toView = new Map(renamed)
const toStored = new Map(renamed.map(([stored, view]): [string, string] => [view, stored]))

/** A stored event as events.k8s.io/v1 shows it. */
export function eventView(stored: JsonObject): JsonObject {
  return rename(stored, toView, 'events.k8s.io/v1')
}

/** An event written through events.k8s.io/v1, in the form it is stored in. */
export function storedEvent(view: JsonObject): JsonObject {
  return rename(view, toStored, 'v1')
}
