/** Containers by what users write: id, name, the beginning of an id, or `PARENT/ALIAS`, the name of a link. */
import { Fault } from '#base/fault.ts'
import type { Entry } from './entry.ts'
import { linksOf } from './legacy-links.ts'

export interface Directory {
  readonly entries: ReadonlyMap<string, Entry>
  /** Names → ids. */
  readonly names: ReadonlyMap<string, string>
}

export function findEntry(ref: string, directory: Directory): Entry {
  const bare = ref.startsWith('/') ? ref.slice(1) : ref
  const entry = exactly(bare, directory) ?? linkNamed(bare, directory)?.child ?? byPrefix(bare, directory)
  if (entry === undefined) throw new Fault('notFound', `No such container: ${ref}`)
  return entry
}

/** The link that `PARENT/ALIAS` names. */
export function findLink(ref: string, directory: Directory): { readonly parent: Entry; readonly alias: string } {
  const link = linkNamed(ref.replace(/^\//, ''), directory)
  if (link !== undefined) return link
  const { record } = findEntry(ref, directory)
  throw new Fault('internal', `Conflict, cannot remove the default link name of the container ${record.name}`)
}

function exactly(bare: string, { entries, names }: Directory): Entry | undefined {
  return entries.get(bare) ?? entries.get(names.get(bare) ?? '')
}

function linkNamed(bare: string, directory: Directory): { readonly parent: Entry; readonly alias: string; readonly child: Entry } | undefined {
  const [name = '', alias = ''] = bare.split('/')
  const parent = alias === '' ? undefined : exactly(name, directory)
  const link = parent === undefined ? undefined : linksOf(parent).find((each) => each.alias === alias)
  const child = directory.entries.get(link?.containerId ?? '')
  return parent === undefined || child === undefined ? undefined : { parent, alias, child }
}

function byPrefix(bare: string, { entries }: Directory): Entry | undefined {
  if (!/^[0-9a-f]+$/.test(bare)) return undefined
  const [id = '', ...others] = [...entries.keys()].filter((each) => each.startsWith(bare))
  if (others.length > 0) throw new Fault('invalidArgument', `Multiple IDs found with provided prefix: ${bare}`)
  return entries.get(id)
}
