/** `RUN --mount=type=…`: https://docs.docker.com/reference/dockerfile/#run---mount */
import { syntaxFault, type Place } from './fault.ts'

export type RunMount =
  | { readonly type: 'bind'; readonly target: string; readonly from?: string; readonly source: string; readonly writable: boolean }
  | { readonly type: 'cache'; readonly target: string; readonly id: string; readonly from?: string; readonly source: string; readonly readonly: boolean; readonly sharing: 'shared' | 'private' | 'locked'; readonly mode: number; readonly uid: number; readonly gid: number }
  | { readonly type: 'tmpfs'; readonly target: string; readonly sizeBytes?: number }
  /** `target`: undefined where it is wanted as a variable only. */
  | { readonly type: 'secret'; readonly id: string; readonly target: string | undefined; readonly env: string | undefined; readonly required: boolean; readonly mode: number; readonly uid: number; readonly gid: number }
  | { readonly type: 'ssh'; readonly id: string; readonly target: string; readonly required: boolean; readonly mode: number; readonly uid: number; readonly gid: number }

const aliases: Readonly<Record<string, string>> = { dst: 'target', destination: 'target', src: 'source', ro: 'readonly', rw: 'readwrite' }
const known = ['type', 'target', 'source', 'from', 'readonly', 'readwrite', 'id', 'sharing', 'mode', 'uid', 'gid', 'size', 'required', 'env']

/** `index`: which of its instruction's mounts it is. */
export function parseMount(text: string, at: Place, index = 0): RunMount {
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
  if (type === 'secret' || type === 'ssh') return parseLoan(type, fields, { text, at, index })
  if (target === undefined || target === '') throw syntaxFault(at, `RUN --mount=${text} has no target; expected target=/path`)
  const count = (name: string, otherwise: number, base = 10): number => numberOf(fields, name, { otherwise, base, text, at })
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
      throw syntaxFault(at, `RUN --mount=type=${type} is not supported; expected bind, cache, tmpfs, secret or ssh`)
  }
}

interface Written {
  readonly text: string
  readonly at: Place
}

function numberOf(fields: ReadonlyMap<string, string>, name: string, { otherwise, base = 10, text, at }: Written & { readonly otherwise: number; readonly base?: number }): number {
  const value = fields.get(name)
  if (value === undefined) return otherwise
  const parsed = /^[0-9]+$/.test(value) ? Number.parseInt(value, base) : Number.NaN
  if (!Number.isSafeInteger(parsed)) throw syntaxFault(at, `RUN --mount=${text}: ${name}=${value} is no number`)
  return parsed
}

/** What the client lends: its id is the target's name, and the other way round. */
function parseLoan(type: 'secret' | 'ssh', fields: ReadonlyMap<string, string>, { text, at, index }: Written & { readonly index: number }): RunMount {
  const target = fields.get('target') || undefined
  const required = fields.get('required') ?? 'false'
  if (required !== 'true' && required !== 'false') throw syntaxFault(at, `RUN --mount=${text}: required=${required} is neither true nor false`)
  const rights = (mode: number): { readonly mode: number; readonly uid: number; readonly gid: number } => ({
    mode: numberOf(fields, 'mode', { otherwise: mode, base: 8, text, at }), uid: numberOf(fields, 'uid', { otherwise: 0, text, at }), gid: numberOf(fields, 'gid', { otherwise: 0, text, at }),
  })
  if (type === 'ssh') return { type, id: fields.get('id') || 'default', target: target ?? `/run/buildkit/ssh_agent.${index}`, required: required === 'true', ...rights(0o600) }
  const id = fields.get('id') || target?.split('/').at(-1)
  if (id === undefined || id === '') throw syntaxFault(at, `RUN --mount=${text} has neither id nor target`)
  const env = fields.get('env') || undefined
  return { type, id, target: target ?? (env === undefined ? `/run/secrets/${id}` : undefined), env, required: required === 'true', ...rights(0o400) }
}
