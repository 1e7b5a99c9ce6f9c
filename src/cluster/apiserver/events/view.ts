/**
 * Events have two faces: they are stored as core/v1 and also served as events.k8s.io/v1 (`cluster/api/index.ts`, `eventViews`). This
 * wraps an Api so that the second face reads and writes the stored objects of the first.
 */
import { isJsonObject, type JsonObject } from '#schema/json.ts'
import { Event } from '../../api/core/v1/event.ts'
import { Event as EventView } from '../../api/events/v1/event.ts'
import type { Api, Target } from '../api.ts'
import type { WatchItem } from '../cache.ts'
import { Entry } from '../entry.ts'
import { applyPatch } from '../patch.ts'
import type { Resource } from '../resources.ts'
import { defaulted, readBody, type WriteContext } from '../submission.ts'

/** What the view calls otherwise: view field → stored field. */
const renamed: readonly (readonly [string, string])[] = [
  ['regarding', 'involvedObject'],
  ['note', 'message'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
  ['reportingController', 'reportingComponent'],
]
const toStoredName = new Map(renamed)
const toViewName = new Map(renamed.map(([view, stored]) => [stored, view]))

function withNames(object: JsonObject, names: ReadonlyMap<string, string>): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [names.get(key) ?? key, value]))
}

function stored(view: JsonObject): JsonObject {
  return { ...withNames(view, toStoredName), apiVersion: Event.apiVersion, kind: Event.kind }
}

function viewed(object: JsonObject): JsonObject {
  return defaulted(EventView, withNames(object, toViewName))
}

/** `regarding.name=x` selects by `involvedObject.name=x`. */
function storedSelector(selector: string | undefined): string | undefined {
  return selector
    ?.split(',')
    .map((term) => term.replace(/^\s*([A-Za-z]+)/, (name) => toStoredName.get(name.trim()) ?? name))
    .join(',')
}

export function withEventView(api: Api): Api {
  const view = api.resources.find(EventView)
  const events = api.resources.find(Event)
  if (view === undefined || events === undefined) return api
  const shown = new WeakMap<Entry, Entry>()
  const show = (entry: Entry): Entry => {
    let known = shown.get(entry)
    if (known === undefined) {
      known = new Entry(entry.key, viewed(entry.object), entry.revision)
      shown.set(entry, known)
    }
    return known
  }
  const isView = (resource: Resource): boolean => resource === view
  const there = <T extends Target>(target: T): T => ({ ...target, resource: events })
  const submitted = (body: unknown, context: WriteContext): JsonObject => stored(readBody(EventView, body, context))
  const item = (found: WatchItem): WatchItem => (found.type === 'BOOKMARK' ? found : { type: found.type, entry: show(found.entry) })

  return {
    ...api,
    async get(target, resourceVersion) {
      return isView(target.resource) ? show(await api.get(there(target), resourceVersion)) : api.get(target, resourceVersion)
    },
    async list(resource, request) {
      if (!isView(resource)) return api.list(resource, request)
      const list = await api.list(events, { ...request, fieldSelector: storedSelector(request.fieldSelector) })
      return { ...list, entries: list.entries.map(show) }
    },
    async watch(resource, request) {
      if (!isView(resource)) return api.watch(resource, request)
      const batches = await api.watch(events, { ...request, fieldSelector: storedSelector(request.fieldSelector) })
      return (async function* () {
        for await (const items of batches) yield items.map(item)
      })()
    },
    async create(resource, namespace, body, context) {
      return isView(resource) ? show(await api.create(events, namespace, submitted(body, context), context)) : api.create(resource, namespace, body, context)
    },
    async update(target, body, context) {
      return isView(target.resource) ? show(await api.update(there(target), submitted(body, context), context)) : api.update(target, body, context)
    },
    async patch(target, patch, context) {
      if (!isView(target.resource)) return api.patch(target, patch, context)
      // The patch speaks of the view; guarded by the version that it was applied to.
      const current = await api.get(there(target))
      const next = applyPatch(EventView, show(current).object, patch.body, patch.type)
      return show(await api.update(there(target), submitted(isJsonObject(next) ? next : {}, context), context))
    },
    async apply(target, body, context) {
      if (!isView(target.resource)) return api.apply(target, body, context)
      const { entry, created } = await api.apply(there(target), submitted(body, context), context)
      return { entry: show(entry), created }
    },
    async delete(target, options, context) {
      if (!isView(target.resource)) return api.delete(target, options, context)
      const { entry, removed } = await api.delete(there(target), options, context)
      return { entry: show(entry), removed }
    },
    async deleteCollection(resource, request, options, context) {
      if (!isView(resource)) return api.deleteCollection(resource, request, options, context)
      return (await api.deleteCollection(events, { ...request, fieldSelector: storedSelector(request.fieldSelector) }, options, context)).map(show)
    },
  }
}
