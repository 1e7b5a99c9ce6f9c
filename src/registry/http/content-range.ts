/** The two ranges of the registry: `Range: bytes=…` of downloads (RFC 9110) and `Content-Range: a-b` of upload chunks. */
import { Fault } from '#base/fault.ts'

export interface ByteRange {
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

/** One range of a download; undefined when there is none or when several are asked for (then the whole is sent). */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const match = /^bytes=([0-9]*)-([0-9]*)$/.exec(header?.trim() ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const first = match[1] === '' ? Math.max(0, sizeBytes - Number(match[2])) : Number(match[1])
  const last = match[1] === '' || match[2] === '' ? sizeBytes - 1 : Math.min(Number(match[2]), sizeBytes - 1)
  if (first > last || first >= sizeBytes) throw new Fault('rangeNotSatisfiable', `range '${header ?? ''}' is not inside the ${sizeBytes} bytes there are`, { details: { contentRange: `bytes */${sizeBytes}` } })
  return { start: first, end: last + 1 }
}

/** The range of an upload chunk, inclusive on the wire. A malformed one is `rangeNotSatisfiable`, as an out-of-order one. */
export function parseContentRange(header: string | undefined): ByteRange | undefined {
  if (header === undefined) return undefined
  const match = /^(?:bytes[ =])?([0-9]{1,15})-([0-9]{1,15})(?:\/(?:[0-9]+|\*))?$/.exec(header.trim())
  const start = Number(match?.[1])
  const end = Number(match?.[2]) + 1
  if (match === null || end <= start) throw new Fault('rangeNotSatisfiable', `Content-Range '${header}' is no range: expected first-last, such as 0-1023`)
  return { start, end }
}
