/**
 * Filters of `DiskUsage` and `Prune` in containerd's words (containerd `pkg/filters`): a field that holds, `field==value`,
 * `field!=value`, `field~=pattern`; all of one filter, joined by commas, and any of several.
 */
import { Fault } from '#base/fault.ts'
import type { BuildCacheEntry } from '../http/backend.ts'

type Field = string | boolean

const fields: Readonly<Record<string, (entry: BuildCacheEntry) => Field>> = {
  id: ({ id }) => id,
  parents: ({ parentId }) => parentId,
  description: ({ description }) => description,
  type: ({ type }) => type,
  inuse: ({ inUse }) => inUse,
  shared: ({ shared }) => shared,
  private: ({ shared }) => !shared,
  mutable: (entry) => isMutable(entry),
  immutable: (entry) => !isMutable(entry),
}

/** Builds write into the folders that they keep, never into a step's layer. */
export function isMutable({ type }: Pick<BuildCacheEntry, 'type'>): boolean {
  return type !== 'regular'
}

/** Undefined: everything is meant. */
export function cacheFilter(filters: readonly string[]): ((entry: BuildCacheEntry) => boolean) | undefined {
  // One without a word holds for everything.
  if (filters.every((filter) => filter.trim() === '')) return undefined
  const alternatives = filters.map((filter) => filter.split(',').map((part) => part.trim()).filter((part) => part !== '').map(testOf))
  return (entry) => alternatives.some((tests) => tests.every((test) => test(entry)))
}

function testOf(text: string): (entry: BuildCacheEntry) => boolean {
  const match = /^([a-z]+)(?:(==|!=|~=)(.*))?$/s.exec(text)
  const read = fields[match?.[1] ?? '']
  if (match === null || read === undefined) throw new Fault('invalidArgument', `invalid filter ${text}: expected one of ${Object.keys(fields).join(', ')}, alone or with ==, != or ~= and a value`)
  const [, , operator, quoted = ''] = match
  const value = quoted.replace(/^(["'])(.*)\1$/s, '$2')
  switch (operator) {
    case '==':
      return (entry) => String(read(entry)) === value
    case '!=':
      return (entry) => String(read(entry)) !== value
    case '~=': {
      const pattern = expression(value)
      return (entry) => pattern.test(String(read(entry)))
    }
    default:
      return (entry) => read(entry) !== false && read(entry) !== ''
  }
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new Fault('invalidArgument', `invalid filter: ${text} is no regular expression`, { cause: error })
  }
}
