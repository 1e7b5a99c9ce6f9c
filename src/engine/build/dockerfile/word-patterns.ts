/** The variable forms with patterns: `${a#p} ${a##p} ${a%p} ${a%%p} ${a/p/r} ${a//p/r}`; `*` and `?` stand for any character. */
import { Glob } from '#base/glob.ts'

/** Longer values are no match for wildcards. */
const maxWildcardLength = 65_536
/** Where each place of the value is tried. */
const maxReplacedLength = 1024

export function escapePattern(text: string): string {
  return text.replace(/[*?\\]/g, '\\$&')
}

/** A RangeError where the value is too long for a pattern with wildcards. */
function globOf(pattern: string, value: string, { backwards = false, maxLength = maxWildcardLength }: { readonly backwards?: boolean; readonly maxLength?: number } = {}): Glob {
  const glob = new Glob(pattern, { slashes: true, backwards })
  if (glob.literal === undefined && value.length > maxLength) throw new RangeError(`the value has ${value.length} characters; a pattern with wildcards takes at most ${maxLength}`)
  return glob
}

export function trimPrefix(value: string, pattern: string, greedy: boolean): string {
  const glob = globOf(pattern, value)
  const end = greedy ? glob.longest(value, 0) : glob.shortest(value, 0)
  return end < 0 ? value : value.slice(end)
}

export function trimSuffix(value: string, pattern: string, greedy: boolean): string {
  const glob = globOf(pattern, value, { backwards: true })
  const turned = value.split('').reverse().join('')
  const end = greedy ? glob.longest(turned, 0) : glob.shortest(turned, 0)
  return end < 0 ? value : value.slice(0, value.length - end)
}

/** The leftmost matches, each as long as can be. */
export function replacePattern(value: string, pattern: string, replacement: string, all: boolean): string {
  const glob = globOf(pattern, value, { maxLength: maxReplacedLength })
  let result = ''
  let at = 0
  while (at < value.length) {
    const end = glob.longest(value, at)
    if (end > at) {
      result += replacement
      at = end
      if (!all) break
    } else {
      if (glob.beginsAnywhere) break
      result += value[at++] ?? ''
    }
  }
  return result + value.slice(at)
}
