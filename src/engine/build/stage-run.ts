/**
 * One stage of one build: its base, then its instructions one after another. A step that touches files looks in the cache first;
 * what it must really do happens on a snapshot of its own, which becomes a layer.
 */
import { mkdir } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { rfc3339Nano } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { randomHex } from '#base/random.ts'
import type { Gate, KeyedSerial } from '#base/task.ts'
import type { ChainId, DiffId, Image, ImageConfig, ImageId } from '../contract/images.ts'
import type { BuildRequest } from '../http/backend.ts'
import type { BuilderOptions } from './builder.ts'
import { cacheKey, type BuildCache, type BuildLease } from './cache.ts'
import { copyInputs, type CopySource, type PreparedCopy } from './copy-step.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import { parseInstruction, type CopyInstruction, type Instruction, type RunInstruction } from './dockerfile/instructions.ts'
import { readLines } from './dockerfile/lines.ts'
import { contentSource, type Stage, type StagePlan } from './dockerfile/stages.ts'
import { OutputTail } from './output-tail.ts'
import type { Channel } from './ordered-output.ts'
import type { PlaceFilesArgs } from './place-files.job.ts'
import { makeFolder, runCommand } from './run-command.ts'
import { mountIdentities, RunMounts, type MountSources } from './run-mounts.ts'
import type { Spool } from './spool.ts'
import { applyInstruction, commandArgv, defaultPath, expandIn, predefinedArgs, shellOf, shortId, withLayer, type ConfigInstruction, type StageState, type StepContext, type StepResult } from './stage-state.ts'
import type { FileTree } from './tree.ts'

/** What the stages of one build share. */
export interface BuildShared {
  readonly id: string
  /** The build's own folder; gone when the build is over. */
  readonly folder: string
  readonly request: BuildRequest
  readonly plan: StagePlan
  readonly spool: Spool
  readonly context: FileTree
  /** Aborts when the client goes or another stage fails. */
  readonly signal: AbortSignal
  readonly options: BuilderOptions
  readonly cache: BuildCache
  /** The images that alone may serve as cache; undefined: whatever was built here. */
  readonly cacheSources: readonly Image[] | undefined
  readonly lease: BuildLease
  readonly steps: Gate
  readonly keys: KeyedSerial<string>
}

export interface StageRunOptions {
  readonly shared: BuildShared
  readonly stage: Stage
  /** Number of this stage's FROM among all steps. */
  readonly firstStep: number
  readonly totalSteps: number
  readonly channel: Channel
  readonly stageResult: (index: number) => Promise<StageState>
}

interface CachedStep {
  readonly parent: ChainId | undefined
  /** The state with the step's result. */
  readonly next: (result: StepResult) => StageState
  /** Changes the mounted root; a step without it touches no file. */
  readonly act?: (rootfs: string) => Promise<void>
}

type FileInstruction = Extract<Instruction, { kind: 'run' | 'copy' | 'add' }>

export class StageRun {
  readonly #shared: BuildShared
  readonly #stage: Stage
  readonly #run: StageRunOptions
  readonly #context: StepContext
  /** Mounted roots of other stages and images, by chain id. */
  readonly #views = new Map<ChainId, Promise<string>>()
  readonly #sources: MountSources = { chainOf: (from, at) => this.#sourceState(from, at), view: (chainId) => this.#view(chainId) }
  #counter = 0

  constructor(run: StageRunOptions) {
    this.#run = run
    this.#shared = run.shared
    this.#stage = run.stage
    const { plan, request } = run.shared
    this.#context = { escape: plan.escape, buildArgs: new Map(Object.entries(request.buildArgs)), globalArgs: plan.globalArgs }
  }

  async run(): Promise<StageState> {
    const { channel, firstStep, totalSteps } = this.#run
    try {
      this.#announce(firstStep, totalSteps, this.#stage.original)
      const { state, triggers, imageId } = await this.#base()
      this.#sayId(imageId ?? state.chainId)
      let current = state
      if (triggers.length > 0) channel.note(`# Executing ${triggers.length} build trigger${triggers.length === 1 ? '' : 's'}\n`)
      for (const trigger of triggers) current = await this.#step(current, trigger)
      for (const [index, instruction] of this.#stage.instructions.entries()) {
        this.#announce(firstStep + 1 + index, totalSteps, instruction.original)
        current = await this.#step(current, instruction)
      }
      return current
    } finally {
      channel.close()
    }
  }

  /** Lets go of mounted views. Called when all stages have ended. */
  async cleanUp(): Promise<void> {
    const { snapshots } = this.#shared.options
    for (const view of await Promise.allSettled(this.#views.values())) {
      if (view.status === 'rejected') continue
      await snapshots.unmount(view.value)
      await snapshots.remove(this.#viewKey(view.value))
    }
  }

  #announce(step: number, total: number, original: string): void {
    this.#run.channel.say({ kind: 'stream', text: `Step ${step}/${total} : ${original}\n`, step: { number: step, total, instruction: original } })
  }

  #sayId(id: string | undefined): void {
    this.#run.channel.note(id === undefined ? ' ---> \n' : ` ---> ${shortId(id)}\n`)
  }

  // ---- FROM ----------------------------------------------------------------------------------------------------------

  async #base(): Promise<{ readonly state: StageState; readonly triggers: readonly Instruction[]; readonly imageId?: ImageId }> {
    const { base } = this.#stage
    switch (base.kind) {
      case 'scratch':
        return this.#begin({ config: {}, author: undefined, platform: this.#platform(), scope: new Map(), args: new Map(), diffIds: [], chainId: undefined, history: [], hasOwnCommand: false })
      case 'stage':
        return this.#begin({ ...(await this.#run.stageResult(base.index)), hasOwnCommand: false })
      case 'image': {
        const { id: imageId, config, topLayer } = await this.#image(base.reference)
        const { os, architecture, variant } = config
        if (topLayer !== undefined) this.#keep(topLayer)
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
        })
        return { ...begun, imageId }
      }
    }
  }

  /** Docker's rules for every FROM: a PATH where there is none, and the base's ONBUILD triggers, once. */
  #begin(base: StageState): { readonly state: StageState; readonly triggers: readonly Instruction[] } {
    const { OnBuild, ...config } = base.config
    const env = config.Env ?? []
    const Env = env.some((each) => each.startsWith('PATH=')) ? env : [...env, `PATH=${defaultPath}`]
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
    return { state: { ...base, config: { ...config, Env }, scope }, triggers }
  }

  #platform(): StageState['platform'] {
    const { globalArgs } = this.#shared.plan
    const variant = globalArgs.get('TARGETVARIANT') ?? ''
    return { os: globalArgs.get('TARGETOS') ?? 'linux', architecture: globalArgs.get('TARGETARCH') ?? 'amd64', ...(variant === '' ? {} : { variant }) }
  }

  async #image(reference: string): Promise<Image> {
    const { request, options, signal } = this.#shared
    if (!request.pull) {
      try {
        return await options.images.resolve(reference)
      } catch (error) {
        if (!isFault(error, 'notFound')) throw error
      }
    }
    const host = /^([^/]+[.:][^/]*|localhost)\//.exec(reference)?.[1] ?? 'https://index.docker.io/v1/'
    try {
      return await options.images.pull(reference, {
        auth: await request.credentials(host),
        ...(this.#stage.platform === undefined ? {} : { platform: this.#stage.platform }),
        onProgress: (progress) => this.#run.channel.say({ kind: 'status', ...progress }),
        signal,
      })
    } catch (error) {
      if (error instanceof Fault) throw new Fault(error.code, `${this.#stage.file}:${this.#stage.line}: FROM ${reference}: ${error.message}`, { cause: error, details: error.details })
      throw error
    }
  }

  // ---- steps ---------------------------------------------------------------------------------------------------------

  async #step(state: StageState, instruction: Instruction): Promise<StageState> {
    if (this.#shared.signal.aborted) throw new Fault('canceled', 'the build was canceled')
    switch (instruction.kind) {
      case 'from':
        throw syntaxFault(instruction, 'FROM cannot stand here')
      case 'run':
        return this.#runStep(state, instruction)
      case 'copy':
      case 'add':
        return this.#copyStep(state, instruction)
      case 'workdir': {
        const next = applyInstruction(state, instruction, this.#context)
        const folder = next.config.WorkingDir ?? '/'
        const withResult = (result: StepResult): StageState => withLayer(state, result, `WORKDIR ${folder}`)
        const result = await this.#cached(['workdir', state.chainId ?? '', folder], { parent: state.chainId, next: withResult, act: async (rootfs) => void (await makeFolder(rootfs, folder)) })
        const withFolder = withResult(result)
        this.#sayId(withFolder.chainId)
        return { ...withFolder, config: next.config }
      }
      default:
        return this.#configStep(state, instruction)
    }
  }

  /** Such a step costs nothing; whether it is new decides what clients are told, and with `cacheFrom` what may follow. */
  async #configStep(state: StageState, instruction: ConfigInstruction): Promise<StageState> {
    const next = applyInstruction(state, instruction, this.#context)
    await this.#cached(['config', state.chainId ?? '', state.config, [...state.args], next.history.at(-1)?.created_by], { parent: state.chainId, next: () => next })
    this.#sayId(next.chainId)
    return next
  }

  /**
   * The result of a step by its key, or of running it. Builds that need the same step wait for each other, so that it runs once.
   */
  #cached(keyParts: readonly unknown[], step: CachedStep): Promise<StepResult> {
    const { cache, keys, steps } = this.#shared
    const key = cacheKey(...keyParts)
    return keys.run(key, async () => {
      const known = this.#isUncached() ? undefined : cache.get(key, 'step')
      if (known !== undefined && this.#mayUse(step.next(known)) && (known.layer === undefined || (await this.#shared.options.snapshots.has(known.layer.chainId)))) {
        this.#run.channel.note(' ---> Using cache\n', 'cached')
        if (known.layer !== undefined) this.#keep(known.layer.chainId, known.layer.diffId)
        await cache.touch(key)
        return known
      }
      const { act, parent } = step
      const layer = act === undefined ? undefined : await steps.run(() => this.#makeLayer(parent, act))
      if (layer !== undefined) this.#keep(layer.chainId, layer.diffId)
      const result: StepResult = { created: rfc3339Nano(this.#shared.options.clock.nowNs()), ...(layer === undefined ? {} : { layer }) }
      const description = step.next(result).history.at(-1)?.created_by
      await cache.put(key, { kind: 'step', ...result, ...(description === undefined ? {} : { description }) })
      return result
    })
  }

  #isUncached(): boolean {
    const { noCache } = this.#shared.request
    return typeof noCache === 'boolean' ? noCache : this.#stage.name !== undefined && noCache.includes(this.#stage.name)
  }

  /** Where images are named as the cache, a step is known when one of them begins with the same steps. */
  #mayUse(next: StageState): boolean {
    return this.#shared.cacheSources?.some(({ config }) => beginsWith(config, next)) ?? true
  }

  #keep(chainId: ChainId, diffId?: DiffId): void {
    const { lease } = this.#shared
    lease.chainIds.add(chainId)
    if (diffId !== undefined) lease.diffIds.add(diffId)
  }

  async #makeLayer(parent: ChainId | undefined, act: (rootfs: string) => Promise<void>): Promise<StepResult['layer']> {
    const { snapshots } = this.#shared.options
    const key = this.#snapshotKey()
    const rootfs = join(this.#shared.folder, key)
    await mkdir(rootfs)
    await snapshots.prepare(key, parent)
    try {
      await snapshots.mount(key, rootfs, { volatile: true })
      try {
        await act(rootfs)
      } finally {
        await snapshots.unmount(rootfs)
      }
      const layer = await snapshots.diff(key, { signal: this.#shared.signal })
      // Folders that were only looked into make a small archive, too; a large one needs no second look.
      if (layer.sizeBytes <= smallLayerBytes && (await snapshots.changes(key)).length === 0) return undefined
      return { diffId: layer.diffId, chainId: await snapshots.commit(key, layer), sizeBytes: layer.sizeBytes, ...(parent === undefined ? {} : { parent }) }
    } finally {
      await snapshots.remove(key)
    }
  }

  #snapshotKey(): string {
    this.#counter += 1
    return `build-${this.#shared.id}-${this.#stage.index}-${this.#counter}`
  }

  // ---- RUN -----------------------------------------------------------------------------------------------------------

  async #runStep(state: StageState, instruction: Extract<Instruction, { kind: 'run' }>): Promise<StageState> {
    const { argv, script } = runArgv(instruction, state)
    const network = instruction.network === 'default' ? this.#shared.request.networkMode || 'default' : instruction.network
    const mounts = await mountIdentities(instruction, this.#shared, this.#sources)
    const scope = [...state.scope].sort(([a], [b]) => (a < b ? -1 : 1))
    const identity = { argv, script, scope, user: state.config.User ?? '', folder: state.config.WorkingDir ?? '/', network, mounts }
    const args = [...state.args].map(([name, value]) => `${name}=${value}`)
    const withResult = (result: StepResult): StageState => withLayer(state, result, `RUN ${args.length > 0 ? `|${args.length} ${args.join(' ')} ` : ''}${argv.join(' ')}`)
    const next = withResult(await this.#cached(['run', state.chainId ?? '', identity], { parent: state.chainId, next: withResult, act: (rootfs) => this.#execute(state, instruction, { rootfs, argv, script, network }) }))
    this.#sayId(next.chainId)
    return next
  }

  async #execute(state: StageState, instruction: Extract<Instruction, { kind: 'run' }>, command: { readonly rootfs: string; readonly argv: readonly string[]; readonly script: string | undefined; readonly network: string }): Promise<void> {
    const { options, folder, request, signal } = this.#shared
    const id = randomHex(options.random, 64)
    const own = join(folder, `run-${id}`)
    await mkdir(own)
    await using mounts = await RunMounts.open(instruction, own, this.#shared, this.#sources)
    if (command.script !== undefined) await mounts.addFile(scriptPath, command.script)
    this.#run.channel.note(` ---> Running in ${shortId(id)}\n`)
    const tail = new OutputTail()
    const exitCode = await runCommand(options, {
      id,
      rootfs: command.rootfs,
      folder: own,
      argv: command.argv,
      env: [...[...state.scope].map(([name, value]) => `${name}=${value}`), ...this.#proxyVariables(state), ...mounts.env],
      workingDir: state.config.WorkingDir ?? '/',
      user: state.config.User ?? '',
      network: command.network,
      mounts: mounts.list,
      limits: limitsOf(request),
      onOutput: (data, channel) => {
        const text = tail.add(data, channel)
        if (text !== '') this.#run.channel.text(text)
      },
      signal,
    }).catch((error: unknown) => {
      throw this.#stepFault(instruction, command.argv, error)
    })
    const rest = tail.end()
    if (rest !== '') this.#run.channel.text(rest)
    if (exitCode !== 0) throw failedCommand(instruction, command.argv, exitCode, tail.lines())
    if (request.remove) this.#run.channel.note(` ---> Removed intermediate container ${shortId(id)}\n`)
  }

  /** A runtime that cannot start the command at all. */
  #stepFault(instruction: FileInstruction, argv: readonly string[], error: unknown): unknown {
    if (!(error instanceof Fault) || error.code === 'canceled') return error
    return new Fault(error.code === 'internal' ? 'invalidArgument' : error.code, `${instruction.file}:${instruction.line}: the command '${argv.join(' ')}' could not be started: ${error.message}`, { cause: error, details: error.details })
  }

  #proxyVariables(state: StageState): string[] {
    return predefinedArgs.flatMap((name) => {
      const value = this.#context.buildArgs.get(name)
      return value === undefined || value === null || state.scope.has(name) ? [] : [`${name}=${value}`]
    })
  }

  // ---- COPY and ADD ----------------------------------------------------------------------------------------------------

  async #copyStep(state: StageState, instruction: CopyInstruction & Instruction): Promise<StageState> {
    const expand = (word: string): string => expandIn(state, this.#context, instruction, word)
    const sources = instruction.sources.map(expand)
    const written = expand(instruction.destination)
    const chown = instruction.chown === undefined ? undefined : expand(instruction.chown)
    const mode = parseMode(instruction, instruction.chmod === undefined ? undefined : expand(instruction.chmod))
    const isFolder = /(^|\/)\.?$/.test(written)
    if (!isFolder && sources.length + instruction.heredocs.length > 1) {
      throw syntaxFault(instruction, `When using ${instruction.kind.toUpperCase()} with more than one source file, the destination must be a directory and end with a /`)
    }
    const destination = posix.resolve('/', state.config.WorkingDir ?? '/', written)
    const keepOwners = instruction.from !== undefined && chown === undefined
    const copy = await copyInputs(this.#copySource(instruction), { instruction, sources, keepOwners, shared: this.#shared, expand })
    const identity = { destination, isFolder, chown: chown ?? '', mode: mode ?? -1, keepOwners, unpack: instruction.kind === 'add' && instruction.unpack, digest: copy.digest }
    const flags = instruction.from === undefined ? '' : `--from=${instruction.from} `
    const withResult = (result: StepResult): StageState => withLayer(state, result, `${instruction.kind.toUpperCase()} ${flags}${[...sources, ...instruction.heredocs.map(({ name }) => `<<${name}`), written].join(' ')}`)
    const next = withResult(await this.#cached(['copy', state.chainId ?? '', identity], { parent: state.chainId, next: withResult, act: (rootfs) => this.#place(rootfs, copy, { destination, isFolder, owner: chown, mode, at: instruction }) }))
    this.#sayId(next.chainId)
    return next
  }

  async #place(rootfs: string, copy: PreparedCopy, how: { readonly destination: string; readonly isFolder: boolean; readonly owner: string | undefined; readonly mode: number | undefined; readonly at: Instruction }): Promise<void> {
    const { options, spool, signal } = this.#shared
    try {
      for (const { selection, keepOwners } of await copy.load()) {
        const args: PlaceFilesArgs = { fd: spool.fd, selection, destination: how.destination, isFolder: how.isFolder, keepOwners, ...(how.owner === undefined ? {} : { owner: how.owner }), ...(how.mode === undefined ? {} : { mode: how.mode }) }
        await options.confined.run(rootfs, placeFiles, args, { signal })
      }
    } catch (error) {
      if (isFault(error, 'invalidArgument') && error.details['line'] === undefined) throw syntaxFault(how.at, `${how.at.kind.toUpperCase()} failed: ${error.message}`)
      throw error
    }
  }

  #copySource(instruction: CopyInstruction & Instruction): CopySource {
    const { from } = instruction
    if (from === undefined) return { kind: 'context', tree: this.#shared.context }
    return { kind: 'root', name: from, chainId: () => this.#sourceState(from, instruction), view: (chainId) => this.#view(chainId) }
  }

  /** The layers of a stage or an image named by `--from`. Undefined: it has no files. */
  async #sourceState(from: string, at: Instruction): Promise<ChainId | undefined> {
    const source = contentSource(from, this.#stage, this.#shared.plan.stages, at)
    switch (source.kind) {
      case 'scratch':
        return undefined
      case 'stage':
        return (await this.#run.stageResult(source.index)).chainId
      case 'image':
        return (await this.#image(source.reference)).topLayer
    }
  }

  /** A layer stack mounted read-only for as long as the build lasts. */
  #view(chainId: ChainId): Promise<string> {
    const known = this.#views.get(chainId)
    if (known !== undefined) return known
    const view = this.#mountView(chainId)
    this.#views.set(chainId, view)
    return view
  }

  async #mountView(chainId: ChainId): Promise<string> {
    const { snapshots } = this.#shared.options
    const key = this.#snapshotKey()
    const target = join(this.#shared.folder, key)
    await mkdir(target)
    await snapshots.prepare(key, chainId)
    await snapshots.mount(key, target, { readonly: true })
    return target
  }

  #viewKey(target: string): string {
    return posix.basename(target)
  }
}

function beginsWith({ rootfs, history = [] }: ImageConfig, { diffIds, history: steps }: StageState): boolean {
  return diffIds.every((diffId, index) => rootfs.diff_ids[index] === diffId) && steps.every(({ created_by }, index) => history[index] !== undefined && history[index].created_by === created_by)
}

const smallLayerBytes = 64 * 1024

const placeFiles = new URL('./place-files.job.ts', import.meta.url)

/** Where a here-document with an interpreter line is found; /dev is the container's own, so no trace stays in the image. */
const scriptPath = '/dev/heredoc'

/** The arguments of a RUN; for a here-document that names its interpreter also the script. */
function runArgv(instruction: RunInstruction & Instruction, state: StageState): { readonly argv: readonly string[]; readonly script: string | undefined } {
  const { command, heredocs } = instruction
  const [first] = heredocs
  if (command.form === 'exec' || first === undefined) return { argv: commandArgv(command, state.config), script: undefined }
  if (heredocs.length === 1 && /^<<-?\S+$/.test(command.line)) {
    if (first.body.startsWith('#!')) return { argv: [scriptPath], script: first.body }
    return { argv: [...shellOf(state.config), first.body], script: undefined }
  }
  return { argv: [...shellOf(state.config), `${command.line}\n${heredocs.map(({ source }) => source).join('\n')}\n`], script: undefined }
}

function failedCommand(at: Instruction, argv: readonly string[], exitCode: number, lastLines: readonly string[]): Fault {
  const output = lastLines.length === 0 ? '' : `\nIts last lines were:\n${lastLines.map((line) => `  ${line}`).join('\n')}`
  return new Fault('unprocessable', `${at.file}:${at.line}: The command '${argv.join(' ')}' returned a non-zero code: ${exitCode}${output}`, { details: { exitCode, line: at.line } })
}

function parseMode(at: Instruction, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[0-7]{1,4}$/.test(text)) throw syntaxFault(at, `invalid chmod parameter: '${text}'; expected an octal mode between 0 and 07777, e.g. 755`)
  return Number.parseInt(text, 8)
}

function limitsOf(request: BuildRequest): Parameters<typeof runCommand>[1]['limits'] {
  const { memoryBytes, cpuShares, cpuQuotaUs, cpuPeriodUs, cpusetCpus, ulimits, shmSizeBytes, extraHosts } = request
  return { resources: { memoryBytes, cpuShares, cpuQuotaUs, cpuPeriodUs, cpusetCpus, ulimits }, extraHosts, ...(shmSizeBytes === undefined || shmSizeBytes === 0 ? {} : { shmSizeBytes }) }
}

