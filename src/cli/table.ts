/** Tables and ages as users of docker and kubectl know them. */
import { humanDuration } from '#base/human.ts'

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

/** `5 seconds ago`, `2 hours ago`: docker's CREATED column. */
export function ago(ms: number): string {
  return `${humanDuration(ms)} ago`
}
