/** The `--name=value` words that stand before the arguments of an instruction. */
import { nearest, syntaxFault, type Place } from './fault.ts'
import type { EscapeCharacter, SourceInstruction } from './lines.ts'

class Flags {
  readonly #values: ReadonlyMap<string, readonly string[]>
  readonly #keyword: string
  readonly #at: Place

  constructor(values: ReadonlyMap<string, readonly string[]>, keyword: string, at: Place) {
    this.#values = values
    this.#keyword = keyword
    this.#at = at
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  all(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }

  /** The value of a flag that may stand once. */
  one(name: string): string | undefined {
    const values = this.all(name)
    if (values.length > 1) throw syntaxFault(this.#at, `${this.#keyword} has the flag --${name} ${values.length} times; it may stand once`)
    const value = values[0]
    if (value === '') throw syntaxFault(this.#at, `${this.#keyword} has the flag --${name} without a value; expected --${name}=VALUE`)
    return value
  }

  /** A flag that says yes or no: `--link`, `--link=false`. */
  enabled(name: string): boolean {
    const value = this.all(name).at(-1)
    if (value === undefined || value === 'false') return false
    if (value === '' || value === 'true') return true
    throw syntaxFault(this.#at, `${this.#keyword} --${name}=${value} is neither true nor false`)
  }
}

export function splitFlags(source: SourceInstruction, escape: EscapeCharacter, known: readonly string[]): { readonly flags: Flags; readonly rest: string } {
  const values = new Map<string, string[]>()
  let rest = source.args
  for (;;) {
    const word = flagWord(rest, escape)
    if (word === undefined) break
    rest = rest.slice(word.length).trimStart()
    if (word === '--') break
    const match = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word)
    const name = match?.[1] ?? ''
    if (!known.includes(name)) {
      const meant = nearest(name, known)
      const expected = meant === undefined ? `${source.keyword} knows ${known.map((each) => `--${each}`).join(', ') || 'no flags'}` : `did you mean --${meant}?`
      throw syntaxFault(source, `unknown flag: --${name}; ${expected}`)
    }
    values.set(name, [...(values.get(name) ?? []), unquote(match?.[2] ?? '', escape)])
  }
  return { flags: new Flags(values, source.keyword, source), rest }
}

/** The first word with its quotes when it is a flag. */
function flagWord(text: string, escape: EscapeCharacter): string | undefined {
  if (!text.startsWith('--')) return undefined
  let quote = ''
  let index = 0
  for (; index < text.length; index += 1) {
    const char = text[index] ?? ''
    if (char === escape && quote !== "'") index += 1
    else if (quote !== '') quote = char === quote ? '' : quote
    else if (char === '"' || char === "'") quote = char
    else if (/\s/.test(char)) break
  }
  return text.slice(0, index)
}

function unquote(text: string, escape: EscapeCharacter): string {
  let value = ''
  let quote = ''
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index] ?? ''
    if (char === escape && quote !== "'" && index + 1 < text.length) value += text[++index] ?? ''
    else if (char === quote) quote = ''
    else if (quote === '' && (char === '"' || char === "'")) quote = char
    else value += char
  }
  return value
}
