/**
 * Tables: how the server prints objects for `kubectl get` (Kubernetes reference, "Receiving resources as Tables").
 * Each kind's columns stand beside it in `*.table.ts`; priority 1 shows only with `-o wide`.
 */
import type { KindDefinition, StoredObject } from './kind.ts'

export type Cell = string | number | boolean | null

export interface TableContext {
  /** Wall clock, for ages. */
  readonly nowMs: number
}

export interface Column<O> {
  readonly name: string
  readonly type: 'string' | 'integer'
  readonly format?: 'name'
  readonly priority: 0 | 1
  readonly description: string
  cell(object: O, context: TableContext): Cell
}

export interface RowCondition {
  readonly type: 'Completed'
  readonly status: 'True'
  readonly reason: string
  readonly message: string
}

export interface KindTable<O> {
  readonly columns: readonly Column<O>[]
  /** Marks rows that clients may hide. */
  conditions?(object: O): readonly RowCondition[]
}
export type AnyTable = KindTable<StoredObject>

export function defineTable<I, O>(_kind: KindDefinition<I, O>, columns: readonly Column<O>[], conditions?: (object: O) => readonly RowCondition[]): KindTable<O> {
  return { columns, conditions }
}

type CellOf<O> = (object: O, context: TableContext) => Cell

export function text<O>(name: string, description: string, cell: CellOf<O>): Column<O> {
  return { name, type: 'string', priority: 0, description, cell }
}
export function wide<O>(name: string, description: string, cell: CellOf<O>): Column<O> {
  return { name, type: 'string', priority: 1, description, cell }
}
export function count<O>(name: string, description: string, cell: CellOf<O>): Column<O> {
  return { name, type: 'integer', priority: 0, description, cell }
}

export const nameColumn: Column<StoredObject> = {
  name: 'Name',
  type: 'string',
  format: 'name',
  priority: 0,
  description: 'Name of the object, unique within its namespace.',
  cell: ({ metadata }) => metadata.name,
}
export const ageColumn: Column<StoredObject> = text('Age', 'Time since the object was created.', ({ metadata }, { nowMs }) => age(metadata.creationTimestamp, nowMs))

/** For kinds without columns of their own. */
export const plainTable: AnyTable = { columns: [nameColumn, { ...ageColumn, name: 'Created At', description: 'When the object was created.', cell: ({ metadata }) => metadata.creationTimestamp }] }

/** `5m`, `3h20m`, `12d`; `<unknown>` without a time. */
export function age(since: string | undefined, nowMs: number): string {
  const then = since === undefined ? Number.NaN : Date.parse(since)
  return Number.isNaN(then) ? '<unknown>' : humanDuration(nowMs - then)
}

const ofTwo = (whole: number, unit: string, rest: number, restUnit: string): string => (rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${restUnit}`)

/** Durations as kubectl prints them: two units at most, fewer as they grow. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 0) return '0s'
  if (seconds < 120) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return ofTwo(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return ofTwo(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  if (hours < 24 * 8) return ofTwo(days, 'd', hours % 24, 'h')
  if (days < 365 * 2) return `${days}d`
  const years = Math.floor(days / 365)
  return days < 365 * 8 ? ofTwo(years, 'y', days % 365, 'd') : `${years}y`
}

/** What rows carry of the object: `Metadata` unless the client asks otherwise (`includeObject`). */
export type IncludeObject = 'None' | 'Metadata' | 'Object'

export interface TableOptions {
  readonly nowMs: number
  readonly includeObject: IncludeObject
  /** Metadata of the list; for watches, that of the one object. */
  readonly listMeta: object
  /** Columns are sent once per watch: false leaves their definitions out. */
  readonly withColumns: boolean
}

/** The `meta.k8s.io/v1` Table that answers a get, a list, or one watch event. */
export function renderTable(table: AnyTable, objects: readonly StoredObject[], options: TableOptions): object {
  const definitions = table.columns.map(({ name, type, format = '', description, priority }) => ({ name, type, format, description, priority }))
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.listMeta,
    columnDefinitions: options.withColumns ? definitions : null,
    rows: objects.map((object) => row(table, object, options)),
  }
}

function row(table: AnyTable, object: StoredObject, { nowMs, includeObject }: TableOptions): object {
  const cells = table.columns.map((column) => column.cell(object, { nowMs }))
  const conditions = table.conditions?.(object) ?? []
  const marked = conditions.length > 0 ? { cells, conditions } : { cells }
  if (includeObject === 'None') return { ...marked, object: null }
  if (includeObject === 'Object') return { ...marked, object }
  return { ...marked, object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata } }
}
