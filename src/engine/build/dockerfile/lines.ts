/**
 * From the text of a Dockerfile to its instructions as logical lines: parser directives, comments, continuation lines
 * and here-documents are settled here, so that nothing behind this file ever sees a line break it has to interpret.
 * Rules: https://docs.docker.com/reference/dockerfile/ ("Format", "Parser directives", "Here-Documents").
 *
 * Own code rather than dockerfile-ast: that misses `3<<EOF` and needs 400 ms for a here-document of 20,000 lines.
 */
import { syntaxFault, type Place } from './fault.ts'
import { rawWords } from './words.ts'

export interface Heredoc {
  /** The delimiter, without quotes; for COPY and ADD also the file's name. */
  readonly name: string
  /** False when the delimiter was quoted: variables in the body stay as they are. */
  readonly expand: boolean
  /** The body with its final newline; tabs at the start of lines are gone when the operator was `<<-`. */
  readonly body: string
  /** Body and delimiter line as written, for a shell that reads the here-document itself. */
  readonly source: string
}

export interface SourceInstruction extends Place {
  /** Upper case, e.g. `RUN`. */
  readonly keyword: string
  /** Everything behind the keyword, continuation lines joined, white space at both ends removed. */
  readonly args: string
  readonly heredocs: readonly Heredoc[]
  /** The logical line as the author wrote it, for the step list. */
  readonly original: string
  /** The keyword in the author's case. */
  readonly written: string
  /** Where its last line, or its last here-document, ends. */
  readonly lastLine: number
  /** The comments directly above, without `#`; none of them is a parser directive. */
  readonly comments: readonly string[]
}

export type EscapeCharacter = '\\' | '`'

export interface DockerfileSource {
  readonly escape: EscapeCharacter
  readonly instructions: readonly SourceInstruction[]
  /** What `# check=…` at the top says; empty where nothing does. */
  readonly check: string
  /** Instructions with an empty line between their lines. */
  readonly emptyContinuations: readonly (Place & { readonly lastLine: number })[]
}

const directivePattern = /^#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*$/
const knownDirectives = ['syntax', 'escape', 'check']
const heredocPattern = /^\d*<<(-?)([^<]+)$/
const heredocKeywords = ['RUN', 'COPY', 'ADD']

/** Larger files are refused: no Dockerfile of people comes near, and each byte is kept in memory. */
export const maxDockerfileBytes = 4 * 1024 * 1024

export function readLines(text: string, file = 'Dockerfile'): DockerfileSource {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  const directives = readDirectives(lines, file)
  const { escape } = directives
  const reader = new LineReader(lines, { file, escape, firstLine: directives.count })
  const instructions: SourceInstruction[] = []
  for (let next = reader.next(); next !== undefined; next = reader.next()) instructions.push(next)
  if (instructions.length === 0) {
    throw syntaxFault({ file, line: 1 }, 'the file has no instructions; the first one must be FROM (or ARG)')
  }
  return { escape, instructions, check: directives.check, emptyContinuations: reader.emptyContinuations }
}

/** Directives stand before everything else, one per line, each once; the first other line ends them. */
function readDirectives(lines: readonly string[], file: string): { readonly escape: EscapeCharacter; readonly check: string; readonly count: number } {
  const seen = new Map<string, string>()
  let count = 0
  for (const [index, line] of lines.entries()) {
    const match = directivePattern.exec(line.trim())
    const name = match?.[1]?.toLowerCase()
    if (match === null || name === undefined || !knownDirectives.includes(name)) break
    const at = { file, line: index + 1 }
    if (seen.has(name)) throw syntaxFault(at, `the parser directive '${name}' stands twice; it may stand once`)
    const value = match[2] ?? ''
    seen.set(name, value)
    if (name === 'escape' && value !== '\\' && value !== '`') throw syntaxFault(at, `the escape character '${value}' is unknown; expected \\ or \``)
    count = index + 1
  }
  return { escape: seen.get('escape') === '`' ? '`' : '\\', check: seen.get('check') ?? '', count }
}

interface ReaderOptions {
  readonly file: string
  readonly escape: EscapeCharacter
  /** How many lines were read as directives. */
  readonly firstLine: number
}

class LineReader {
  readonly emptyContinuations: (Place & { readonly lastLine: number })[] = []
  readonly #lines: readonly string[]
  readonly #file: string
  readonly #escape: EscapeCharacter
  readonly #continuation: RegExp
  #index: number
  #comments: string[] = []

  constructor(lines: readonly string[], { file, escape, firstLine }: ReaderOptions) {
    this.#lines = lines
    this.#file = file
    this.#escape = escape
    this.#index = firstLine
    // An escaped escape character at the end of a line continues nothing.
    this.#continuation = escape === '\\' ? /(?<!\\)\\[ \t]*$/ : /(?<!`)`[ \t]*$/
  }

  next(): SourceInstruction | undefined {
    while (this.#index < this.#lines.length) {
      const line = this.#index + 1
      const logical = this.#logicalLine()
      if (logical !== '') return this.#instruction(logical, { file: this.#file, line })
    }
    return undefined
  }

  /** One line with its continuations; comment lines and empty lines between continuations vanish. */
  #logicalLine(): string {
    const first = this.#lines[this.#index] ?? ''
    const line = this.#index + 1
    this.#index += 1
    if (isBlank(first)) {
      const comment = first.trim().slice(1).trim()
      // An empty line, and an empty comment, say that what stands above belongs to nothing below.
      if (comment === '') this.#comments = []
      else this.#comments.push(comment)
      return ''
    }
    const parts = [first.trimStart()]
    let hasEmpty = false
    while (this.#continuation.test(parts.at(-1) ?? '')) {
      parts.push((parts.pop() ?? '').replace(this.#continuation, ''))
      let follower = this.#lines[this.#index]
      while (follower !== undefined && isBlank(follower)) {
        if (follower.trim() === '') hasEmpty = true
        this.#index += 1
        follower = this.#lines[this.#index]
      }
      if (follower === undefined) break
      this.#index += 1
      parts.push(follower)
    }
    if (hasEmpty) this.emptyContinuations.push({ file: this.#file, line, lastLine: this.#index })
    return parts.join('').trim()
  }

  #instruction(logical: string, at: Place): SourceInstruction {
    const match = /^(\S+)\s*([\s\S]*)$/.exec(logical)
    const written = match?.[1] ?? ''
    const keyword = written.toUpperCase()
    const args = match?.[2] ?? ''
    const heredocs = this.#takesHeredocs(keyword, args) ? this.#heredocs(args, at) : []
    const comments = this.#comments
    this.#comments = []
    return { ...at, keyword, args, original: logical, heredocs, written, comments, lastLine: this.#index }
  }

  #takesHeredocs(keyword: string, args: string): boolean {
    if (!args.includes('<<')) return false
    if (keyword !== 'ONBUILD') return heredocKeywords.includes(keyword)
    return heredocKeywords.includes((/^\S+/.exec(args)?.[0] ?? '').toUpperCase())
  }

  #heredocs(args: string, at: Place): Heredoc[] {
    const found: Heredoc[] = []
    for (const word of rawWords(args, this.#escape) ?? []) {
      const match = heredocPattern.exec(word)
      if (match === null) continue
      const quotedName = match[2] ?? ''
      const name = quotedName.replace(/['"]/g, '')
      if (name !== '') found.push(this.#body(name, name === quotedName, match[1] === '-', at))
    }
    return found
  }

  #body(name: string, expand: boolean, stripTabs: boolean, at: Place): Heredoc {
    const raw: string[] = []
    const body: string[] = []
    while (this.#index < this.#lines.length) {
      const line = this.#lines[this.#index] ?? ''
      this.#index += 1
      raw.push(line)
      const content = stripTabs ? line.replace(/^\t+/, '') : line
      if (content === name) return { name, expand, body: body.map((each) => `${each}\n`).join(''), source: raw.join('\n') }
      body.push(content)
    }
    throw syntaxFault(at, `the here-document <<${name} does not end; expected a line with ${name} alone`)
  }
}

/** A comment or an empty line. */
function isBlank(line: string): boolean {
  return /^\s*(#|$)/.test(line)
}
