/**
 * Serves kinds that are views of another (`#schema/view.ts`): wraps an Api so that what is asked of a view reads and writes the
 * stored objects behind it. Everything else passes through.
 */
import { isFault } from '#base/fault.ts'
import { isJsonObject, type JsonObject } from '#schema/json.ts'
import type { AnyKind, ViewOf } from '#schema/kind.ts'
import { shownBy, storedForm, storedSelector } from '#schema/view.ts'
import type { Api, Target } from './api.ts'
import type { WatchItem } from './cache.ts'
import { Entry, metaOf } from './entry.ts'
import { applyPatch } from './patch.ts'
import type { ListRequest } from './read.ts'
import type { Resource } from './resources.ts'
import { readBody, type WriteContext } from './submission.ts'

const patchAttempts = 5

/** One view over one stored resource. */
class View {
  readonly kind: AnyKind
  readonly resource: Resource
  readonly #viewOf: ViewOf
  /** One shown version per stored version: the bytes of both are made once. */
  readonly #shown = new WeakMap<Entry, Entry>()

  constructor(kind: AnyKind, viewOf: ViewOf, stored: Resource) {
    this.kind = kind
    this.resource = stored
    this.#viewOf = viewOf
  }

  show = (entry: Entry): Entry => {
    let known = this.#shown.get(entry)
    if (known === undefined) {
      known = new Entry(entry.key, shownBy(this.kind, this.#viewOf, entry.object), entry.revision)
      this.#shown.set(entry, known)
    }
    return known
  }

  item = (found: WatchItem): WatchItem => (found.type === 'BOOKMARK' ? found : { type: found.type, entry: this.show(found.entry) })

  there<T extends Target>(target: T): T {
    return { ...target, resource: this.resource }
  }

  request<T extends Pick<ListRequest, 'fieldSelector'>>(request: T): T {
    return { ...request, fieldSelector: storedSelector(this.#viewOf, request.fieldSelector) }
  }

  submitted(body: unknown, context: WriteContext): JsonObject {
    return storedForm(this.#viewOf, readBody(this.kind, body, context))
  }
}

function viewsOf({ resources }: Api): ReadonlyMap<Resource, View> {
  const views = new Map<Resource, View>()
  for (const resource of resources.all) {
    const { viewOf } = resource.kind
    if (viewOf !== undefined) views.set(resource, new View(resource.kind, viewOf, resources.need(viewOf.kind)))
  }
  return views
}

/** A patch speaks of the view; what it makes is written under the version that it was applied to, again while others are faster. */
async function patchThrough(api: Api, view: View, target: Parameters<Api['patch']>[0], patch: Parameters<Api['patch']>[1], context: WriteContext): Promise<Entry> {
  const namesVersion = isJsonObject(patch.body) && isJsonObject(patch.body['metadata']) && patch.body['metadata']['resourceVersion'] !== undefined
  for (let attempt = 1; ; attempt += 1) {
    const current = view.show(await api.get(view.there(target))).object
    const next = applyPatch(view.kind, current, patch.body, patch.type)
    try {
      return view.show(await api.update(view.there(target), view.submitted(next, context), context))
    } catch (error) {
      const lostRace = isFault(error, 'conflict') && isJsonObject(next) && metaOf(next).resourceVersion === metaOf(current).resourceVersion
      if (!lostRace || namesVersion || attempt === patchAttempts) throw error
    }
  }
}

export function withViews(api: Api): Api {
  const views = viewsOf(api)
  return {
    ...api,
    async get(target, resourceVersion) {
      const view = views.get(target.resource)
      return view === undefined ? api.get(target, resourceVersion) : view.show(await api.get(view.there(target), resourceVersion))
    },
    async list(resource, request) {
      const view = views.get(resource)
      if (view === undefined) return api.list(resource, request)
      const list = await api.list(view.resource, view.request(request))
      return { ...list, entries: list.entries.map(view.show) }
    },
    async watch(resource, request) {
      const view = views.get(resource)
      if (view === undefined) return api.watch(resource, request)
      const batches = await api.watch(view.resource, view.request(request))
      return (async function* () {
        for await (const items of batches) yield items.map(view.item)
      })()
    },
    async create(resource, namespace, body, context) {
      const view = views.get(resource)
      return view === undefined ? api.create(resource, namespace, body, context) : view.show(await api.create(view.resource, namespace, view.submitted(body, context), context))
    },
    async update(target, body, context) {
      const view = views.get(target.resource)
      return view === undefined ? api.update(target, body, context) : view.show(await api.update(view.there(target), view.submitted(body, context), context))
    },
    async patch(target, patch, context) {
      const view = views.get(target.resource)
      return view === undefined ? api.patch(target, patch, context) : patchThrough(api, view, target, patch, context)
    },
    async apply(target, body, context) {
      const view = views.get(target.resource)
      if (view === undefined) return api.apply(target, body, context)
      const { entry, created } = await api.apply(view.there(target), view.submitted(body, context), context)
      return { entry: view.show(entry), created }
    },
    async delete(target, options, context) {
      const view = views.get(target.resource)
      if (view === undefined) return api.delete(target, options, context)
      const { entry, removed } = await api.delete(view.there(target), options, context)
      return { entry: view.show(entry), removed }
    },
    async deleteCollection(resource, request, options, context) {
      const view = views.get(resource)
      if (view === undefined) return api.deleteCollection(resource, request, options, context)
      return (await api.deleteCollection(view.resource, view.request(request), options, context)).map(view.show)
    },
  }
}
