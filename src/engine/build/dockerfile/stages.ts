/**
 * Stages and what each needs from others: `FROM stage`, `COPY --from=stage`, `RUN --mount=from=stage`. Only what the target
 * needs is ever built; what does not need each other may be built side by side.
 * Reference: https://docs.docker.com/build/building/multi-stage/
 */
import { nearest, syntaxFault, type Place } from './fault.ts'
import { parseInstruction, type FromInstruction, type Instruction } from './instructions.ts'
import { readLines, type DockerfileSource, type EscapeCharacter } from './lines.ts'
import { parseLintOptions, type LintOptions } from './lint-rules.ts'
import { expandWord, WordError, type Scope } from './words.ts'

export type ContentSource =
  | { readonly kind: 'stage'; readonly index: number }
  | { readonly kind: 'image'; readonly reference: string }
  /** A named context of the request, whatever sort it is. */
  | { readonly kind: 'context'; readonly name: string }
  | { readonly kind: 'scratch' }

export interface Stage extends Place {
  readonly index: number
  /** Lower case; undefined when the stage has none. */
  readonly name: string | undefined
  readonly base: ContentSource
  readonly platform: string | undefined
  /** Everything behind the FROM. */
  readonly instructions: readonly Instruction[]
  readonly original: string
  readonly from: FromInstruction & Instruction
}

export interface StagePlan {
  readonly escape: EscapeCharacter
  /** All stages of the file, by index. */
  readonly stages: readonly Stage[]
  readonly target: Stage
  /** What the target needs, itself included, in order of the file. */
  readonly needed: readonly Stage[]
  /** Values of the ARGs that stand before the first FROM, and of those Docker defines. */
  readonly globalArgs: ReadonlyMap<string, string>
  /** What Docker defines of `globalArgs`. */
  readonly platformArgs: ReadonlyMap<string, string>
  /** The ARGs before the first FROM. */
  readonly preamble: readonly Instruction[]
  /** What the result is for. */
  readonly targetPlatform: string
  readonly isContext: (name: string) => boolean
  readonly lintOptions: LintOptions
  readonly emptyContinuations: DockerfileSource['emptyContinuations']
}

export interface PlanOptions {
  readonly file?: string
  /** Name or index of the stage to build; the last one by default. */
  readonly target?: string
  readonly buildArgs?: ReadonlyMap<string, string | null>
  /** `linux/amd64` of the machine and, when asked for, of the result. */
  readonly buildPlatform: string
  readonly targetPlatform?: string
  /** Whether the request says what the name means: that goes before stages and images. */
  readonly isContext?: (name: string) => boolean
}

export function planStages(text: string, options: PlanOptions): StagePlan {
  const file = options.file ?? 'Dockerfile'
  const source = readLines(text, file)
  const instructions = source.instructions.map((each) => parseInstruction(each, source.escape))
  const lintOptions = lintOptionsOf(source, file)
  const defined = new Map(platformArgs(options))
  const globalArgs = new Map(defined)
  const firstFrom = instructions.findIndex(({ kind }) => kind === 'from')
  const preamble = firstFrom < 0 ? instructions : instructions.slice(0, firstFrom)
  for (const instruction of preamble) readGlobalArg(instruction, globalArgs, options, source.escape)
  if (firstFrom < 0) throw syntaxFault({ file, line: instructions.at(-1)?.line ?? 1 }, 'no build stage: the file has no FROM')
  const isContext = options.isContext ?? (() => false)
  const stages = splitStages(instructions.slice(firstFrom), { globalArgs, escape: source.escape, isContext })
  const target = findTarget(stages, options.target, file)
  const needed = new Set<number>()
  const visit = (stage: Stage): void => {
    if (needed.has(stage.index)) return
    needed.add(stage.index)
    for (const index of stageDependencies(stage, stages, isContext)) visit(stages[index] ?? stage)
  }
  visit(target)
  return { escape: source.escape, stages, target, needed: stages.filter(({ index }) => needed.has(index)), globalArgs, platformArgs: defined, preamble, targetPlatform: options.targetPlatform ?? options.buildPlatform, isContext, lintOptions, emptyContinuations: source.emptyContinuations }
}

function lintOptionsOf({ check }: DockerfileSource, file: string): LintOptions {
  try {
    return parseLintOptions(check)
  } catch (error) {
    if (error instanceof RangeError) throw syntaxFault({ file, line: 1 }, error.message)
    throw error
  }
}

/** Replaces variables; a word that cannot be read becomes a fault of the instruction's line. */
export function expandAt(at: Place, word: string, scope: Scope, escape: EscapeCharacter): string {
  try {
    return expandWord(word, { scope, escape })
  } catch (error) {
    if (error instanceof WordError) throw syntaxFault(at, error.message)
    throw error
  }
}

function readGlobalArg(instruction: Instruction, globalArgs: Map<string, string>, options: PlanOptions, escape: EscapeCharacter): void {
  if (instruction.kind !== 'arg') throw syntaxFault(instruction, `no build stage in current context: only ARG may stand before FROM, not ${instruction.kind.toUpperCase()}`)
  for (const { name, value } of instruction.args) {
    const given = options.buildArgs?.get(name)
    const result = given ?? (value === undefined ? globalArgs.get(name) : expandAt(instruction, value, (each) => globalArgs.get(each), escape))
    if (result !== undefined) globalArgs.set(name, result)
  }
}

/** https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope */
function platformArgs(options: PlanOptions): [string, string][] {
  const parts = (prefix: string, platform: string): [string, string][] => {
    const [os = '', arch = '', variant = ''] = platform.split('/')
    return [[`${prefix}PLATFORM`, platform], [`${prefix}OS`, os], [`${prefix}ARCH`, arch], [`${prefix}VARIANT`, variant]]
  }
  const defaults: [string, string][] = [...parts('BUILD', options.buildPlatform), ...parts('TARGET', options.targetPlatform ?? options.buildPlatform), ['TARGETSTAGE', options.target || 'default']]
  return defaults.map(([name, value]) => [name, options.buildArgs?.get(name) ?? value])
}

/** What a stage's files are for: its own word, or its base's, or what the whole result is for. */
export function platformOfStage({ base, platform }: Stage, plan: Pick<StagePlan, 'stages' | 'targetPlatform'>): string {
  const below = base.kind === 'stage' ? plan.stages[base.index] : undefined
  return below === undefined ? (platform ?? plan.targetPlatform) : platformOfStage(below, plan)
}

interface SplitOptions {
  readonly globalArgs: ReadonlyMap<string, string>
  readonly escape: EscapeCharacter
  readonly isContext: (name: string) => boolean
}

function splitStages(instructions: readonly Instruction[], { globalArgs, escape, isContext }: SplitOptions): Stage[] {
  const stages: (Stage & { readonly instructions: Instruction[] })[] = []
  const scope: Scope = (name) => globalArgs.get(name)
  for (const instruction of instructions) {
    if (instruction.kind !== 'from') {
      stages.at(-1)?.instructions.push(instruction)
      continue
    }
    const image = expandAt(instruction, instruction.image, scope, escape)
    if (image === '') throw syntaxFault(instruction, `base name (${instruction.image}) should not be blank; give its ARG a default before FROM or pass --build-arg`)
    const platform = instruction.platform === undefined ? undefined : expandAt(instruction, instruction.platform, scope, escape)
    // A name that stands twice means the stage that had it last.
    const base = stages.findLast(({ name }) => name === image.toLowerCase())
    stages.push({
      index: stages.length,
      name: instruction.name,
      base: baseOf(image, base, isContext),
      platform: platform === '' ? undefined : platform,
      instructions: [],
      file: instruction.file,
      line: instruction.line,
      original: instruction.original,
      from: instruction,
    })
  }
  return stages
}

function baseOf(image: string, stage: Stage | undefined, isContext: (name: string) => boolean): ContentSource {
  if (isContext(image)) return { kind: 'context', name: image }
  if (image === 'scratch') return { kind: 'scratch' }
  return stage === undefined ? { kind: 'image', reference: image } : { kind: 'stage', index: stage.index }
}

function findTarget(stages: readonly Stage[], target: string | undefined, file: string): Stage {
  const last = stages.at(-1)
  if (last === undefined) throw syntaxFault({ file, line: 1 }, 'no build stage: the file has no FROM')
  if (target === undefined || target === '') return last
  // By name only, as both of Docker's builders: a stage's number is for `--from`.
  const found = stages.findLast(({ name }) => name === target.toLowerCase())
  if (found !== undefined) return found
  const names = stages.flatMap(({ name }) => name ?? [])
  const meant = nearest(target, names)
  throw syntaxFault(last, `failed to reach build target ${target} in ${file}; ${meant === undefined ? `its stages are ${names.join(', ') || 'unnamed'}` : `did you mean ${meant}?`}`)
}

/** What `--from=NAME` means inside `stage`: a named context, an earlier stage by name or index, else an image. */
export function contentSource(from: string, stage: Stage, { stages, isContext }: Pick<StagePlan, 'stages' | 'isContext'>, at: Place): ContentSource {
  if (isContext(from)) return { kind: 'context', name: from }
  const byName = stages.slice(0, stage.index).findLast(({ name }) => name === from.toLowerCase())
  if (byName !== undefined) return { kind: 'stage', index: byName.index }
  if (/^\d+$/.test(from)) {
    const index = Number(from)
    if (index < stage.index) return { kind: 'stage', index }
    throw syntaxFault(at, `invalid from flag value ${from}: this is stage ${stage.index}; expected an earlier stage (0 to ${stage.index - 1}), a stage's name or an image`)
  }
  if (from.toLowerCase() === stage.name) throw syntaxFault(at, `invalid from flag value ${from}: a stage cannot copy from itself`)
  return from === 'scratch' ? { kind: 'scratch' } : { kind: 'image', reference: from }
}

/** The `--from` names of one instruction. */
function fromNames(instruction: Instruction): readonly string[] {
  if (instruction.kind === 'copy' || instruction.kind === 'add') return instruction.from === undefined ? [] : [instruction.from]
  if (instruction.kind === 'run') return instruction.mounts.flatMap(({ from }) => from ?? [])
  return []
}

/** Indexes of the stages that must be built before `stage` can be. */
export function stageDependencies(stage: Stage, stages: readonly Stage[], isContext: (name: string) => boolean = () => false): readonly number[] {
  const found = new Set<number>()
  if (stage.base.kind === 'stage') found.add(stage.base.index)
  for (const instruction of stage.instructions) for (const index of stagesOf(instruction, stage, { stages, isContext })) found.add(index)
  return [...found]
}

/** Indexes of the stages that one instruction takes files from. */
export function stagesOf(instruction: Instruction, stage: Stage, plan: Pick<StagePlan, 'stages' | 'isContext'>): readonly number[] {
  return fromNames(instruction).flatMap((from) => {
    const source = contentSource(from, stage, plan, instruction)
    return source.kind === 'stage' ? [source.index] : []
  })
}
