/** One stage of one build: its base, then its instructions one after another. */
import { Fault, isFault } from '#base/fault.ts'
import { canonicalReference, familiarName, parseReference, withDefaultTag } from '#oci/reference.ts'
import { isPlatform, parsePlatform, platformText } from '#oci/platform.ts'
import type { BuildMaterial } from '../contract/builds.ts'
import type { Image, ImageId, TransferProgress } from '../contract/images.ts'
import { lookUpIdentity } from '../containers/identity.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import { copyStep } from './copy-step.ts'
import { rulesOf } from './dialect.ts'
import { syntaxFault, type Place } from './dockerfile/fault.ts'
import { parseInstruction, type Instruction } from './dockerfile/instructions.ts'
import { readLines } from './dockerfile/lines.ts'
import type { BaseFacts } from './dockerfile/lint.ts'
import { contentSource, platformOfStage, stagesOf, type Stage } from './dockerfile/stages.ts'
import type { Channel } from './ordered-output.ts'
import { makeFolder } from './run-command.ts'
import { runStep } from './run-step.ts'
import { applyInstruction, defaultPath, shortId, mergedMaterials, shownIn, withLayer, type ConfigInstruction, type StageState, type StepResult } from './stage-state.ts'
import { StepReport, type Content, type StageTools } from './stage-tools.ts'
import { StepLayers } from './step-layers.ts'
import type { Vertex } from './vertices.ts'

export interface StageRunOptions {
  readonly shared: BuildShared
  readonly stage: Stage
  /** Number of this stage's FROM among all steps. */
  readonly firstStep: number
  readonly totalSteps: number
  readonly channel: Channel
  readonly stageResult: (index: number) => Promise<StageState>
  /** Told of what the stage begins with. */
  readonly onBase: (facts: BaseFacts) => void
}

type FileInstruction = Extract<Instruction, { kind: 'run' | 'copy' | 'add' }> | (ConfigInstruction & { readonly kind: 'workdir' })

export interface Based {
  readonly state: StageState
  readonly triggers: readonly Instruction[]
  readonly imageId?: ImageId
}

export class StageRun {
  readonly #shared: BuildShared
  readonly #stage: Stage
  readonly #run: StageRunOptions
  readonly #tools: StageTools
  /** What its files are for. */
  readonly #platform: string
  /** Materials of the step that runs. */
  #noted: BuildMaterial[] = []
  #vertices = 0
  /** Of the base's triggers those that touch files. */
  #triggers = 0

  constructor(run: StageRunOptions) {
    this.#run = run
    this.#shared = run.shared
    this.#stage = run.stage
    const { plan, request, roots } = run.shared
    this.#platform = platformOfStage(run.stage, plan)
    this.#tools = {
      shared: run.shared,
      stage: run.stage,
      context: { escape: plan.escape, buildArgs: new Map(Object.entries(request.buildArgs)), globalArgs: plan.globalArgs, rules: rulesOf(request) },
      layers: new StepLayers(run.shared, run.stage),
      channel: run.channel,
      note: (material) => void this.#noted.push(material),
      sources: { contentOf: (from, at, paths) => this.#contentOf(from, at, paths), view: (chainId, view) => roots.view(chainId, view) },
    }
  }

  async run(): Promise<StageState> {
    const { channel, firstStep, totalSteps } = this.#run
    try {
      this.#announce(firstStep, totalSteps, this.#stage.original)
      const { state, triggers, imageId } = await this.#base()
      this.#run.onBase({ variables: new Set(state.scope.keys()), platform: state.platform })
      this.#sayId(imageId ?? state.chainId)
      let current = state
      this.#triggers = triggers.filter(touchesFiles).length
      if (triggers.length > 0) channel.text(`# Executing ${triggers.length} build trigger${triggers.length === 1 ? '' : 's'}\n`)
      for (const trigger of triggers) current = await this.#step(current, trigger, 'ONBUILD ')
      for (const [index, instruction] of this.#stage.instructions.entries()) {
        this.#announce(firstStep + 1 + index, totalSteps, instruction.original)
        current = await this.#step(current, instruction)
      }
      return current
    } finally {
      channel.close()
    }
  }

  #announce(step: number, total: number, original: string): void {
    this.#run.channel.text(`Step ${step}/${total} : ${original}\n`)
  }

  #sayId(id: string | undefined): void {
    this.#run.channel.text(id === undefined ? ' ---> \n' : ` ---> ${shortId(id)}\n`)
  }

  /**
   * A step as BuildKit names it: `[build 2/3] RUN make`, where there are several platforms `[linux/amd64->arm64 build 2/3] RUN make`. A FROM
   * of an image and what touches files are counted.
   */
  #nextName(original: string, scope: StageState['scope'] = new Map()): string {
    const { plan, target } = this.#shared
    const { base, instructions, name, index } = this.#stage
    this.#vertices += 1
    const total = (base.kind === 'image' || base.kind === 'context' ? 1 : 0) + instructions.filter(touchesFiles).length + this.#triggers
    const stage = name ?? (plan.stages.length > 1 ? `stage-${index}` : '')
    const platform = target.isOneOfSeveral ? `${platformText(parsePlatform(this.#platform))}${crossTarget(this.#platform, scope)} ` : ''
    return `[${platform}${stage === '' ? '' : `${stage} `}${String(this.#vertices).padStart(String(total).length)}/${total}] ${original}`
  }

  // ---- FROM ----------------------------------------------------------------------------------------------------------

  async #base(): Promise<Based> {
    const { base } = this.#stage
    switch (base.kind) {
      case 'scratch':
        return this.#begin(this.#emptyState())
      case 'stage': {
        const below = await this.#run.stageResult(base.index)
        const variables = rulesOf(this.#shared.request).argsAreVariables ? {} : { scope: new Map<string, string>(), args: new Map<string, string>() }
        return this.#begin({ ...below, ...variables, hasOwnCommand: false })
      }
      case 'image':
        return this.#fromImage(base.reference)
      case 'context': {
        const reference = this.#imageOf(base.name)
        return reference === undefined ? this.#fromContext(base.name) : this.#fromImage(reference)
      }
    }
  }

  #fromImage(reference: string): Promise<Based> {
    const name = this.#nextName(`FROM ${fullName(reference)}`)
    return this.#shared.once.bases.of(cacheKey(name, this.#stage.index, reference, this.#platform), () => this.#fromImageAs(name, reference))
  }

  async #fromImageAs(name: string, reference: string): Promise<Based> {
    const vertex = this.#shared.vertices.begin(name)
    try {
      const { state, ...based } = await this.#onImage(await this.#image(reference, { as: 'FROM', at: this.#stage, vertex }))
      vertex.end({ cached: true })
      return { ...based, state: { ...state, materials: this.#noted.splice(0) } }
    } catch (error) {
      vertex.fail(error)
      throw error
    }
  }

  /** A tree of files is a root file system without configuration. */
  async #fromContext(name: string): Promise<Based> {
    const { file, line, original, from } = this.#stage
    const copy = parseInstruction({ ...from, file, line, original, keyword: 'COPY', args: `--from=${name} / /`, heredocs: [] }, this.#shared.plan.escape)
    const { state } = this.#begin(this.#emptyState())
    return { state: await this.#step(state, copy), triggers: [] }
  }

  #emptyState(): StageState {
    const { scratchWorkingDir } = rulesOf(this.#shared.request)
    return { config: scratchWorkingDir === undefined ? {} : { WorkingDir: scratchWorkingDir }, author: undefined, platform: parsePlatform(this.#platform), scope: new Map(), args: new Map(), diffIds: [], chainId: undefined, history: [], hasOwnCommand: false, materials: [], inherited: { layers: 0, history: 0 } }
  }

  async #onImage({ id: imageId, config, topLayer }: Image): Promise<Based> {
    const { os, architecture, variant } = config
    if (topLayer !== undefined) this.#tools.layers.keep(topLayer)
    const begun = this.#begin({
      config: config.config ?? {},
      author: config.author,
      platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
      scope: new Map(),
      args: new Map(),
      diffIds: config.rootfs.diff_ids,
      chainId: topLayer,
      history: config.history ?? [],
      hasOwnCommand: false,
      materials: [],
      inherited: { layers: config.rootfs.diff_ids.length, history: config.history?.length ?? 0 },
    })
    return { ...begun, imageId }
  }

  /** Docker's rules for every FROM: a PATH where there is none (but for Windows, which has no such default), and the base's ONBUILD triggers, once. */
  #begin(base: StageState): Based {
    const { OnBuild, ...config } = base.config
    const env = config.Env ?? []
    const Env = base.platform.os === 'windows' || env.some((each) => each.startsWith('PATH=')) ? env : [...env, `PATH=${defaultPath}`]
    const scope = new Map(base.scope)
    for (const each of Env) {
      const equals = each.indexOf('=')
      if (equals > 0) scope.set(each.slice(0, equals), each.slice(equals + 1))
    }
    const triggers = (OnBuild ?? []).map((text) => {
      const [source] = readLines(text, this.#stage.file).instructions
      if (source === undefined) throw syntaxFault(this.#stage, `the base image has an empty ONBUILD trigger`)
      return parseInstruction({ ...source, line: this.#stage.line }, '\\')
    })
    return { state: { ...base, config: Env.length === 0 ? config : { ...config, Env }, scope }, triggers }
  }

  async #image(reference: string, { as, at, vertex }: { readonly as: string; readonly at: Place; readonly vertex?: Vertex }): Promise<Image> {
    const onProgress = (progress: TransferProgress): void => {
      this.#run.channel.say({ kind: 'status', ...progress })
      vertex?.progress(progress.id ?? reference, progress.status, progress)
    }
    const { target, roots } = this.#shared
    // What nobody has named is whatever is here.
    const platform = target.isGiven || this.#platform !== target.platform ? this.#platform : undefined
    const image = await roots.image(reference, { platform, as, at, onProgress })
    if (!reference.startsWith('sha256:')) this.#noted.push({ kind: 'image', reference: fullName(reference), platform: this.#platform, digest: digestIn(image, reference) })
    return image
  }

  // ---- steps ---------------------------------------------------------------------------------------------------------

  /** `prefix`: before its name in lists. */
  async #step(state: StageState, instruction: Instruction, prefix = ''): Promise<StageState> {
    if (this.#shared.signal.aborted) throw new Fault('canceled', 'the build was canceled')
    if (instruction.kind === 'from') throw syntaxFault(instruction, 'FROM cannot stand here')
    if (!touchesFiles(instruction)) return this.#configStep(state, instruction)
    // What waits for another stage has not begun.
    const others = await Promise.all(stagesOf(instruction, this.#stage, this.#shared.plan).map((index) => this.#run.stageResult(index)))
    const name = this.#nextName(`${prefix}${shownIn(state, this.#tools.context, instruction)}`, state.scope)
    const { scope, args, ...rest } = state
    const identity = cacheKey(name, this.#stage.index, this.#platform, instruction, rest, [...scope], [...args], others.map(({ chainId }) => chainId ?? ''))
    return this.#shared.once.steps.of(identity, async () => {
      const next = await this.#stepAs(name, state, instruction)
      return { ...next, materials: mergedMaterials(next.materials, this.#noted.splice(0), ...others.map(({ materials }) => materials)) }
    })
  }

  async #stepAs(name: string, state: StageState, instruction: FileInstruction): Promise<StageState> {
    const report = new StepReport(this.#shared.vertices.begin(name), this.#run.channel)
    try {
      const next = await this.#fileStep(state, instruction, report)
      report.done(next.chainId)
      return next
    } catch (error) {
      report.vertex.fail(error)
      throw error
    }
  }

  #fileStep(state: StageState, instruction: FileInstruction, report: StepReport): Promise<StageState> {
    switch (instruction.kind) {
      case 'run':
        return runStep(state, instruction, this.#tools, report)
      case 'copy':
      case 'add':
        return copyStep(state, instruction, this.#tools, report)
      case 'workdir':
        return this.#workdirStep(state, instruction, report)
    }
  }

  async #workdirStep(state: StageState, instruction: ConfigInstruction, report: StepReport): Promise<StageState> {
    const { config } = applyInstruction(state, instruction, this.#tools.context)
    const folder = config.WorkingDir ?? '/'
    const user = rulesOf(this.#shared.request).workdirsOfUser ? (state.config.User ?? '') : ''
    const next = (result: StepResult): StageState => ({ ...withLayer(state, result, `WORKDIR ${folder}`), config })
    const act = async (rootfs: string): Promise<void> => void (await makeFolder(rootfs, folder, user === '' ? undefined : await ownerIn(rootfs, user)))
    return next(await this.#tools.layers.cached(['workdir', state.chainId ?? '', folder, user], { parent: state.chainId, next, act, onCached: report.cached }))
  }

  /** Such a step costs nothing; whether it is new decides what clients are told, and with `cacheFrom` what may follow. */
  async #configStep(state: StageState, instruction: ConfigInstruction): Promise<StageState> {
    const next = applyInstruction(state, instruction, this.#tools.context)
    const onCached = (): void => this.#run.channel.text(' ---> Using cache\n')
    await this.#tools.layers.cached(['config', state.chainId ?? '', state.config, [...state.args], next.history.at(-1)?.created_by], { parent: state.chainId, next: () => next, onCached })
    this.#sayId(next.chainId)
    return next
  }

  // ---- content of others -----------------------------------------------------------------------------------------------

  async #contentOf(from: string, at: Instruction, paths: readonly string[]): Promise<Content> {
    const source = contentSource(from, this.#stage, this.#shared.plan, at)
    switch (source.kind) {
      case 'scratch':
        return { kind: 'layers', chainId: undefined }
      case 'stage':
        return { kind: 'layers', chainId: (await this.#run.stageResult(source.index)).chainId }
      case 'image':
        return { kind: 'layers', chainId: (await this.#image(source.reference, { as: '--from', at })).topLayer }
      case 'context': {
        const reference = this.#imageOf(source.name)
        if (reference === undefined) return { kind: 'tree', tree: await this.#shared.contexts.tree(source.name, paths, this.#platform) }
        return { kind: 'layers', chainId: (await this.#image(reference, { as: '--from', at })).topLayer }
      }
    }
  }

  /** The image that a named context is; undefined: it is a tree. */
  #imageOf(name: string): string | undefined {
    const context = this.#shared.contexts.named(name, this.#platform)
    if (context?.kind === 'image') return context.reference
    return context?.kind === 'built' ? context.imageId : undefined
  }
}

/** `->arm64`: what a stage's variables say that it makes something for, where that is something else than its files are for. */
function crossTarget(platform: string, scope: StageState['scope']): string {
  const own = parsePlatform(platform)
  const whole = scope.get('TARGETPLATFORM')
  const [os = own.os, architecture = own.architecture] = [scope.get('TARGETOS'), scope.get('TARGETARCH')]
  const text = whole ?? [os, architecture, scope.get('TARGETVARIANT')].filter((part) => part !== undefined && part !== '').join('/')
  // Who gives these variables values of their own may mean anything by them.
  if (!isPlatform(text)) return ''
  const made = parsePlatform(text)
  if (made.os !== own.os) return `->${platformText(made)}`
  return made.architecture === own.architecture ? '' : `->${[made.architecture, made.variant].filter((part) => part !== undefined).join('/')}`
}

/** As BuildKit writes it. What is no name is shown as it stands: who resolves it says what is wrong. */
function fullName(reference: string): string {
  try {
    return reference.startsWith('sha256:') ? reference : canonicalReference(withDefaultTag(parseReference(reference)))
  } catch (error) {
    if (isFault(error, 'invalidArgument')) return reference
    throw error
  }
}

/** Of what the registry has it by. */
function digestIn({ repoDigests }: Image, reference: string): string | undefined {
  const wanted = familiarName(parseReference(reference))
  return repoDigests.map((name) => name.split('@')).find(([repository]) => repository === wanted)?.[1]
}

/** A user whom the image does not know yet owns nothing: root does. */
async function ownerIn(rootfs: string, user: string): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  try {
    return await lookUpIdentity(rootfs, user, [])
  } catch (error) {
    if (isFault(error, 'invalidArgument')) return undefined
    throw error
  }
}

function touchesFiles(instruction: Instruction): instruction is FileInstruction {
  return instruction.kind === 'run' || instruction.kind === 'copy' || instruction.kind === 'add' || instruction.kind === 'workdir'
}
