/**
 * Which paths of a client's folder the steps of a build name, as far as the Dockerfile alone tells: nothing else is sent. A step that
 * turns out to need more (by a base's trigger, by a variable of a base) finds that it is not covered.
 */
import type { BuildRequest } from '../http/backend.ts'
import { contextKey } from './contexts.ts'
import type { Instruction } from './dockerfile/instructions.ts'
import { parseMount } from './dockerfile/mounts.ts'
import { contentSource, expandAt, type Stage, type StagePlan } from './dockerfile/stages.ts'

/** Sorted, without what lies below another; undefined: everything. */
export type Paths = readonly string[] | undefined

/** The main context's key among the named ones. */
const mainKey = ''

export class PlannedPaths {
  readonly #needed = new Map<string, Set<string>>()
  readonly #buildArgs: BuildRequest['buildArgs']

  /** `plans`: of all platforms. */
  constructor(plans: readonly StagePlan[], { buildArgs }: Pick<BuildRequest, 'buildArgs'>) {
    this.#buildArgs = buildArgs
    for (const plan of plans) {
      const scopes = new Map<number, ReadonlyMap<string, string>>()
      for (const stage of plan.needed) this.#readStage(stage, { plan, scopes })
    }
  }

  /** Of the main context, or of a named one. */
  of(name?: string): Paths {
    const paths = [...(this.#needed.get(name === undefined ? mainKey : contextKey(name)) ?? [])].toSorted()
    if (paths.includes('')) return undefined
    return paths.filter((path) => !paths.some((other) => path.startsWith(`${other}/`)))
  }

  /** `scopes`: variables at the end of each stage. */
  #readStage(stage: Stage, { plan, scopes }: { readonly plan: StagePlan; readonly scopes: Map<number, ReadonlyMap<string, string>> }): void {
    const scope = new Map(stage.base.kind === 'stage' ? scopes.get(stage.base.index) : [])
    scopes.set(stage.index, scope)
    if (stage.base.kind === 'context') this.#need(contextKey(stage.base.name), '')
    for (const instruction of stage.instructions) this.#readInstruction(instruction, { stage, plan, scope })
  }

  #readInstruction(instruction: Instruction, { stage, plan, scope }: { readonly stage: Stage; readonly plan: StagePlan; readonly scope: Map<string, string> }): void {
    const { escape, globalArgs } = plan
    /** Undefined: a variable is not known. */
    const expand = (word: string): string | undefined => {
      let isKnown = true
      const text = expandAt(instruction, word, (name) => {
        isKnown &&= scope.has(name)
        return scope.get(name)
      }, escape)
      return isKnown ? text : undefined
    }
    const set = (name: string, value: string | undefined): unknown => (value === undefined ? scope.delete(name) : scope.set(name, value))
    const need = (from: string | undefined, word: string): void => {
      const source = from === undefined ? undefined : contentSource(from, stage, plan, instruction)
      if (source !== undefined && source.kind !== 'context') return
      this.#need(source === undefined ? mainKey : contextKey(source.name), cleanPath(expand(word) ?? ''))
    }
    switch (instruction.kind) {
      case 'arg':
        for (const { name, value } of instruction.args) set(name, this.#buildArgs[name] ?? (value === undefined ? globalArgs.get(name) : expand(value)))
        return
      case 'env':
        for (const { name, value } of instruction.pairs) set(expand(name) ?? name, expand(value))
        return
      case 'copy':
      case 'add':
        for (const source of instruction.sources) if (!/^([a-z]+:\/\/|git@)/i.test(source)) need(instruction.from, source)
        return
      case 'run':
        for (const [index, { text, from }] of instruction.mounts.entries()) {
          if (from === undefined && /(^|,)type=(cache|tmpfs|secret|ssh)(,|$)/i.test(text)) continue
          const mount = text.includes('$') ? undefined : parseMount(text, instruction, { index, expand: (word) => word })
          need(from, mount === undefined ? '' : 'source' in mount ? mount.source : '')
        }
        return
      default:
        return
    }
  }

  #need(key: string, path: string): void {
    const known = this.#needed.get(key) ?? new Set()
    this.#needed.set(key, known.add(path))
  }
}

/** Relative to the context, without `.` and `..`. Where `**` stands, what is above it. */
function cleanPath(source: string): string {
  const parts: string[] = []
  for (const part of source.split('/')) {
    if (part.includes('**')) break
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/** Whether the files of `planned` hold what a step names. */
export function isCovered(planned: Paths, sources: readonly string[]): boolean {
  return planned === undefined || sources.map(cleanPath).every((path) => planned.some((each) => path === each || path.startsWith(`${each}/`)))
}
