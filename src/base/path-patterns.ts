/**
 * Patterns of an ignore file: which paths they select. The last pattern that says something of a path decides; one that selects a folder
 * selects what is in it; `!` takes out again.
 * Reference: https://docs.docker.com/build/concepts/context/#dockerignore-files (moby/patternmatcher).
 */
import { posix } from 'node:path'
import { Glob } from './glob.ts'

interface Rule {
  readonly glob: Glob
  /** Cleaned. */
  readonly written: string
  readonly isException: boolean
}

export class PathPatterns {
  readonly #rules: readonly Rule[]
  /** Which rules select a folder, by its path: what is in it asks again and again. */
  readonly #folders = new Map<string, readonly boolean[]>()

  constructor(patterns: readonly string[]) {
    this.#rules = patterns.flatMap((pattern) => ruleOf(pattern) ?? [])
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0
  }

  /** With an exception, a selected folder may hold something that is not. */
  get hasExceptions(): boolean {
    return this.#rules.some(({ isException }) => isException)
  }

  /** One of them alone selects whatever there is. */
  get selectsAll(): boolean {
    return this.#rules.some(({ written, isException }) => !isException && ['*', '**', '**/*'].includes(written))
  }

  /** `path` is relative, without `.` and `..`. */
  matches(path: string): boolean {
    if (path === '') return false
    let matched = false
    for (const [index, selects] of this.#selecting(path).entries()) if (selects) matched = this.#rules[index]?.isException !== true
    return matched
  }

  /** By rule, whether it selects the path or a folder that it lies in. */
  #selecting(path: string): readonly boolean[] {
    const slash = path.lastIndexOf('/')
    const above = slash < 0 ? undefined : this.#ofFolder(path.slice(0, slash))
    return this.#rules.map(({ glob }, index) => above?.[index] === true || glob.matches(path))
  }

  #ofFolder(path: string): readonly boolean[] {
    const known = this.#folders.get(path)
    if (known !== undefined) return known
    const selecting = this.#selecting(path)
    this.#folders.set(path, selecting)
    return selecting
  }
}

/** The lines of an ignore file, without comments and empty ones. */
export function ignorePatterns(text: string): readonly string[] {
  return text.replace(/^\uFEFF/, '').split(/\r?\n/).filter((line) => !line.startsWith('#')).map((line) => line.trim()).filter((line) => line !== '')
}

/** Undefined: the pattern says nothing. */
function ruleOf(written: string): Rule | undefined {
  const isException = written.startsWith('!')
  const text = (isException ? written.slice(1) : written).trim()
  if (text === '') return undefined
  const pattern = posix.normalize(text).replace(/^\/(?=.)/, '').replace(/(?<=.)\/$/, '')
  return { glob: new Glob(pattern, { classes: true, globstar: true }), written: pattern, isException }
}
