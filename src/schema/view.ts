/**
 * Views: a kind that is not stored by itself but shows the objects of another kind, some of its fields under other names, so
 * that what one client writes through one group another reads through the other. Events are the case at hand: kept as
 * core/v1, shown by events.k8s.io/v1 as well. A kind says so with `viewOf`; the API server does the rest.
 */
import { withDefaults } from './defaults.ts'
import type { JsonObject } from './json.ts'
import type { AnyKind, ViewOf } from './kind.ts'

function renamed(object: JsonObject, names: ReadonlyMap<string, string>, { apiVersion, kind }: AnyKind): JsonObject {
  return { ...Object.fromEntries(Object.entries(object).map(([key, value]) => [names.get(key) ?? key, value])), apiVersion, kind }
}

/** A stored object as `view` shows it, with the view's own defaults. */
export function shownBy(view: AnyKind, { fieldNames }: ViewOf, stored: JsonObject): JsonObject {
  const viewNames = new Map(Object.entries(fieldNames).map(([viewName, storedName]) => [storedName, viewName]))
  return withDefaults<unknown, unknown>(view, renamed(stored, viewNames, view)) as JsonObject
}

/** An object written through a view, in the form it is stored in. */
export function storedForm({ kind, fieldNames }: ViewOf, view: JsonObject): JsonObject {
  return renamed(view, new Map(Object.entries(fieldNames)), kind)
}

/** A field selector on a view, as one on the stored kind: `regarding.name=x` → `involvedObject.name=x`. */
export function storedSelector({ fieldNames }: ViewOf, selector: string | undefined): string | undefined {
  return selector
    ?.split(',')
    .map((term) => term.replace(/^\s*([A-Za-z]+)/, (_, name: string) => (Object.hasOwn(fieldNames, name) ? fieldNames[name] : undefined) ?? name))
    .join(',')
}
