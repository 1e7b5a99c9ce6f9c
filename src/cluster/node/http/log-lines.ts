/**
 * Lines of a container log in CRI format (`2026-01-01T00:00:00.000000000Z stdout F text`) as `kubectl logs` wants them. Pure:
 * bytes in, bytes out. `P` marks a part of a line whose end is still to come.
 */

export interface LogFilter {
  readonly timestamps: boolean
  /** Lines before it are left out; RFC 3339 with any number of decimals. */
  readonly sinceMs?: number
  readonly stream?: 'stdout' | 'stderr'
}

/** One line without its newline; undefined when it is left out. Lines in another format are passed on as they are. */
export function renderLine(line: Buffer, filter: LogFilter, insideLine: boolean): { readonly text: Buffer; readonly partial: boolean } | undefined {
  const firstSpace = line.indexOf(0x20)
  const secondSpace = line.indexOf(0x20, firstSpace + 1)
  const thirdSpace = line.indexOf(0x20, secondSpace + 1)
  if (firstSpace < 20 || secondSpace < 0 || thirdSpace < 0) return { text: Buffer.concat([line, newline]), partial: false }
  const stream = line.toString('latin1', firstSpace + 1, secondSpace)
  if (filter.stream !== undefined && stream !== filter.stream) return undefined
  if (filter.sinceMs !== undefined && Date.parse(line.toString('latin1', 0, firstSpace)) < filter.sinceMs) return undefined
  const partial = line[secondSpace + 1] === 0x50
  const content = line.subarray(thirdSpace + 1)
  const parts = filter.timestamps && !insideLine ? [line.subarray(0, firstSpace + 1), content] : [content]
  return { text: Buffer.concat(partial ? parts : [...parts, newline]), partial }
}

const newline = Buffer.from('\n')

/** Where the last `lines` lines begin in the end of a file; 0 when it holds fewer. Parts count with the line they belong to. */
export function tailStart(end: Buffer, lines: number): number {
  let found = 0
  let at = end.length
  while (at > 0) {
    const start = end.lastIndexOf(0x0a, at - 2) + 1
    const line = end.subarray(start, at)
    if (!isPartial(line)) found += 1
    if (found > lines) return at
    at = start
  }
  return 0
}

function isPartial(line: Buffer): boolean {
  return /^\S{20,} std(?:out|err) P /.test(line.toString('latin1', 0, Math.min(line.length, 64)))
}
