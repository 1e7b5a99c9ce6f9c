/**
 * Server-side apply and the bookkeeping behind it (Kubernetes documentation, "Server-Side Apply"): each manager owns the
 * fields it set last. Applying over a field of another manager with another value is a conflict unless forced; what a
 * manager applied before and leaves out now goes, where nobody else owns it.
 */
import type { FaultCause } from '#base/fault.ts'
import { Fault } from '#base/fault.ts'
import { withDefaults } from './defaults.ts'
import type { FieldSet } from './field-set.ts'
import { compareFields, difference, emptySet, fieldSetOf, fromFieldsV1, intersection, isEmptySet, overlay, pathsOf, prune, toFieldsV1, unaddressableItems, union, withoutBranches } from './field-set.ts'
import type { Json, JsonObject } from './json.ts'
import { isJsonArray, isJsonObject } from './json.ts'
import type { AnyKind, StoredObject } from './kind.ts'
import type { ManagedFieldsEntry } from './object-meta.ts'

export interface ManagerOptions {
  /** Who makes the change (`fieldManager`). */
  readonly manager: string
  /** RFC 3339 seconds. */
  readonly now: string
  /** '' for the main resource. */
  readonly subresource?: string
}
export interface ApplyOptions extends ManagerOptions {
  readonly force: boolean
}

interface Managed {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource: string
  readonly time: string | undefined
  readonly set: FieldSet
}

/** What the server owns by itself never stands in a field set. */
const unowned: FieldSet = fromFieldsV1({
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': Object.fromEntries(['name', 'namespace', 'creationTimestamp', 'selfLink', 'uid', 'generation', 'managedFields', 'resourceVersion', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'generateName'].map((name) => [`f:${name}`, {}])),
})

function owned(set: FieldSet): FieldSet {
  const below = withoutBranches(set, unowned)
  const metadata = below.children.get('f:metadata')
  if (metadata === undefined || metadata.children.size > 0) return below
  return { ...below, children: new Map([...below.children].filter(([key]) => key !== 'f:metadata')) }
}

function readManaged(object: JsonObject | undefined): Managed[] {
  const metadata = object?.['metadata']
  const entries = isJsonObject(metadata) && isJsonArray(metadata['managedFields']) ? metadata['managedFields'] : []
  return entries.flatMap((entry) => {
    if (!isJsonObject(entry) || !isJsonObject(entry['fieldsV1'])) return []
    const text = (key: string): string => (typeof entry[key] === 'string' ? entry[key] : '')
    const operation = entry['operation'] === 'Apply' ? 'Apply' : 'Update'
    const time = text('time') === '' ? undefined : text('time')
    return [{ manager: text('manager'), operation, apiVersion: text('apiVersion'), subresource: text('subresource'), time, set: fromFieldsV1(entry['fieldsV1']) }]
  })
}

function writeManaged(managers: readonly Managed[]): ManagedFieldsEntry[] {
  const kept = managers.filter(({ set }) => !isEmptySet(set))
  const order = (entry: Managed): string => `${entry.operation === 'Apply' ? 0 : 1} ${entry.time ?? ''} ${entry.manager} ${entry.subresource}`
  return kept
    .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    .map(({ manager, operation, apiVersion, subresource, time, set }) => ({
      manager,
      operation,
      apiVersion,
      ...(time === undefined ? {} : { time }),
      fieldsType: 'FieldsV1',
      fieldsV1: toFieldsV1(set),
      ...(subresource === '' ? {} : { subresource }),
    }))
}

function isSame(entry: Managed, operation: Managed['operation'], { manager, subresource = '' }: ManagerOptions): boolean {
  return entry.manager === manager && entry.operation === operation && entry.subresource === subresource
}

function withManaged<O extends StoredObject>(object: O, managers: readonly Managed[]): O {
  const { managedFields: _old, ...metadata } = object.metadata
  const entries = writeManaged(managers)
  return { ...object, metadata: entries.length === 0 ? metadata : { ...metadata, managedFields: entries } }
}

/**
 * After a create, update or patch: `next` with its `managedFields` brought up to date. `previous` is the stored object,
 * undefined for a create; both are defaulted. Without a change the entries stay as they were.
 */
export function trackUpdate<O extends StoredObject>(kind: AnyKind, previous: StoredObject | undefined, next: O, options: ManagerOptions): O {
  const shape = kind.schema.facts.shape
  const { changed, removed } = compareOwned(kind, previous, next)
  const known = readManaged(previous as JsonObject | undefined)
  const others = known.filter((entry) => !isSame(entry, 'Update', options)).map((entry) => ({ ...entry, set: withoutBranches(difference(entry.set, changed), removed) }))
  const own = known.find((entry) => isSame(entry, 'Update', options))
  const kept = withoutBranches(own?.set ?? emptySet, removed)
  const set = previous === undefined ? owned(fieldSetOf(shape, next as unknown as Json)) : union(kept, changed)
  const time = isEmptySet(changed) && isEmptySet(removed) ? own?.time : options.now
  const mine: Managed = { manager: options.manager, operation: 'Update', apiVersion: kind.apiVersion, subresource: options.subresource ?? '', time: time ?? options.now, set }
  return withManaged(next, [...others, mine])
}

function compareOwned(kind: AnyKind, previous: StoredObject | undefined, next: StoredObject): { readonly changed: FieldSet; readonly removed: FieldSet } {
  const found = compareFields(kind.schema.facts.shape, previous as unknown as Json | undefined, next as unknown as Json)
  return { changed: owned({ ...found.changed, member: false }), removed: owned({ ...found.removed, member: false }) }
}

/**
 * The object that applying `applied` to `live` gives (defaulted, with `managedFields`), not yet validated. `live` is
 * undefined when the object does not exist. Throws `conflict` (409) naming every field that other managers own, and
 * `invalidArgument` when items of a keyed list cannot be told apart.
 */
export function applyConfiguration(kind: AnyKind, live: StoredObject | undefined, applied: JsonObject, options: ApplyOptions): StoredObject {
  const shape = kind.schema.facts.shape
  const unfit = unaddressableItems(shape, applied)
  if (unfit.length > 0) throw new Fault('invalidArgument', `the configuration cannot be applied: ${unfit.join('; ')}`)
  const managers = managersOfLive(kind, live)
  const set = owned(fieldSetOf(shape, applied))
  const before = managers.find((entry) => isSame(entry, 'Apply', options))
  const others = managers.filter((entry) => !isSame(entry, 'Apply', options))
  const merged = overlay(shape, live as unknown as Json | undefined, withoutManaged(applied))
  const abandoned = others.reduce((rest, entry) => difference(rest, entry.set), difference(before?.set ?? emptySet, set))
  const pruned = prune(shape, merged, unlessOwnedBelow(abandoned, others, set)) ?? {}
  const next = withDefaults(kind, pruned as JsonObject) as StoredObject
  const { changed, removed } = compareOwned(kind, live, next)
  const conflicts = others.map((entry) => ({ entry, fields: intersection(entry.set, intersection(changed, set)) })).filter(({ fields }) => !isEmptySet(fields))
  if (conflicts.length > 0 && !options.force) throw conflictFault(conflicts)
  const left = others.map((entry) => ({ ...entry, set: withoutBranches(difference(entry.set, intersection(changed, set)), removed) }))
  const unchanged = before !== undefined && isEmptySet(changed) && isEmptySet(removed) && isEmptySet(difference(set, before.set)) && isEmptySet(difference(before.set, set))
  const mine: Managed = { manager: options.manager, operation: 'Apply', apiVersion: kind.apiVersion, subresource: options.subresource ?? '', time: unchanged ? before.time : options.now, set }
  return withManaged(next, [...left, mine])
}

/** An object that was stored before anybody kept books belongs to one manager as it is. */
function managersOfLive(kind: AnyKind, live: StoredObject | undefined): Managed[] {
  const known = readManaged(live as JsonObject | undefined)
  if (live === undefined || known.length > 0) return known
  const set = owned(fieldSetOf(kind.schema.facts.shape, live as unknown as Json))
  return [{ manager: 'before-first-apply', operation: 'Update', apiVersion: kind.apiVersion, subresource: '', time: undefined, set }]
}

/** A list item or object that is abandoned stays while somebody owns a part of it. */
function unlessOwnedBelow(abandoned: FieldSet, others: readonly Managed[], applied: FieldSet): FieldSet {
  const owners = others.reduce((all, entry) => union(all, entry.set), applied)
  const visit = (gone: FieldSet, kept: FieldSet): FieldSet => ({
    member: gone.member && isEmptySet(kept),
    children: new Map([...gone.children].map(([key, child]) => [key, visit(child, kept.children.get(key) ?? emptySet)])),
  })
  return visit(abandoned, owners)
}

function withoutManaged(applied: JsonObject): JsonObject {
  const { metadata } = applied
  if (!isJsonObject(metadata)) return applied
  const { managedFields: _dropped, ...rest } = metadata
  return { ...applied, metadata: rest }
}

function conflictFault(conflicts: readonly { readonly entry: Managed; readonly fields: FieldSet }[]): Fault {
  const causes = conflicts.flatMap(({ entry, fields }) =>
    pathsOf(fields).map((field): FaultCause => {
      const since = entry.time === undefined ? '' : ` at ${entry.time}`
      return { reason: 'FieldManagerConflict', field, message: `conflict with "${entry.manager}"${entry.subresource === '' ? '' : ` with subresource "${entry.subresource}"`} using ${entry.apiVersion}${since}` }
    }),
  )
  const many = causes.length === 1 ? '1 conflict' : `${causes.length} conflicts`
  const lines = causes.map(({ message, field }) => `${message}: ${field}`)
  return new Fault('conflict', `Apply failed with ${many}: ${lines.join('; ')}`, { causes })
}
