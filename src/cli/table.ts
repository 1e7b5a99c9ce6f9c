/** Tables, sizes and ages as users of docker and kubectl know them. */

/** Columns padded to their widest cell, three spaces apart; the last column is never padded. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  return rows
    .map((row) => row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd((widths[column] ?? 0) + 3))).join(''))
    .map((line) => `${line.trimEnd()}\n`)
    .join('')
}

/** Decimal units with three significant digits: `1.98MB`, as docker prints sizes. */
export function humanSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${Number(value.toPrecision(3))}${units[unit]}`
}

/** `5 seconds ago`, `2 hours ago`: docker's CREATED column. */
export function ago(ms: number): string {
  return `${duration(ms)} ago`
}

export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const steps: readonly (readonly [number, string])[] = [
    [365 * 86_400, 'year'],
    [30 * 86_400, 'month'],
    [7 * 86_400, 'week'],
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ]
  if (seconds < 1) return 'Less than a second'
  for (const [size, name] of steps) {
    const count = Math.floor(seconds / size)
    if (count >= 2 || (count === 1 && (name === 'minute' || name === 'hour'))) {
      if (count === 1) return name === 'minute' ? 'About a minute' : 'About an hour'
      return `${count} ${name}s`
    }
  }
  return `${seconds} second${seconds === 1 ? '' : 's'}`
}
