/** `RUN --mount=type=…`: https://docs.docker.com/reference/dockerfile/#run---mount */
import { syntaxFault, type Place } from './fault.ts'

export type RunMount =
  | { readonly type: 'bind'; readonly target: string; readonly from?: string; readonly source: string; readonly writable: boolean }
  | { readonly type: 'cache'; readonly target: string; readonly id: string; readonly from?: string; readonly source: string; readonly readonly: boolean; readonly sharing: 'shared' | 'private' | 'locked'; readonly mode: number; readonly uid: number; readonly gid: number }
  | { readonly type: 'tmpfs'; readonly target: string; readonly sizeBytes?: number }

const aliases: Readonly<Record<string, string>> = { dst: 'target', destination: 'target', src: 'source', ro: 'readonly', rw: 'readwrite' }
const known = ['type', 'target', 'source', 'from', 'readonly', 'readwrite', 'id', 'sharing', 'mode', 'uid', 'gid', 'size']

export function parseMount(text: string, at: Place): RunMount {
  const fields = new Map<string, string>()
  for (const part of text.split(',')) {
    const equals = part.indexOf('=')
    const written = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase()
    const name = aliases[written] ?? written
    if (!known.includes(name)) throw syntaxFault(at, `RUN --mount has an unknown field '${written}' in '${text}'; expected ${known.join(', ')}`)
    fields.set(name, equals < 0 ? 'true' : part.slice(equals + 1))
  }
  const type = fields.get('type') ?? 'bind'
  const target = fields.get('target')
  if (target === undefined || target === '') throw syntaxFault(at, `RUN --mount=${text} has no target; expected target=/path`)
  const count = (name: string, otherwise: number, base = 10): number => {
    const value = fields.get(name)
    if (value === undefined) return otherwise
    const parsed = /^[0-9]+$/.test(value) ? Number.parseInt(value, base) : Number.NaN
    if (!Number.isSafeInteger(parsed)) throw syntaxFault(at, `RUN --mount=${text}: ${name}=${value} is no number`)
    return parsed
  }
  const from = fields.get('from')
  const source = fields.get('source') ?? '/'
  switch (type) {
    case 'bind':
      return { type, target, from, source, writable: fields.get('readwrite') === 'true' || fields.get('readonly') === 'false' }
    case 'cache': {
      const sharing = fields.get('sharing') ?? 'shared'
      if (sharing !== 'shared' && sharing !== 'private' && sharing !== 'locked') throw syntaxFault(at, `RUN --mount=${text}: sharing=${sharing} is unknown; expected shared, private or locked`)
      return { type, target, id: fields.get('id') ?? target, from, source, readonly: fields.get('readonly') === 'true', sharing, mode: count('mode', 0o755, 8), uid: count('uid', 0), gid: count('gid', 0) }
    }
    case 'tmpfs':
      return { type, target, sizeBytes: fields.has('size') ? count('size', 0) : undefined }
    default:
      throw syntaxFault(at, `RUN --mount=type=${type} is not supported; expected bind, cache or tmpfs`)
  }
}
