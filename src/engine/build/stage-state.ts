/**
 * What a stage is made of while it is built: the configuration its image will have, the variables in scope, its history. Each
 * instruction that touches no file is a pure step from one state to the next; RUN, COPY, ADD and WORKDIR add a layer besides.
 * Reference: https://docs.docker.com/reference/dockerfile/ and OCI image-spec `config.md`.
 */
import { posix } from 'node:path'
import { unreachable } from '#base/assert.ts'
import type { BuildMaterial } from '../contract/builds.ts'
import type { ChainId, ContainerDefaults, DiffId, HealthcheckConfig, ImageHistory } from '../contract/images.ts'
import type { CachedLayer } from './cache.ts'
import type { DialectRules } from './dialect.ts'
import { syntaxFault, type Place } from './dockerfile/fault.ts'
import type { CommandForm, HealthcheckSpec, Instruction, Pair } from './dockerfile/instructions.ts'
import type { EscapeCharacter } from './dockerfile/lines.ts'
import { expandAt } from './dockerfile/stages.ts'
import { expandWord, expandWords, WordError } from './dockerfile/words.ts'

export interface StageState {
  readonly config: ContainerDefaults
  readonly author: string | undefined
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string }
  /** ENV and ARG values; the one that was said last wins. */
  readonly scope: ReadonlyMap<string, string>
  /** ARGs declared in this stage that have a value, for RUN's history. */
  readonly args: ReadonlyMap<string, string>
  readonly diffIds: readonly DiffId[]
  readonly chainId: ChainId | undefined
  readonly history: readonly ImageHistory[]
  /** CMD was said in this Dockerfile: an ENTRYPOINT then leaves it alone. */
  readonly hasOwnCommand: boolean
  /** What the files were made of. */
  readonly materials: readonly BuildMaterial[]
  /** How much of layers and history is the base image's. */
  readonly inherited: { readonly layers: number; readonly history: number }
}

/** What stays the same for all instructions of a build. */
export interface StepContext {
  readonly escape: EscapeCharacter
  readonly buildArgs: ReadonlyMap<string, string | null>
  readonly globalArgs: ReadonlyMap<string, string>
  readonly rules: Pick<DialectRules, 'argsAreVariables' | 'triggersAreHistory'>
}

/** Each once. */
export function mergedMaterials(...lists: readonly (readonly BuildMaterial[])[]): readonly BuildMaterial[] {
  return [...new Map(lists.flat().map((material) => [JSON.stringify(material), material])).values()]
}

/** As it is shown to people. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12)
}

export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const defaultShell: readonly string[] = ['/bin/sh', '-c']

/** https://docs.docker.com/reference/dockerfile/#predefined-args: known without ARG, in no history and no cache key. */
export const predefinedArgs: readonly string[] = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap((name) => [name, name.toLowerCase()])

export type ConfigInstruction = Exclude<Instruction, { kind: 'from' | 'run' | 'copy' | 'add' }>

export function shellOf(config: ContainerDefaults): readonly string[] {
  return config.Shell !== undefined && config.Shell.length > 0 ? config.Shell : defaultShell
}

/** The words of an instruction with variables replaced. */
export function expandIn(state: StageState, context: StepContext, at: Place, word: string): string {
  return expandAt(at, word, (name) => state.scope.get(name), context.escape)
}

/** An instruction as BuildKit shows it: known variables replaced. */
export function shownIn(state: StageState, context: StepContext, { original }: Instruction): string {
  const text = original.replace(/^[a-z]+/i, (keyword) => keyword.toUpperCase())
  try {
    return expandWord(text, { scope: (name) => state.scope.get(name), escape: context.escape, shown: true })
  } catch (error) {
    if (error instanceof WordError) return text
    throw error
  }
}

/** EXPOSE alone splits what a variable brings. */
function expandListIn(state: StageState, context: StepContext, at: Place, words: readonly string[]): string[] {
  try {
    return words.flatMap((word) => expandWords(word, { scope: (name) => state.scope.get(name), escape: context.escape }))
  } catch (error) {
    if (error instanceof WordError) throw syntaxFault(at, error.message)
    throw error
  }
}

/** The state after an instruction that changes no file (for WORKDIR: its configuration part). */
export function applyInstruction(state: StageState, instruction: ConfigInstruction, context: StepContext): StageState {
  const expand = (word: string): string => expandIn(state, context, instruction, word)
  const withConfig = (change: ContainerDefaults, said: string): StageState => ({ ...state, config: { ...state.config, ...change }, history: [...state.history, emptyHistory(said, state)] })
  switch (instruction.kind) {
    case 'env': {
      const pairs = instruction.pairs.map(({ name, value }) => ({ name: expand(name), value: expand(value) }))
      const scope = new Map(state.scope)
      for (const { name, value } of pairs) scope.set(name, value)
      return { ...withConfig({ Env: mergeEnv(state.config.Env ?? [], pairs) }, `ENV ${saidPairs(pairs)}`), scope }
    }
    case 'label': {
      const pairs = instruction.pairs.map(({ name, value }) => ({ name: expand(name), value: expand(value) }))
      const labels = { ...state.config.Labels, ...Object.fromEntries(pairs.map(({ name, value }) => [name, value])) }
      return withConfig({ Labels: labels }, `LABEL ${saidPairs(pairs)}`)
    }
    case 'arg':
      return applyArgs(state, instruction, context)
    case 'workdir': {
      const path = expand(instruction.value)
      const folder = posix.resolve('/', state.config.WorkingDir ?? '/', path)
      return withConfig({ WorkingDir: folder }, `WORKDIR ${path}`)
    }
    case 'user':
      return withConfig({ User: expand(instruction.value) }, `USER ${expand(instruction.value)}`)
    case 'stopsignal': {
      const signal = expand(instruction.value)
      if (!/^(\d{1,2}|(SIG)?[A-Z][A-Z0-9+-]{1,11})$/i.test(signal)) throw syntaxFault(instruction, `invalid signal: ${signal}; expected a name such as SIGTERM or a number`)
      return withConfig({ StopSignal: signal }, `STOPSIGNAL ${signal}`)
    }
    case 'maintainer':
      return { ...withConfig({}, `MAINTAINER ${instruction.value}`), author: instruction.value }
    case 'cmd': {
      const argv = commandArgv(instruction.command, state.config)
      return { ...withConfig({ Cmd: argv }, `CMD ${JSON.stringify(argv)}`), hasOwnCommand: true }
    }
    case 'entrypoint': {
      const argv = commandArgv(instruction.command, state.config)
      const change: ContainerDefaults = state.hasOwnCommand ? { Entrypoint: argv } : { Entrypoint: argv, Cmd: undefined }
      return withConfig(change, `ENTRYPOINT ${JSON.stringify(argv)}`)
    }
    case 'expose': {
      const ports = expandListIn(state, context, instruction, instruction.values).flatMap((value) => exposedPorts(value, instruction))
      return withConfig({ ExposedPorts: { ...state.config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) } }, `EXPOSE map[${ports.toSorted().map((port) => `${port}:{}`).join(' ')}]`)
    }
    case 'volume': {
      const paths = instruction.values.map(expand)
      if (paths.some((path) => path === '')) throw syntaxFault(instruction, 'VOLUME specified can not be an empty string')
      return withConfig({ Volumes: { ...state.config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) } }, `VOLUME [${paths.join(' ')}]`)
    }
    case 'shell':
      return withConfig({ Shell: instruction.argv }, `SHELL [${instruction.argv.join(' ')}]`)
    case 'healthcheck':
      return withConfig({ Healthcheck: healthcheckConfig(instruction.check) }, `HEALTHCHECK ${JSON.stringify(healthcheckConfig(instruction.check))}`)
    case 'onbuild': {
      const next = withConfig({ OnBuild: [...(state.config.OnBuild ?? []), instruction.trigger] }, `ONBUILD ${instruction.trigger}`)
      return context.rules.triggersAreHistory ? next : { ...next, history: state.history }
    }
    default:
      return unreachable(instruction)
  }
}

/** Without a time: the image's own is filled in when it is stored, so that a cached build gives the same image. */
function emptyHistory(said: string, state: StageState): ImageHistory {
  return { created_by: said, ...(state.author === undefined ? {} : { author: state.author }), empty_layer: true }
}

/** The state with one layer more; `layer` undefined: the instruction changed nothing, so there is none. */
export function withLayer(state: StageState, step: StepResult, said: string): StageState {
  const { layer, created } = step
  const entry: ImageHistory = { created, ...emptyHistory(said, state) }
  if (layer === undefined) return { ...state, history: [...state.history, entry] }
  const { empty_layer: _, ...withContent } = entry
  return { ...state, diffIds: [...state.diffIds, layer.diffId], chainId: layer.chainId, history: [...state.history, withContent] }
}

export interface StepResult {
  /** RFC 3339: when the step really ran, maybe long ago. */
  readonly created: string
  readonly layer?: CachedLayer
}

function applyArgs(state: StageState, instruction: Extract<Instruction, { kind: 'arg' }>, context: StepContext): StageState {
  const scope = new Map(state.scope)
  const args = new Map(state.args)
  const said: string[] = []
  for (const { name, value } of instruction.args) {
    const fallback = value === undefined ? context.globalArgs.get(name) : expandAt(instruction, value, (each) => scope.get(each), context.escape)
    const result = context.buildArgs.get(name) ?? fallback
    said.push(value === undefined ? name : `${name}=${fallback ?? ''}`)
    if (result === undefined || (!context.rules.argsAreVariables && isInEnv(state.config, name))) continue
    scope.set(name, result)
    args.set(name, result)
  }
  return { ...state, scope, args, history: [...state.history, emptyHistory(`ARG ${said.join(' ')}`, state)] }
}

function isInEnv({ Env = [] }: ContainerDefaults, name: string): boolean {
  return Env?.some((each) => each.startsWith(`${name}=`)) === true
}

export function commandArgv(command: CommandForm, config: ContainerDefaults): readonly string[] {
  return command.form === 'exec' ? command.argv : [...shellOf(config), command.line]
}

function mergeEnv(env: readonly string[], pairs: readonly Pair[]): readonly string[] {
  const merged = [...env]
  for (const { name, value } of pairs) {
    const index = merged.findIndex((each) => each === name || each.startsWith(`${name}=`))
    if (index < 0) merged.push(`${name}=${value}`)
    else merged[index] = `${name}=${value}`
  }
  return merged
}

function saidPairs(pairs: readonly Pair[]): string {
  return pairs.map(({ name, value }) => `${name}=${value}`).join(' ')
}

/** `80`, `80/udp`, `8000-8002/tcp`; an address or host port in front is accepted and has no meaning, as in Docker. */
function exposedPorts(value: string, at: Place): string[] {
  const match = /^(?:.*:)?(\d{1,5})(?:-(\d{1,5}))?(?:\/([a-z]+))?$/i.exec(value)
  const first = Number(match?.[1])
  const last = Number(match?.[2] ?? match?.[1])
  const protocol = (match?.[3] ?? 'tcp').toLowerCase()
  if (match === null || first > last || last > 65535 || !['tcp', 'udp', 'sctp'].includes(protocol)) {
    throw syntaxFault(at, `invalid containerPort: ${value}; expected a port such as 80, 53/udp or 8000-8010/tcp`)
  }
  return Array.from({ length: last - first + 1 }, (_, offset) => `${first + offset}/${protocol}`)
}

/** Which shell that is is the image's `Shell` when it runs. */
function healthcheckConfig(check: HealthcheckSpec): HealthcheckConfig {
  if (check.command === undefined) return { Test: ['NONE'] }
  const test = check.command.form === 'exec' ? ['CMD', ...check.command.argv] : ['CMD-SHELL', check.command.line]
  return {
    Test: test,
    ...(check.intervalNs > 0 ? { Interval: check.intervalNs } : {}),
    ...(check.timeoutNs > 0 ? { Timeout: check.timeoutNs } : {}),
    ...(check.startPeriodNs > 0 ? { StartPeriod: check.startPeriodNs } : {}),
    ...(check.startIntervalNs > 0 ? { StartInterval: check.startIntervalNs } : {}),
    ...(check.retries > 0 ? { Retries: check.retries } : {}),
  }
}
