/**
 * Patterns with wildcards, matched in time proportional to pattern times text whatever either holds: regular expressions that are made from
 * what others write can take exponential time, so none is made.
 */

export interface GlobSyntax {
  /** `*` and `?` also stand for a slash (a shell's parameter expansion; paths: not). */
  readonly slashes?: boolean
  /** `[a-z]` and `[^a-z]`; a class that does not end matches nothing, as in Go's `filepath.Match`. */
  readonly classes?: boolean
  /** `**` stands for any number of path elements. */
  readonly globstar?: boolean
  /** Matches texts that are turned round; not with `globstar`. */
  readonly backwards?: boolean
}

type Token =
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'one' | 'many'; readonly slashes: boolean }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] }
  /** Nothing, or what the next token takes up to a slash. */
  | { readonly kind: 'optional' }
  /** Anything up to and with a slash. */
  | { readonly kind: 'elements' }
  | { readonly kind: 'never' }

export class Glob {
  readonly #tokens: readonly Token[]
  /** The text itself, where the pattern has no wildcard. */
  readonly literal: string | undefined
  /** What every match begins with. */
  readonly prefix: string

  constructor(pattern: string, syntax: GlobSyntax = {}) {
    const tokens = tokensOf(pattern, syntax)
    this.#tokens = syntax.backwards === true ? tokens.toReversed() : tokens
    const first = this.#tokens.findIndex(({ kind }) => kind !== 'char')
    const plain = first < 0 ? this.#tokens : this.#tokens.slice(0, first)
    this.prefix = plain.map((token) => (token.kind === 'char' ? token.char : '')).join('')
    this.literal = first < 0 ? this.prefix : undefined
  }

  /** The whole text. */
  matches(text: string): boolean {
    if (this.literal !== undefined) return text === this.literal
    return text.startsWith(this.prefix) && this.longest(text, 0) === text.length
  }

  /** Where it does not match from one place on, it matches from no later one. */
  get beginsAnywhere(): boolean {
    return this.#tokens[0]?.kind === 'many' && this.#tokens[0].slashes
  }

  /** Where the longest match that begins at `start` ends; -1: none does. */
  longest(text: string, start: number): number {
    let end = -1
    this.#ends(text, start, (at) => {
      end = at
      return false
    })
    return end
  }

  /** Where the shortest match that begins at `start` ends; -1: none does. */
  shortest(text: string, start: number): number {
    let end = -1
    this.#ends(text, start, (at) => {
      end = at
      return true
    })
    return end
  }

  /** All ends, ascending, until `take` says that it has enough. */
  #ends(text: string, start: number, take: (end: number) => boolean): void {
    const tokens = this.#tokens
    let states = new Set<number>()
    this.#enter(states, 0)
    for (let at = start; ; at += 1) {
      if (states.has(tokens.length) && take(at)) return
      const char = text[at]
      if (char === undefined || states.size === 0) return
      const next = new Set<number>()
      for (const state of states) this.#step(tokens[state], state, char, next)
      states = next
    }
  }

  /** A state, and those that are reached from it without a character. */
  #enter(states: Set<number>, state: number): void {
    if (states.has(state)) return
    states.add(state)
    const token = this.#tokens[state]
    if (token?.kind === 'many') this.#enter(states, state + 1)
    if (token?.kind === 'optional') {
      this.#enter(states, state + 1)
      this.#enter(states, state + 2)
    }
  }

  #step(token: Token | undefined, state: number, char: string, next: Set<number>): void {
    switch (token?.kind) {
      case 'char':
        if (token.char === char) this.#enter(next, state + 1)
        break
      case 'one':
        if (token.slashes || char !== '/') this.#enter(next, state + 1)
        break
      case 'many':
        if (token.slashes || char !== '/') this.#enter(next, state)
        break
      case 'class':
        if (char !== '/' && token.ranges.some(([low, high]) => low <= char && char <= high) !== token.negated) this.#enter(next, state + 1)
        break
      case 'elements':
        this.#enter(next, state)
        if (char === '/') this.#enter(next, state + 1)
        break
      default:
        break
    }
  }
}

function tokensOf(pattern: string, { slashes = false, classes = false, globstar = false }: GlobSyntax): readonly Token[] {
  const tokens: Token[] = []
  for (let index = 0; index < pattern.length; index += 1) {
    const char = pattern[index] ?? ''
    if (char === '*' && globstar && pattern[index + 1] === '*') {
      index += pattern[index + 2] === '/' ? 2 : 1
      if (index + 1 === pattern.length) tokens.push({ kind: 'many', slashes: true })
      else tokens.push({ kind: 'optional' }, { kind: 'elements' })
    } else if (char === '*') tokens.push({ kind: 'many', slashes })
    else if (char === '?') tokens.push({ kind: 'one', slashes })
    else if (char === '[' && classes) {
      const read = classAt(pattern, index)
      if (read === undefined) return [{ kind: 'never' }]
      tokens.push(read.token)
      index = read.end
    } else tokens.push({ kind: 'char', char: char === '\\' && index + 1 < pattern.length ? (pattern[++index] ?? '') : char })
  }
  return tokens
}

/** The class that begins at `start`, and where its `]` stands. */
function classAt(pattern: string, start: number): { readonly token: Token; readonly end: number } | undefined {
  const negated = pattern[start + 1] === '^' || pattern[start + 1] === '!'
  const ranges: [string, string][] = []
  let index = start + (negated ? 2 : 1)
  const take = (): string | undefined => {
    if (pattern[index] === '\\') index += 1
    return pattern[index++]
  }
  while (index < pattern.length) {
    if (pattern[index] === ']' && ranges.length > 0) return { token: { kind: 'class', negated, ranges }, end: index }
    const low = take()
    if (low === undefined) return undefined
    if (pattern[index] !== '-' || pattern[index + 1] === ']') ranges.push([low, low])
    else {
      index += 1
      const high = take()
      if (high === undefined) return undefined
      ranges.push([low, high])
    }
  }
  return undefined
}
