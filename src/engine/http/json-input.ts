/**
 * Reading JSON that a client sent. Each accessor answers a typed value or the default where the field is absent or null, and refuses
 * another type by its path (`HostConfig.Memory`). Docker's clients send null for what they do not set.
 */
import { Fault } from '#base/fault.ts'

export class JsonInput {
  readonly #fields: ReadonlyMap<string, unknown>
  #folded: ReadonlyMap<string, unknown> | undefined
  readonly path: string

  constructor(fields: ReadonlyMap<string, unknown>, path: string) {
    this.#fields = fields
    this.path = path
  }

  static of(value: unknown, path: string): JsonInput {
    if (value === undefined || value === null) return new JsonInput(new Map(), path)
    if (typeof value !== 'object' || Array.isArray(value)) throw new Fault('invalidArgument', `${path || 'the body'} must be a JSON object`)
    return new JsonInput(new Map(Object.entries(value)), path)
  }

  #where(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }

  #refuse(name: string, wanted: string): never {
    throw new Fault('invalidArgument', `${this.#where(name)} must be ${wanted}`)
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined
  }

  keys(): string[] {
    return [...this.#fields.keys()]
  }

  /** Go's JSON reader, whose habits clients know, takes field names in any case where none fits exactly. */
  raw(name: string): unknown {
    if (this.#fields.has(name)) return this.#fields.get(name) ?? undefined
    this.#folded ??= new Map([...this.#fields].map(([key, value]) => [key.toLowerCase(), value]))
    return this.#folded.get(name.toLowerCase()) ?? undefined
  }

  string(name: string): string | undefined {
    const value = this.raw(name)
    if (value === undefined || typeof value === 'string') return value
    return this.#refuse(name, 'a string')
  }

  number(name: string): number | undefined {
    const value = this.raw(name)
    if (value === undefined || typeof value === 'number') return value
    return this.#refuse(name, 'a number')
  }

  boolean(name: string): boolean | undefined {
    const value = this.raw(name)
    if (value === undefined || typeof value === 'boolean') return value
    return this.#refuse(name, 'true or false')
  }

  object(name: string): JsonInput {
    return JsonInput.of(this.raw(name), this.#where(name))
  }

  array(name: string): readonly unknown[] | undefined {
    const value = this.raw(name)
    if (value === undefined || Array.isArray(value)) return value
    return this.#refuse(name, 'a list')
  }

  objects(name: string): readonly JsonInput[] {
    return (this.array(name) ?? []).map((value, index) => JsonInput.of(value, `${this.#where(name)}[${index}]`))
  }

  strings(name: string): readonly string[] | undefined {
    const value = this.array(name)
    if (value === undefined) return undefined
    const strings: string[] = []
    for (const item of value) {
      if (typeof item !== 'string') return this.#refuse(name, 'a list of strings')
      strings.push(item)
    }
    return strings
  }

  /** A command: a list, or one string. */
  command(name: string): readonly string[] | undefined {
    const value = this.raw(name)
    return typeof value === 'string' ? [value] : this.strings(name)
  }

  stringMap(name: string): Readonly<Record<string, string>> | undefined {
    if (!this.has(name)) return undefined
    const map: Record<string, string> = Object.create(null)
    const inner = this.object(name)
    for (const key of inner.keys()) map[key] = inner.string(key) ?? ''
    return map
  }
}

/**
 * Go's JSON decoder, which dockerd reads bodies with, takes one value and then asks whether another begins: closing brackets too
 * many, and what follows them, go unnoticed. Clients send such bodies, and never learn it.
 */
export function withoutClosers(bytes: Buffer): Buffer {
  const end = endOfValue(bytes)
  return /^[ \t\r\n]*[\]}]/.test(bytes.toString('latin1', end)) ? bytes.subarray(0, end) : bytes
}

/** Where a first object or list ends; the whole length where it does not, or where there is none. */
function endOfValue(bytes: Buffer): number {
  const [quote, backslash, openers, closers] = [0x22, 0x5c, [0x7b, 0x5b], [0x7d, 0x5d]] as const
  let depth = 0
  let isInString = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (isInString && byte === backslash) at++
    else if (byte === quote) isInString = !isInString
    else if (isInString) continue
    else if (openers.some((opener) => opener === byte)) depth++
    else if (closers.some((closer) => closer === byte) && --depth === 0) return at + 1
  }
  return bytes.length
}

export function queryBoolean(query: URLSearchParams, name: string, otherwise = false): boolean {
  const value = query.get(name)
  if (value === null) return otherwise
  return !['', '0', 'no', 'false', 'none'].includes(value.toLowerCase())
}

export function queryNumber(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name)
  if (value === null || value === '') return undefined
  const number = Number(value)
  if (!Number.isFinite(number)) throw new Fault('invalidArgument', `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`)
  return number
}

/** Docker's times: seconds since the epoch with up to nine decimals (`1795410834.008`), or RFC 3339. */
export function queryTimeNs(query: URLSearchParams, name: string): bigint | undefined {
  const value = query.get(name)
  if (value === null || value === '' || value === '0') return undefined
  const match = /^(\d+)(?:\.(\d{1,9}))?$/.exec(value)
  if (match !== null) return BigInt(match[1] ?? '0') * 1_000_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'))
  const ms = Date.parse(value)
  if (Number.isNaN(ms)) throw new Fault('invalidArgument', `'${name}' must be seconds since 1970 or an RFC 3339 time, not ${JSON.stringify(value)}`)
  return BigInt(ms) * 1_000_000n
}
