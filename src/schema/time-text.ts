/** Times as the API writes them (RFC 3339, UTC): whole seconds for `Time`, six decimals for `MicroTime`. */

const pattern = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/

export interface ParsedTime {
  /** Seconds since the epoch. */
  readonly seconds: number
  readonly nanos: number
}

/** Undefined when the text is no RFC 3339 time. */
export function parseTime(text: string): ParsedTime | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const ms = Date.parse(`${match[1]}${match[3]}`)
  if (Number.isNaN(ms)) return undefined
  return { seconds: Math.floor(ms / 1000), nanos: Number((match[2] ?? '').slice(0, 9).padEnd(9, '0')) }
}

/** Finer digits are cut off, as upstream does. Throws `RangeError` beyond what a Date holds. */
export function formatTime({ seconds, nanos }: ParsedTime, precision: 'seconds' | 'micros'): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, -5)
  return precision === 'seconds' ? `${whole}Z` : `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z`
}

/** The canonical text, or undefined when it is no time. */
export function canonicalTime(text: string, precision: 'seconds' | 'micros'): string | undefined {
  const parsed = parseTime(text)
  return parsed === undefined ? undefined : formatTime(parsed, precision)
}
