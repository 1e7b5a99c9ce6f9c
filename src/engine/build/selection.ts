/**
 * What the flags of COPY and ADD leave of a source: `--parents` keeps the folders above what a pattern matches, `--exclude` takes out.
 * Reference: https://docs.docker.com/reference/dockerfile/#copy---parents
 */
import { PathPatterns } from '#base/path-patterns.ts'
import type { Selected, TreeEntry } from './tree.ts'

export interface SelectionFlags {
  readonly parents: boolean
  /** Patterns of bytes, as an ignore file's. */
  readonly exclude: readonly string[]
}

export const wholeSelection: SelectionFlags = { parents: false, exclude: [] }

/** A source of `--parents`, as bytes: the folders that are not kept, and the pattern of what is taken below them. */
export function splitAtPivot(source: string): { readonly pivot: string; readonly pattern: string } {
  const at = source.indexOf('/./')
  return at < 0 ? { pivot: '', pattern: trimmed(source) } : { pivot: source.slice(0, at), pattern: trimmed(source.slice(at + 2)) }
}

/** `a/./b/` is `a/b`, relative to the pivot. */
function trimmed(pattern: string): string {
  return pattern.split('/').filter((part) => part !== '' && part !== '.').join('/')
}

export function hasWildcards(source: string): boolean {
  return /(?<!\\)(?:\\\\)*[*?[]/.test(source)
}

/** Says of a path below a source whether it is taken. */
export function keeperOf(flags: SelectionFlags, pattern: string | undefined): (path: string) => boolean {
  const include = pattern === undefined || pattern === '' ? undefined : new PathPatterns([pattern])
  const exclude = new PathPatterns(flags.exclude)
  return (path) => (include === undefined || include.matches(path)) && !exclude.matches(path)
}

/** Entries of a folder, itself first, that are taken, and the folders above them. */
export function keptEntries(entries: readonly TreeEntry[], keeps: (path: string) => boolean): readonly TreeEntry[] {
  const kept = new Set<string>([''])
  for (const { path } of entries) {
    if (path === '' || !keeps(path)) continue
    for (let each = path; !kept.has(each); each = each.slice(0, Math.max(0, each.lastIndexOf('/')))) kept.add(each)
  }
  return entries.filter(({ path }) => kept.has(path))
}

/** What is left of a source's matches. A file stands for itself by its name. */
export function restricted(selected: readonly Selected[], flags: SelectionFlags, pattern?: string): readonly Selected[] {
  if (!flags.parents && flags.exclude.length === 0) return selected
  const keeps = keeperOf(flags, pattern)
  return selected.flatMap(({ name, entries }): readonly Selected[] => {
    if (entries[0]?.type !== 'directory') return !flags.parents && keeps(name) ? [{ name, entries }] : []
    const kept = keptEntries(entries, keeps)
    return flags.parents && kept.length === 1 ? [] : [{ name, entries: kept }]
  })
}
