/** The `filters` query parameter: `{"label":["a=b"],"status":["exited"]}`, or with old clients `{"label":{"a=b":true}}`. */
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'

export type Filters = ReadonlyMap<string, readonly string[]>

/** Keys that are not `known` are refused; without such a list every key is taken. */
export function parseFilters(query: URLSearchParams, known: readonly string[] | undefined): Filters {
  const text = query.get('filters')
  const filters = new Map<string, readonly string[]>()
  if (text === null || text === '') return filters
  const parsed = parseJson(text, "query parameter 'filters'")
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new Fault('invalidArgument', 'invalid filter')
  for (const [key, value] of Object.entries(parsed)) {
    if (known !== undefined && !known.includes(key)) throw new Fault('invalidArgument', `invalid filter '${key}'`)
    filters.set(key, valuesOf(value))
  }
  return filters
}

function valuesOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((item) => typeof item === 'string')
  if (typeof value === 'object' && value !== null) return Object.entries(value).flatMap(([name, on]) => (on === true ? [name] : []))
  throw new Fault('invalidArgument', 'invalid filter')
}

/** True where the key is not filtered, or one of its values holds. */
export function anyOf(filters: Filters, key: string, holds: (value: string) => boolean): boolean {
  const values = filters.get(key)
  return values === undefined || values.length === 0 || values.some(holds)
}

/** Labels must all hold. */
export function labelsMatch(filters: Filters, labels: Readonly<Record<string, string>>, key = 'label'): boolean {
  return (filters.get(key) ?? []).every((wanted) => hasLabel(labels, wanted))
}

function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const equals = wanted.indexOf('=')
  const name = equals < 0 ? wanted : wanted.slice(0, equals)
  return Object.hasOwn(labels, name) && (equals < 0 || labels[name] === wanted.slice(equals + 1))
}

/** A boolean filter such as `dangling=true`; undefined where it is not given. */
export function booleanFilter(filters: Filters, key: string): boolean | undefined {
  const value = filters.get(key)?.[0]
  if (value === undefined) return undefined
  if (['1', 'true'].includes(value.toLowerCase())) return true
  if (['0', 'false'].includes(value.toLowerCase())) return false
  throw new Fault('invalidArgument', `invalid filter '${key}=[${value}]'`)
}
