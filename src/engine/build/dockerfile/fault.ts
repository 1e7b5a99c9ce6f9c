/** Refusals of a Dockerfile name the place as `Dockerfile:line`, what stands there and what was expected. */
import { Fault, isFault } from '#base/fault.ts'

/** Where an instruction stands: the file's name as the caller knows it and a line counted from 1. */
export interface Place {
  readonly file: string
  readonly line: number
}

export function syntaxFault(at: Place, message: string): Fault {
  return new Fault('invalidArgument', `${at.file}:${at.line}: ${message}`, { details: { file: at.file, line: at.line } })
}

/**
 * A failure as BuildKit's clients are told it: without the place and the last lines of output, which come to them apart. A fault may bring
 * such words of its own (`details.words`).
 */
export function wordsOf(error: unknown): string {
  if (!isFault(error)) return error instanceof Error ? error.message : String(error)
  // BuildKit's clients know by these words that nothing failed here.
  if (error.code === 'canceled') return 'context canceled'
  const { words } = error.details
  return typeof words === 'string' ? words : error.message.replace(/^[^\s:]+:\d+: /, '')
}

/** The name nearest to `word` among `known`, when it is near enough to have been meant. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: { name: string; distance: number } | undefined
  for (const name of known) {
    const distance = editDistance(word.toLowerCase(), name.toLowerCase())
    if (best === undefined || distance < best.distance) best = { name, distance }
  }
  return best !== undefined && best.distance <= Math.max(word.length > 2 ? 2 : 1, Math.floor(word.length / 3)) ? best.name : undefined
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const substituted = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(substituted, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
