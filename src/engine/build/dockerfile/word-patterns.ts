/** The variable forms with patterns: `${a#p} ${a##p} ${a%p} ${a%%p} ${a/p/r} ${a//p/r}`; `*` and `?` stand for any character. */
import { Glob } from '#base/glob.ts'

/** Longer values are no match for wildcards: each place of the text is tried. */
const maxWildcardLength = 8192

export function escapePattern(text: string): string {
  return text.replace(/[*?\\]/g, '\\$&')
}

/** A RangeError where the value is too long for a pattern with wildcards. */
function globOf(pattern: string, value: string): Glob {
  const glob = new Glob(pattern, { slashes: true })
  if (glob.literal === undefined && value.length > maxWildcardLength) throw new RangeError(`the value has ${value.length} characters; a pattern with wildcards takes at most ${maxWildcardLength}`)
  return glob
}

export function trimPrefix(value: string, pattern: string, greedy: boolean): string {
  const glob = globOf(pattern, value)
  const end = greedy ? glob.longest(value, 0) : glob.shortest(value, 0)
  return end < 0 ? value : value.slice(end)
}

export function trimSuffix(value: string, pattern: string, greedy: boolean): string {
  const glob = globOf(pattern, value)
  if (glob.literal !== undefined) return value.endsWith(glob.literal) ? value.slice(0, value.length - glob.literal.length) : value
  const starts = Array.from({ length: value.length + 1 }, (_, index) => index)
  const found = (greedy ? starts : starts.reverse()).find((start) => glob.longest(value, start) === value.length)
  return found === undefined ? value : value.slice(0, found)
}

/** The leftmost matches, each as long as can be. */
export function replacePattern(value: string, pattern: string, replacement: string, all: boolean): string {
  const glob = globOf(pattern, value)
  let result = ''
  let at = 0
  while (at < value.length) {
    const end = glob.longest(value, at)
    if (end > at) {
      result += replacement
      at = end
      if (!all) break
    } else result += value[at++] ?? ''
  }
  return result + value.slice(at)
}
