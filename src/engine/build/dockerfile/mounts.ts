/** `RUN --mount=type=…`: https://docs.docker.com/reference/dockerfile/#run---mount */
import { nearest, syntaxFault, type Place } from './fault.ts'

export interface FileRights {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export type RunMount =
  | { readonly type: 'bind'; readonly target: string; readonly from?: string; readonly source: string; readonly writable: boolean }
  | ({ readonly type: 'cache'; readonly target: string; readonly id: string; readonly from?: string; readonly source: string; readonly readonly: boolean; readonly sharing: 'shared' | 'private' | 'locked' } & FileRights)
  | { readonly type: 'tmpfs'; readonly target: string; readonly readonly: boolean; readonly sizeBytes?: number }
  /** `target`: undefined where it is wanted as a variable only. */
  | ({ readonly type: 'secret'; readonly id: string; readonly target: string | undefined; readonly env: string | undefined; readonly required: boolean } & FileRights)
  | ({ readonly type: 'ssh'; readonly id: string; readonly target: string; readonly required: boolean } & FileRights)

/** A mount as written: variables in it are replaced where the command runs, but never in `from`, which says what must be built before. */
export interface MountText {
  readonly text: string
  readonly from: string | undefined
}

const aliases: Readonly<Record<string, string>> = { dst: 'target', destination: 'target', src: 'source', ro: 'readonly', rw: 'readwrite' }
const known = ['type', 'target', 'source', 'from', 'readonly', 'readwrite', 'id', 'sharing', 'mode', 'uid', 'gid', 'size', 'required', 'env']
const switches = ['readonly', 'readwrite', 'required']
const types = ['bind', 'cache', 'tmpfs', 'secret', 'ssh']

/** Checks what can be checked before variables have values. */
export function mountText(text: string, at: Place, index: number): MountText {
  const from = fieldsOf(text, at, (word) => word).get('from')
  if (from !== undefined && /\$./.test(from)) throw syntaxFault(at, `RUN --mount=${text}: 'from' doesn't support variable expansion, define alias stage instead`)
  if (!text.includes('$')) parseMount(text, at, { index, expand: (word) => word })
  return { text, from: from === '' ? undefined : from }
}

export interface MountScope {
  /** Which of its instruction's mounts it is. */
  readonly index: number
  readonly expand: (word: string) => string
}

export function parseMount(text: string, at: Place, { index, expand }: MountScope): RunMount {
  const fields = fieldsOf(text, at, expand)
  const mount = new Fields(fields, text, at)
  const type = fields.get('type')?.toLowerCase() ?? 'bind'
  mount.refuseForeign(type)
  if (type === 'secret' || type === 'ssh') return parseLoan(type, mount, index)
  const target = fields.get('target')
  if (target === undefined || target === '') throw syntaxFault(at, `RUN --mount=${text} has no target; expected target=/path`)
  const from = fields.get('from') || undefined
  const source = fields.get('source') ?? '/'
  switch (type) {
    case 'bind':
      return { type, target, from, source, writable: mount.isWritable(false) }
    case 'cache': {
      const sharing = fields.get('sharing')?.toLowerCase() ?? 'shared'
      if (sharing !== 'shared' && sharing !== 'private' && sharing !== 'locked') throw syntaxFault(at, `RUN --mount=${text}: sharing=${sharing} is unknown; expected shared, private or locked`)
      return { type, target, id: fields.get('id') || target.replace(/(?<=.)\/+$/, ''), from, source, readonly: !mount.isWritable(true), sharing, ...mount.rights(0o755) }
    }
    case 'tmpfs':
      return { type, target, readonly: !mount.isWritable(true), sizeBytes: mount.bytes('size') }
    default: {
      const meant = nearest(type, types)
      throw syntaxFault(at, `RUN --mount=type=${type} is not supported; ${meant === undefined ? `expected ${types.join(', ')}` : `did you mean ${meant}?`}`)
    }
  }
}

function fieldsOf(text: string, at: Place, expand: (word: string) => string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const part of csvFields(text)) {
    const equals = part.indexOf('=')
    const written = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase()
    const name = aliases[written] ?? written
    if (!known.includes(name)) {
      const meant = nearest(written, [...known, ...Object.keys(aliases)])
      throw syntaxFault(at, `RUN --mount has an unknown field '${written}' in '${text}'; ${meant === undefined ? `expected ${known.join(', ')}` : `did you mean ${meant}?`}`)
    }
    if (equals < 0 && !switches.includes(name)) throw syntaxFault(at, `RUN --mount=${text}: '${written}' has no value; expected ${written}=VALUE`)
    fields.set(name, equals < 0 ? 'true' : expand(part.slice(equals + 1)))
  }
  return fields
}

/** Fields with commas stand in double quotes. */
function csvFields(text: string): string[] {
  return [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '')
}

class Fields {
  readonly #fields: ReadonlyMap<string, string>
  readonly #text: string
  readonly #at: Place

  constructor(fields: ReadonlyMap<string, string>, text: string, at: Place) {
    this.#fields = fields
    this.#text = text
    this.#at = at
  }

  get(name: string): string | undefined {
    return this.#fields.get(name)
  }

  fault(message: string): Error {
    return syntaxFault(this.#at, `RUN --mount=${this.#text}: ${message}`)
  }

  /** Fields that other types have. */
  refuseForeign(type: string): void {
    const only: readonly (readonly [readonly string[], readonly string[]])[] = [
      [['mode', 'uid', 'gid'], ['secret', 'ssh', 'cache']], [['size'], ['tmpfs']], [['required'], ['secret', 'ssh']], [['sharing'], ['cache']], [['env'], ['secret']],
    ]
    for (const [names, owners] of only) for (const name of names) if (this.#fields.has(name) && !owners.includes(type)) throw this.fault(`${name} is not for mounts of type ${type}; expected with ${owners.join(', ')}`)
    if (type === 'secret' && this.#fields.has('from')) throw this.fault('a secret has no from')
  }

  yes(name: string): boolean | undefined {
    const value = this.#fields.get(name)
    if (value === undefined) return undefined
    if (value === 'true' || value === '1') return true
    if (value === 'false' || value === '0') return false
    throw this.fault(`${name}=${value} is neither true nor false`)
  }

  isWritable(otherwise: boolean): boolean {
    const readonly = this.yes('readonly')
    return this.yes('readwrite') ?? (readonly === undefined ? otherwise : !readonly)
  }

  number(name: string, otherwise: number, base: 8 | 10 = 10): number {
    const value = this.#fields.get(name)
    if (value === undefined) return otherwise
    const parsed = (base === 8 ? /^[0-7]{1,5}$/ : /^[0-9]{1,10}$/).test(value) ? Number.parseInt(value, base) : Number.NaN
    if (!(parsed <= 0xfffffffe)) throw this.fault(`${name}=${value} is no number`)
    return parsed
  }

  /** `64m`, `1GiB`. */
  bytes(name: string): number | undefined {
    const value = this.#fields.get(name)
    if (value === undefined) return undefined
    const match = /^(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)i?b?$/i.exec(value)
    if (match === null) throw this.fault(`${name}=${value} is no size; expected e.g. 64m`)
    return Math.floor(Number(match[1]) * 1024 ** ' kmgt'.indexOf((match[2] || ' ').toLowerCase()))
  }

  rights(mode: number): FileRights {
    return { mode: this.number('mode', mode, 8), uid: this.number('uid', 0), gid: this.number('gid', 0) }
  }
}

/** What the client lends: its id is the target's name, and the other way round. */
function parseLoan(type: 'secret' | 'ssh', mount: Fields, index: number): RunMount {
  const target = mount.get('target') || undefined
  const required = mount.yes('required') ?? false
  if (type === 'ssh') return { type, id: mount.get('id') || 'default', target: target ?? `/run/buildkit/ssh_agent.${index}`, required, ...mount.rights(0o600) }
  if (mount.get('source') !== undefined && mount.get('id') !== undefined) throw mount.fault("both source and id can't be set")
  const id = mount.get('source') || mount.get('id') || target?.split('/').at(-1)
  if (id === undefined || id === '') throw mount.fault('neither id nor target is given')
  const env = mount.get('env') || undefined
  return { type, id, target: target ?? (env === undefined ? `/run/secrets/${id.split('/').at(-1) ?? id}` : undefined), env, required, ...mount.rights(0o400) }
}
