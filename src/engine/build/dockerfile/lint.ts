/**
 * Finds what is probably not meant, without building anything. The rules and their words are Docker's (`lint-rules.ts`); what needs the base
 * image's variables is left out where they are not known.
 */
import { posix } from 'node:path'
import { isFault } from '#base/fault.ts'
import type { PathPatterns } from '#base/path-patterns.ts'
import { parsePlatform, platformText, type Platform } from '#oci/platform.ts'
import { parseReference } from '#oci/reference.ts'
import type { BuildWarning } from '../../contract/builds.ts'
import { nearest } from './fault.ts'
import type { Instruction } from './instructions.ts'
import { isRuleOn, lintRules, mergedLintOptions, noLintOptions, parseLintOptions, type LintOptions, type LintRuleName } from './lint-rules.ts'
import type { Stage, StagePlan } from './stages.ts'
import { expandWord, WordError } from './words.ts'

/** Of what a stage begins with. */
export interface BaseFacts {
  /** Names. */
  readonly variables: ReadonlySet<string>
  /** What a base image is made for. */
  readonly platform?: Platform
}

export interface LintContext {
  readonly plan: StagePlan
  /** Stages whose instructions are looked at: what the target needs, or all. */
  readonly stages: readonly Stage[]
  readonly buildArgs: ReadonlySet<string>
  /** Undefined: not known. */
  readonly base: (stage: Stage) => BaseFacts | undefined
  /** Of the main context, where its ignore file is known. */
  readonly ignore: PathPatterns | undefined
}

export function lint(context: LintContext): readonly BuildWarning[] {
  return new Linter(context).run()
}

type At = Pick<Instruction, 'file' | 'line' | 'lastLine' | 'comments'>

const reservedNames = ['context', 'scratch']
const secretName = /(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)/i
const harmlessName = /(?:_|^)(?:public|file|version)(?:_|$)/i

class Linter {
  readonly #context: LintContext
  readonly #warnings: BuildWarning[] = []

  constructor(context: LintContext) {
    this.#context = context
  }

  run(): readonly BuildWarning[] {
    const { plan, stages } = this.#context
    for (const { line, lastLine, file } of plan.emptyContinuations) this.#warn('NoEmptyContinuation', { file, line, lastLine, comments: [] }, 'Empty continuation line')
    for (const instruction of plan.preamble) if (instruction.kind === 'arg') this.#describe(instruction, 'ARG', instruction.args.map(({ name }) => name))
    this.#stageNames()
    this.#casing()
    for (const stage of plan.stages) this.#from(stage)
    for (const stage of stages) {
      this.#basePlatform(stage)
      this.#stage(stage)
    }
    return this.#warnings.toSorted((a, b) => (a.at?.firstLine ?? 0) - (b.at?.firstLine ?? 0))
  }

  #warn(rule: LintRuleName, at: At, detail: string): void {
    if (!isRuleOn(rule, this.#optionsAt(at))) return
    const { description, page } = lintRules[rule]
    this.#warnings.push({ rule, description, url: page === '' ? '' : `https://docs.docker.com/go/dockerfile/rule/${page}/`, detail, at: { file: at.file, firstLine: at.line, lastLine: at.lastLine } })
  }

  /** The file's, and those of a comment `# check=…` above the instruction. */
  #optionsAt({ comments }: At): LintOptions {
    return comments.reduce((options, comment) => mergedLintOptions(options, optionsOfComment(comment)), this.#context.plan.lintOptions)
  }

  // ---- stages ----------------------------------------------------------------------------------------------------------

  #stageNames(): void {
    const seen = new Set<string>()
    for (const { from, name } of this.#context.plan.stages) {
      if (name === undefined) continue
      if (reservedNames.includes(name)) this.#warn('ReservedStageName', from, `Stage name should not use the same name as reserved stage "${name}"`)
      if (seen.has(name)) this.#warn('DuplicateStageName', from, `Duplicate stage name "${name}", stage names should be unique`)
      seen.add(name)
      if (from.writtenName !== undefined && from.writtenName !== from.writtenName.toLowerCase()) this.#warn('StageNameCasing', from, `Stage name '${from.writtenName}' should be lowercase`)
      this.#describe(from, 'FROM', [name])
    }
  }

  #casing(): void {
    const all = this.#context.plan.stages.flatMap(({ from, instructions }) => [from, ...instructions])
    const lower = all.filter(({ written }) => written === written.toLowerCase()).length
    const upper = all.filter(({ written }) => written === written.toUpperCase()).length
    const [wanted, word] = lower > upper ? [(text: string): string => text.toLowerCase(), 'lowercase'] : [(text: string): string => text.toUpperCase(), 'uppercase']
    for (const instruction of all) if (instruction.written !== wanted(instruction.written)) this.#warn('ConsistentInstructionCasing', instruction, `Command '${instruction.written}' should match the case of the command majority (${word})`)
  }

  #describe(at: Instruction, keyword: string, names: readonly string[]): void {
    const comment = at.comments.at(-1)
    if (comment === undefined || names.length === 0 || names.includes(comment.split(' ')[0] ?? '')) return
    this.#warn('InvalidDefinitionDescription', at, `Comment for ${keyword} should follow the format: \`# ${names.length > 1 ? '<arg_key>' : (names[0] ?? '')} <description>\``)
  }

  #from({ from }: Stage): void {
    const { plan, buildArgs } = this.#context
    const { written, writtenAs, image, platform } = from
    const isCased = written === written.toLowerCase() || written === written.toUpperCase()
    if (writtenAs !== undefined && isCased && writtenAs !== (written === written.toLowerCase() ? writtenAs.toLowerCase() : writtenAs.toUpperCase())) {
      this.#warn('FromAsCasing', from, `'${writtenAs}' and '${written}' keywords' casing do not match`)
    }
    const declared = plan.preamble.flatMap((each) => (each.kind === 'arg' ? each.args : []))
    const defaults = this.#globalDefaults(declared)
    const inFrom = this.#expand(image, (name) => plan.globalArgs.get(name))
    const known = [...plan.globalArgs.keys(), ...declared.map(({ name }) => name)]
    const undeclared = (missing: readonly string[]): void => {
      for (const name of missing) if (!declared.some((each) => each.name === name) && !buildArgs.has(name)) this.#warn('UndefinedArgInFrom', from, `FROM argument '${name}' is not declared${meant(nearest(name, known), '')}`)
    }
    undeclared(inFrom?.missing ?? [])
    const withDefaults = this.#expand(image, (name) => defaults.get(name))
    if (withDefaults !== undefined && (withDefaults.text === '' || !isReference(withDefaults.text))) this.#warn('InvalidDefaultArgInFrom', from, `Default value for ARG ${image} results in empty or invalid base image name`)
    if (platform === undefined) return
    const inPlatform = this.#expand(platform, (name) => plan.globalArgs.get(name))
    if (inPlatform === undefined) return
    undeclared(inPlatform.missing)
    if (inPlatform.found.length === 1 && inPlatform.missing.length === 0 && inPlatform.found[0] === 'TARGETPLATFORM' && inPlatform.text === plan.globalArgs.get('TARGETPLATFORM')) {
      this.#warn('RedundantTargetPlatform', from, `Setting platform to predefined ${platform} in FROM is redundant as this is the default behavior`)
    }
    const [os = '', architecture = ''] = inPlatform.text.split('/')
    if (inPlatform.found.length + inPlatform.missing.length > 0 || architecture === '' || from.name?.includes(os) === true || from.name?.includes(architecture) === true) return
    this.#warn('FromPlatformFlagConstDisallowed', from, `FROM --platform flag should not use constant value "${inPlatform.text}"`)
  }

  /** An image may be here for another platform than the build's: it is taken nevertheless, as in BuildKit. */
  #basePlatform(stage: Stage): void {
    const { base, from, platform } = stage
    const found = this.#context.base(stage)?.platform
    const wanted = platform ?? this.#context.plan.globalArgs.get('TARGETPLATFORM')
    if (base.kind !== 'image' || found === undefined || wanted === undefined) return
    const { os, architecture } = parsePlatform(wanted)
    if (os !== found.os || architecture !== found.architecture) this.#warn('InvalidBaseImagePlatform', from, `Base image ${base.reference} was pulled with platform "${platformText(found)}", expected "${wanted}" for current build`)
  }

  /** As if no build argument were given. */
  #globalDefaults(declared: readonly { readonly name: string; readonly value?: string }[]): ReadonlyMap<string, string> {
    const defaults = new Map(this.#context.plan.platformArgs)
    for (const { name, value } of declared) {
      const expanded = value === undefined ? undefined : this.#expand(value, (each) => defaults.get(each))?.text
      if (expanded !== undefined) defaults.set(name, expanded)
    }
    return defaults
  }

  // ---- instructions ----------------------------------------------------------------------------------------------------

  #stage(stage: Stage): void {
    const begun = this.#context.base(stage)?.variables
    // Where they are not known, no variable is undefined.
    const variables = begun === undefined ? undefined : new Set(begun)
    const last = new Map<string, Instruction>()
    let [hasWorkdir, hasShell] = [false, false]
    for (const instruction of stage.instructions) {
      this.#variables(instruction, variables)
      switch (instruction.kind) {
        case 'maintainer':
          this.#warn('MaintainerDeprecated', instruction, 'Maintainer instruction is deprecated in favor of using label')
          break
        case 'shell':
          hasShell = true
          break
        case 'workdir':
          if (!hasWorkdir && !posix.isAbsolute(this.#expand(instruction.value, () => undefined)?.text ?? '/') && !instruction.value.startsWith('$')) this.#warn('WorkdirRelativePath', instruction, `Relative workdir "${instruction.value}" can have unexpected results if the base image changes`)
          hasWorkdir = true
          break
        case 'cmd':
        case 'entrypoint':
        case 'healthcheck': {
          const before = last.get(instruction.kind)
          if (before !== undefined) this.#warn('MultipleInstructionsDisallowed', before, `Multiple ${instruction.written} instructions should not be used in the same stage because only the last one will be used`)
          last.set(instruction.kind, instruction)
          if (instruction.kind !== 'healthcheck' && instruction.command.form === 'shell' && !hasShell) this.#warn('JSONArgsRecommended', instruction, `JSON arguments recommended for ${instruction.written} to prevent unintended behavior related to OS signals`)
          break
        }
        case 'env':
        case 'label':
          if (instruction.isLegacy) this.#warn('LegacyKeyValueFormat', instruction, `"${instruction.written} key=value" should be used instead of legacy "${instruction.written} key value" format`)
          for (const { name } of instruction.kind === 'env' ? instruction.pairs : []) {
            this.#secret('ENV', name, instruction)
            variables?.add(name)
          }
          break
        case 'arg':
          this.#describe(instruction, 'ARG', instruction.args.map(({ name }) => name))
          for (const { name } of instruction.args) {
            this.#secret('ARG', name, instruction)
            variables?.add(name)
          }
          break
        case 'expose':
          for (const port of instruction.values) this.#port(port, instruction)
          break
        case 'copy':
        case 'add':
          if (instruction.from === undefined) for (const source of instruction.sources) this.#ignored(source, instruction)
          break
        default:
          break
      }
    }
  }

  #secret(keyword: string, name: string, at: Instruction): void {
    if (secretName.test(name) && !harmlessName.test(name)) this.#warn('SecretsUsedInArgOrEnv', at, `Do not use ARG or ENV instructions for sensitive data (${keyword} "${name}")`)
  }

  #port(port: string, at: Instruction): void {
    const protocol = /\/([^/]*)$/.exec(port)?.[1] ?? ''
    if (protocol !== protocol.toLowerCase() && !protocol.includes('$')) this.#warn('ExposeProtoCasing', at, `Defined protocol '${port}' in EXPOSE instruction should be lowercase`)
    if (/:/.test(port) && !port.includes('$')) this.#warn('ExposeInvalidFormat', at, `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`)
  }

  #ignored(source: string, at: Instruction): void {
    const { ignore } = this.#context
    if (ignore === undefined || ignore.isEmpty || ignore.hasExceptions || /^(https?|git|ssh):\/\/|\$/.test(source)) return
    const path = posix.normalize(source).replace(/^\/+|\/+$/g, '')
    const isRoot = path === '' || path === '.'
    if (isRoot ? ignore.selectsAll : ignore.matches(path)) this.#warn('CopyIgnoredFile', at, `Attempting to ${at.kind === 'add' ? 'Add' : 'Copy'} file "${isRoot ? '.' : path}" that is excluded by .dockerignore`)
  }

  #variables(instruction: Instruction, known: ReadonlySet<string> | undefined): void {
    if (known === undefined) return
    const missing = new Set<string>()
    for (const word of wordsOf(instruction)) for (const name of this.#expand(word, (each) => (known.has(each) ? 'x' : undefined))?.missing ?? []) missing.add(name)
    for (const name of missing) this.#warn('UndefinedVar', instruction, `Usage of undefined variable '$${name}'${meant(nearest(name, [...known]), '$')}`)
  }

  #expand(word: string, scope: (name: string) => string | undefined): { readonly text: string; readonly found: readonly string[]; readonly missing: readonly string[] } | undefined {
    const found = new Set<string>()
    const missing = new Set<string>()
    try {
      const text = expandWord(word, {
        escape: this.#context.plan.escape,
        scope: (name) => {
          const value = scope(name)
          ;(value === undefined ? missing : found).add(name)
          return value
        },
      })
      return { text, found: [...found], missing: [...missing] }
    } catch (error) {
      if (error instanceof WordError) return undefined
      throw error
    }
  }
}

function isReference(text: string): boolean {
  try {
    parseReference(text)
    return true
  } catch (error) {
    if (isFault(error, 'invalidArgument')) return false
    throw error
  }
}

function meant(name: string | undefined, prefix: string): string {
  return name === undefined ? '' : ` (did you mean ${prefix}${name}?)`
}

function optionsOfComment(comment: string): LintOptions {
  const match = /^check[ \t]*=[ \t]*(\S+)/.exec(comment)
  if (match?.[1] === undefined) return noLintOptions
  try {
    return parseLintOptions(match[1])
  } catch (error) {
    // A comment is a comment, whatever it says.
    if (error instanceof RangeError) return noLintOptions
    throw error
  }
}

/** What of an instruction has variables. EXPOSE's are split and not looked at, as in BuildKit. */
function wordsOf(instruction: Instruction): readonly string[] {
  switch (instruction.kind) {
    case 'env':
    case 'label':
      return instruction.pairs.flatMap(({ name, value }) => [name, value])
    case 'arg':
      return instruction.args.flatMap(({ value }) => value ?? [])
    case 'workdir':
    case 'user':
    case 'stopsignal':
      return [instruction.value]
    case 'volume':
      return instruction.values
    case 'copy':
    case 'add':
      return [...instruction.sources, instruction.destination, instruction.chown ?? '', instruction.chmod ?? '', instruction.checksum ?? '', ...instruction.exclude, ...instruction.heredocs.filter(({ expand }) => expand).map(({ body }) => body.replace(/["']/g, '\\$&'))]
    case 'run':
      return instruction.mounts.map(({ text }) => text)
    default:
      return []
  }
}
