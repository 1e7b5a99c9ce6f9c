/**
 * The word syntax of a Dockerfile: quotes, the escape character, and variables in the forms
 * `$a ${a} ${a:-b} ${a-b} ${a:+b} ${a+b} ${a:?b} ${a?b} ${a#p} ${a##p} ${a%p} ${a%%p} ${a/p/r} ${a//p/r}`.
 * It is a small shell, not a shell: no command substitution, no arithmetic.
 * Rules: https://docs.docker.com/reference/dockerfile/#environment-replacement
 */
import type { EscapeCharacter } from './lines.ts'
import { escapePattern, replacePattern, trimPrefix, trimSuffix } from './word-patterns.ts'

/** The value of a variable, or undefined when it is not set. */
export type Scope = (name: string) => string | undefined

export interface WordSyntax {
  readonly scope: Scope
  readonly escape: EscapeCharacter
  /** To be shown, not used: quotes stay, and variables that are not set. */
  readonly shown?: boolean
}

/** A word that cannot be read. The caller, who knows the line, turns it into a Fault. */
export class WordError extends Error {
  override name = 'WordError'
}

/** Variables replaced, quotes removed; white space stays. */
export function expandWord(word: string, syntax: WordSyntax): string {
  return new Lexer(word, syntax).read().text
}

/** As `expandWord`, then split at white space that was neither quoted nor escaped. */
export function expandWords(text: string, syntax: WordSyntax): string[] {
  return new Lexer(text, syntax).read().words
}

/** Split at white space outside quotes; quotes, escapes and variables stay. Undefined when a quote does not end. */
export function rawWords(text: string, escape: EscapeCharacter): string[] | undefined {
  const words: string[] = []
  let word = ''
  let quote = ''
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index] ?? ''
    if (char === escape && quote !== "'" && index + 1 < text.length) {
      word += char + (text[index + 1] ?? '')
      index += 1
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== '') words.push(word)
      word = ''
    } else {
      if (quote === char) quote = ''
      else if (quote === '' && (char === '"' || char === "'")) quote = char
      word += char
    }
  }
  if (quote !== '') return undefined
  if (word !== '') words.push(word)
  return words
}

const nameStart = /[A-Za-z_]/
const namePart = /[A-Za-z0-9_]/
const specialNames = '@*#?-$!'

/** Collects the text twice: as one string, and split into words. */
class Words {
  text = ''
  readonly words: string[] = []
  #word = ''
  #open = false

  /** Text that white space does not split: it was quoted or escaped. */
  quoted(text: string): void {
    this.text += text
    this.#word += text
    this.#open = true
  }

  plain(text: string): void {
    this.text += text
    for (const char of text) {
      if (/\s/.test(char)) this.close()
      else {
        this.#word += char
        this.#open = true
      }
    }
  }

  close(): void {
    if (this.#open) this.words.push(this.#word)
    this.#word = ''
    this.#open = false
  }
}

class Lexer {
  readonly #text: string
  readonly #syntax: WordSyntax
  #index = 0

  constructor(text: string, syntax: WordSyntax) {
    this.#text = text
    this.#syntax = syntax
  }

  read(): Words {
    const words = this.#until('')
    words.close()
    return words
  }

  #peek(): string {
    return this.#text[this.#index] ?? ''
  }

  #take(): string {
    return this.#text[this.#index++] ?? ''
  }

  /** Reads up to (not including) an unquoted `stop`, or to the end when `stop` is empty. */
  #until(stop: string): Words {
    const words = new Words()
    while (this.#index < this.#text.length) {
      const char = this.#peek()
      if (stop !== '' && char === stop) return words
      if (char === "'") words.quoted(this.#kept("'", this.#singleQuoted()))
      else if (char === '"') words.quoted(this.#kept('"', this.#doubleQuoted()))
      else if (char === '$') words.plain(this.#dollar())
      else if (char === this.#syntax.escape) {
        this.#take()
        // An escape character at the very end escapes nothing and goes.
        if (this.#index < this.#text.length) words.quoted(this.#take())
      } else words.plain(this.#take())
    }
    if (stop !== '') throw new WordError(`'${this.#text}' has an unfinished \${…}; expected ${stop}`)
    return words
  }

  #kept(quote: string, content: string): string {
    return this.#syntax.shown === true ? `${quote}${content}${quote}` : content
  }

  #valueOf(name: string, written: string): string {
    return this.#syntax.scope(name) ?? (this.#syntax.shown === true ? written : '')
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#index + 1)
    if (end < 0) throw new WordError(`'${this.#text}' has a single quote that does not end; expected another '`)
    const content = this.#text.slice(this.#index + 1, end)
    this.#index = end + 1
    return content
  }

  #doubleQuoted(): string {
    this.#take()
    let content = ''
    while (this.#index < this.#text.length) {
      const char = this.#peek()
      if (char === '"') {
        this.#take()
        return content
      }
      if (char === '$') content += this.#dollar()
      else if (char === this.#syntax.escape) {
        this.#take()
        const next = this.#peek()
        if (next === '"' || next === '$' || next === this.#syntax.escape) content += this.#take()
        else content += char
      } else content += this.#take()
    }
    throw new WordError(`'${this.#text}' has a double quote that does not end; expected another "`)
  }

  #dollar(): string {
    this.#take()
    const char = this.#peek()
    if (char === '{') return this.#braces()
    const name = this.#name()
    return name === '' ? '$' : this.#valueOf(name, `$${name}`)
  }

  #name(): string {
    const first = this.#peek()
    if (/[0-9]/.test(first)) {
      let digits = ''
      while (/[0-9]/.test(this.#peek())) digits += this.#take()
      return digits
    }
    if (first !== '' && specialNames.includes(first)) return this.#take()
    if (!nameStart.test(first)) return ''
    let name = ''
    while (namePart.test(this.#peek())) name += this.#take()
    return name
  }

  #braces(): string {
    this.#take()
    const name = this.#name()
    if (name === '') throw new WordError(`'${this.#text}' has \${ without a name; expected \${name}`)
    const value = this.#syntax.scope(name)
    const char = this.#take()
    switch (char) {
      case '}':
        return this.#valueOf(name, `\${${name}}`)
      case ':': {
        const operator = this.#take()
        const alternative = this.#operand()
        return this.#substitute(name, operator, value === '' ? undefined : value, alternative, `:${operator}`)
      }
      case '-':
      case '+':
      case '?':
        return this.#substitute(name, char, value, this.#operand(), char)
      case '#':
      case '%': {
        const greedy = this.#peek() === char
        if (greedy) this.#take()
        const pattern = this.#operand(true)
        return this.#pattern(() => (char === '#' ? trimPrefix : trimSuffix)(value ?? '', pattern, greedy))
      }
      case '/':
        return this.#replace(value ?? '')
      default:
        throw new WordError(`'${this.#text}' has an unsupported modifier '${char}' in \${${name}…}; expected one of :- - :+ + :? ? # ## % %% / //`)
    }
  }

  #substitute(name: string, operator: string, value: string | undefined, alternative: string, written: string): string {
    switch (operator) {
      case '-':
        return value ?? alternative
      case '+':
        return value === undefined ? '' : alternative
      case '?':
        if (value === undefined) throw new WordError(`${name}: ${alternative === '' ? 'the variable is not set' : alternative}`)
        return value
      default:
        throw new WordError(`'${this.#text}' has an unsupported modifier '${written}' in \${${name}…}; expected one of :- - :+ + :? ?`)
    }
  }

  #operand(pattern = false): string {
    if (pattern) return this.#patternUntil('}')
    const words = this.#until('}')
    this.#take()
    return words.text
  }

  /** As a word, but an escaped character keeps its backslash, so that the pattern can tell `\*` from `*`. */
  #patternUntil(stops: string): string {
    let content = ''
    while (this.#index < this.#text.length) {
      const char = this.#peek()
      if (stops.includes(char)) {
        this.#take()
        return content
      }
      if (char === '$') content += escapePattern(this.#dollar())
      else if (char === "'") content += escapePattern(this.#singleQuoted())
      else if (char === '"') content += escapePattern(this.#doubleQuoted())
      else if (char === this.#syntax.escape) {
        this.#take()
        content += `\\${this.#take()}`
      } else content += this.#take()
    }
    throw new WordError(`'${this.#text}' has an unfinished \${…}; expected ${stops[0] ?? '}'}`)
  }

  #pattern(apply: () => string): string {
    try {
      return apply()
    } catch (error) {
      if (error instanceof RangeError) throw new WordError(`'${this.#text}': ${error.message}`)
      throw error
    }
  }

  #replace(value: string): string {
    const all = this.#peek() === '/'
    if (all) this.#take()
    const pattern = this.#patternUntil('/}')
    const replacement = this.#text[this.#index - 1] === '/' ? this.#operand() : ''
    return this.#pattern(() => replacePattern(value, pattern, replacement, all))
  }
}
