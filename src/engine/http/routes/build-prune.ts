/** What `POST /build/prune` asks for: bounds, and filters on what `GET /system/df` shows of the build cache (Engine API `BuildPrune`). */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { BuildCacheEntry, BuildPruneOptions } from '../backend.ts'
import type { Exchange } from '../exchange.ts'
import { parseFilters, type Filters } from '../filters.ts'
import { queryBoolean } from '../json-input.ts'
import { untilNs } from './containers.ts'

/** `label` and `label!` are taken and have no effect, as with BuildKit: steps have no labels. */
const known = ['description', 'id', 'inuse', 'label', 'label!', 'parent', 'private', 'shared', 'type', 'unused-for', 'until']

export function pruneOptionsOf({ query, backend, minorVersion }: Pick<Exchange, 'query' | 'minorVersion'> & { readonly backend: { readonly clock: Pick<Clock, 'nowNs'> } }): BuildPruneOptions {
  const filters = parseFilters(query, known)
  const until = untilOf(filters)
  const now = backend.clock.nowNs()
  const tests = Object.entries(fields).flatMap(([name, holds]) => (filters.has(name) ? [holds(oneOf(filters, name))] : []))
  const keepStorage = (): number => bytesOf(query, 'keep-storage')
  return {
    all: queryBoolean(query, 'all'),
    ...(tests.length === 0 ? {} : { matches: (entry: BuildCacheEntry) => tests.every((test) => test(entry)) }),
    ...(until === undefined ? {} : { unusedForMs: Number((now - untilNs(until, now)) / 1_000_000n) }),
    // The first name was given up for the second with 1.48.
    ...(minorVersion < 48 ? { reservedBytes: keepStorage() } : { reservedBytes: bytesOf(query, 'reserved-space') || keepStorage(), maxUsedBytes: bytesOf(query, 'max-used-space'), minFreeBytes: bytesOf(query, 'min-free-space') }),
  }
}

type Test = (entry: BuildCacheEntry) => boolean

/** A value, or none where the name alone was given. */
const fields: Readonly<Record<string, (value: string | undefined) => Test>> = {
  id: (value = '') => {
    const pattern = expression(value)
    return ({ id }) => pattern.test(id)
  },
  parent: (value) => ({ parentId }) => (value === undefined ? parentId !== '' : parentId === value),
  type: (value) => ({ type }) => value === undefined || type === value,
  description: (value) => ({ description }) => value === undefined || description === value,
  inuse: (value) => ({ inUse }) => inUse === truth(value),
  shared: (value) => ({ shared }) => shared === truth(value),
  private: (value) => ({ shared }) => !shared === truth(value),
}

function truth(value: string | undefined): boolean {
  return value === undefined || value === '' || ['1', 'true'].includes(value.toLowerCase())
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new Fault('invalidArgument', `invalid filter 'id=${text}': it is no regular expression`, { cause: error })
  }
}

function oneOf(filters: Filters, name: string): string | undefined {
  const [value, ...more] = filters.get(name) ?? []
  if (more.length > 0) throw new Fault('invalidArgument', 'filters expect only one value')
  return value
}

function untilOf(filters: Filters): string | undefined {
  if (filters.has('until') && filters.has('unused-for')) throw new Fault('invalidArgument', 'conflicting filters: "until" and "unused-for"')
  return oneOf(filters, filters.has('until') ? 'until' : 'unused-for')
}

function bytesOf(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? ''
  if (!/^[+-]?\d*$/.test(text)) throw new Fault('invalidArgument', `${name} is in bytes and expects an integer, got ${text}`)
  return Number(text)
}
