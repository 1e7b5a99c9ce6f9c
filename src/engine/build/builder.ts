/**
 * The builder: from a context archive and a Dockerfile to an image. This file owns what one engine's builds share (the cache,
 * the folder for work in progress, what to sweep after a crash) and the course of one build; a stage's steps are in `stage-run.ts`.
 *
 * What a killed build leaves: a folder in `work`, snapshots whose keys begin with `build-`, containers that the folder names.
 * `openBuilder` removes all three.
 */
import { chmod, mkdir, readdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { rfc3339Nano } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import { Gate, KeyedSerial } from '#base/task.ts'
import type { BlobIngester, BlobReader } from '#oci/blobs/contract.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { ContainerDefaults, Image, ImageBuilderStore, ImageConfig, ImageLister, ImageResolver, ImageTagger, ImageTransfer } from '../contract/images.ts'
import type { SnapshotArchives, SnapshotCommitter, SnapshotMounter, SnapshotReader } from '../contract/snapshots.ts'
import type { BuildResult, CacheImport } from '../contract/builds.ts'
import type { BuildCacheEntry, BuildPruneOptions, BuildRequest, BuiltRoot, ImageBuilder } from '../http/backend.ts'
import { chainIdsOf } from '../snapshots/chain.ts'
import type { BuildShared } from './build-shared.ts'
import { CacheMounts } from './cache-mounts.ts'
import { cacheKey, type BuildCache } from './cache.ts'
import { Contexts } from './contexts.ts'
import { planStages, type Stage, type StagePlan } from './dockerfile/stages.ts'
import { HeldMessages, OrderedOutput } from './ordered-output.ts'
import type { CommandRunnerOptions } from './run-command.ts'
import { Spool } from './spool.ts'
import { RemoteSources } from './remote/remote-sources.ts'
import { Roots } from './roots.ts'
import { StageRun } from './stage-run.ts'
import { predefinedArgs, shortId, type StageState } from './stage-state.ts'
import { Vertices, type Vertex } from './vertices.ts'

export interface BuilderOptions extends CommandRunnerOptions {
  readonly images: ImageResolver & ImageLister & Pick<ImageTagger, 'tag'> & Pick<ImageTransfer, 'pull'> & ImageBuilderStore & LayerCollector
  readonly snapshots: SnapshotReader & SnapshotMounter & Pick<SnapshotCommitter, 'diff' | 'commit' | 'unpack'> & Pick<SnapshotArchives, 'exportRoot'>
  readonly blobs: BlobReader & BlobIngester
  readonly processes: Processes
  readonly mounts: Mounts
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly cache: BuildCache
  /** Cache mounts and work in progress, e.g. `/var/lib/berth/build`. */
  readonly stateDir: string
  /** The machine's, e.g. `linux/amd64`. */
  readonly platform: string
  /** Steps that run at the same time, over all builds. */
  readonly parallelSteps?: number
  /** Bytes of layers that the cache keeps; 10 GiB by default. */
  readonly maxCacheBytes?: number
}

/** Frees layers that neither an image nor the cache needs; answers the bytes. */
export interface LayerCollector {
  collect(): Promise<number>
}

/** What the cache may hold before the least used of it goes. */
const defaultCacheBytes = 10 * 1024 ** 3

/** Under what a cached step goes by in lists. */
function shortKey(key: string): string {
  return key.slice(0, 25)
}

export async function openBuilder(options: BuilderOptions): Promise<Builder> {
  const builder = new Builder(options)
  await builder.open()
  return builder
}

export class Builder implements ImageBuilder {
  readonly #options: BuilderOptions
  readonly cache: BuildCache
  readonly #cacheMounts: CacheMounts
  readonly #steps: Gate
  readonly #keys = new KeyedSerial<string>()

  constructor(options: BuilderOptions) {
    this.#options = options
    this.cache = options.cache
    this.#cacheMounts = new CacheMounts(join(options.stateDir, 'mounts'))
    this.#steps = new Gate(options.parallelSteps ?? 4)
  }

  async open(): Promise<void> {
    await mkdir(this.#workFolder(), { recursive: true, mode: 0o711 })
    if (this.#options.remap !== undefined) await this.#letThrough()
    await this.#sweep()
  }

  /** The runtime goes to a command's root as the root of its container, who is a stranger on this machine; what caches hold stays ours. */
  async #letThrough(): Promise<void> {
    const { stateDir } = this.#options
    await mkdir(join(stateDir, 'mounts'), { recursive: true, mode: 0o700 })
    await chmod(join(stateDir, 'mounts'), 0o700)
    await chmod(stateDir, 0o711)
  }

  #workFolder(): string {
    return join(this.#options.stateDir, 'work')
  }

  /** Takes away what builds left that a kill interrupted. */
  async #sweep(): Promise<void> {
    const { runtime, networks, mounts, snapshots, log } = this.#options
    const work = this.#workFolder()
    for (const build of await readdir(work)) {
      log.info({ build }, 'sweeping a build that was interrupted')
      for (const name of await readdir(join(work, build))) {
        const id = /^run-([0-9a-f]{64})$/.exec(name)?.[1]
        if (id === undefined) continue
        await runtime.delete(id, { force: true })
        await networks.closeSandbox(id)
      }
    }
    for (const { target } of [...(await mounts.table(work))].reverse()) await snapshots.unmount(target)
    for (const key of await snapshots.keys()) if (key.startsWith('build-')) await snapshots.remove(key)
    for (const build of await readdir(work)) await rm(join(work, build), { recursive: true, force: true })
  }

  async build(asked: BuildRequest): Promise<BuildResult> {
    const held = new HeldMessages()
    const request = asked.quiet ? { ...asked, onMessage: held.hold } : asked
    refuseUnbuilt(request)
    if (request.squash) throw new Fault('unimplemented', 'squash is not supported: use a stage and COPY --from to make one layer')
    const id = randomHex(this.#options.random, 12)
    const folder = join(this.#workFolder(), id)
    await mkdir(folder, { mode: 0o711 })
    const failed = new AbortController()
    using lease = this.cache.lease()
    const signal = AbortSignal.any([request.signal, failed.signal])
    try {
      using vertices = new Vertices(id, request.onMessage)
      await using roots = new Roots({ buildId: id, folder, request, options: this.#options, signal })
      await using spool = await Spool.open(folder, this.#options.confined)
      using remote = new RemoteSources({ folder, request, options: this.#options, spool, cache: this.cache, signal })
      const contexts = new Contexts({ request, options: this.#options, spool, remote, vertices, signal })
      const main = await contexts.main()
      const plan = planStages(main.dockerfile, { ...this.#planOptions(request), isContext: (name) => contexts.named(name) !== undefined })
      const cacheSources = await this.#cacheSources(request.cacheFrom)
      const shared: BuildShared = { id, folder, request, plan, spool, context: main.tree, signal, options: this.#options, cache: this.cache, cacheSources, lease, cacheMounts: this.#cacheMounts, steps: this.#steps, keys: this.#keys, roots, remote, contexts, vertices }
      const state = await this.#buildPlan(shared, failed)
      if (request.output !== undefined) {
        await this.#handOver(shared, state, request.output)
        return { imageId: '' }
      }
      const image = await vertices.during('exporting to image', (vertex) => this.#export(shared, state, vertex))
      // `docker build -q` prints the one line it gets.
      if (asked.quiet) asked.onMessage({ kind: 'stream', text: `${image.id}\n` })
      return { imageId: image.id }
    } catch (error) {
      // Who asked for quiet is told after all what led to a failure.
      held.release(asked.onMessage)
      throw error
    } finally {
      await rm(folder, { recursive: true, force: true })
      await this.#keepWithinBounds()
    }
  }

  async #export(shared: BuildShared, state: StageState, vertex: Vertex): Promise<Image> {
    const { onMessage, tags } = shared.request
    const image = await this.#storeImage(shared, state)
    vertex.progress(`writing image ${image.id}`, `writing image ${image.id}`, { isDone: true })
    onMessage({ kind: 'imageId', id: image.id })
    onMessage({ kind: 'stream', text: `Successfully built ${shortId(image.id)}\n` })
    for (const tag of tags) {
      await this.#options.images.tag(image.id, tag)
      vertex.progress(`naming to ${tag}`, `naming to ${tag}`, { isDone: true })
      onMessage({ kind: 'stream', text: `Successfully tagged ${tag}\n` })
    }
    return image
  }

  /** Images that are not here are no cache, as in Docker; naming only such ones means that nothing is known. */
  async #cacheSources(imports: readonly CacheImport[]): Promise<readonly Image[] | undefined> {
    const names = imports.flatMap((source) => (source.kind === 'image' ? [source.reference] : []))
    if (names.length === 0) return undefined
    const found = await Promise.allSettled(names.map((name) => this.#options.images.resolve(name)))
    return found.flatMap((result) => {
      if (result.status === 'fulfilled') return [result.value]
      if (!isFault(result.reason, 'notFound') && !isFault(result.reason, 'invalidArgument')) throw result.reason
      return []
    })
  }

  async #keepWithinBounds(): Promise<void> {
    const gone = await this.cache.prune({ keepBytes: this.#options.maxCacheBytes ?? defaultCacheBytes })
    if (gone.length > 0) await this.#options.images.collect()
  }

  async diskUsage(): Promise<readonly BuildCacheEntry[]> {
    return (await this.#entries()).map(({ shown }) => shown)
  }

  /** What the cache has, as clients see it. A step whose layer an image has is shared: forgetting it frees nothing. */
  async #entries(): Promise<readonly { readonly key: string; readonly shown: BuildCacheEntry }[]> {
    const ms = (time: number): bigint => BigInt(Math.round(time)) * 1_000_000n
    const inImages = new Set((await this.#options.images.list({ all: true })).flatMap(({ config }) => chainIdsOf(config)))
    return this.cache.entries().map(({ key, created, usedAtMs, layer, description, inUse, parentKey }) => ({
      key,
      shown: {
        id: shortKey(key), parentId: parentKey === undefined ? '' : shortKey(parentKey), type: 'regular', description, sizeBytes: layer.sizeBytes, createdAtNs: ms(Date.parse(created) || usedAtMs), lastUsedAtNs: ms(usedAtMs),
        inUse, shared: inImages.has(layer.chainId),
      },
    }))
  }

  async prune({ all, unusedForMs, matches, ...space }: BuildPruneOptions): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
    const entries = await this.#entries()
    const keepBytes = await this.#bytesToKeep(space)
    if (keepBytes === undefined) return { deleted: [], reclaimedBytes: 0 }
    const isSelected = ({ shown }: (typeof entries)[number]): boolean => !shown.inUse && (all || !shown.shared) && (matches?.(shown) ?? true)
    // Everything without a layer (contents, times of images) goes only with everything else.
    const only = all && matches === undefined && !entries.some(({ shown }) => shown.inUse) ? {} : { only: new Set(entries.filter(isSelected).map(({ key }) => key)) }
    const gone = new Set(await this.cache.prune({ keepBytes, ...only, ...(unusedForMs === undefined ? {} : { usedBeforeMs: this.#options.clock.nowMs() - unusedForMs }) }))
    const deleted = entries.filter(({ key }) => gone.has(key)).map(({ shown }) => shown.id)
    return { deleted, reclaimedBytes: gone.size === 0 ? 0 : await this.#options.images.collect() }
  }

  /** 0: nothing; undefined: everything. As BuildKit reckons it, but that enough free space keeps everything where nothing else is bounded. */
  async #bytesToKeep({ reservedBytes = 0, maxUsedBytes = 0, minFreeBytes = 0 }: Pick<BuildPruneOptions, 'reservedBytes' | 'maxUsedBytes' | 'minFreeBytes'>): Promise<number | undefined> {
    if (minFreeBytes === 0) return Math.max(maxUsedBytes, reservedBytes)
    const { bavail, bsize } = await statfs(this.#options.stateDir)
    const excess = minFreeBytes - bavail * bsize
    if (excess <= 0) return maxUsedBytes === 0 && reservedBytes === 0 ? undefined : Math.max(maxUsedBytes, reservedBytes)
    const left = this.cache.usage().sizeBytes - excess
    return Math.max(0, maxUsedBytes === 0 ? left : Math.min(maxUsedBytes, left), reservedBytes)
  }

  #planOptions(request: BuildRequest): Parameters<typeof planStages>[1] {
    return {
      file: request.dockerfile,
      target: request.target,
      buildArgs: new Map(Object.entries(request.buildArgs)),
      buildPlatform: this.#options.platform,
      ...(request.platform === undefined || request.platform === '' ? {} : { targetPlatform: request.platform }),
    }
  }

  /** Runs the needed stages side by side; the first failure stops the others, and all have ended when it is told. */
  async #buildPlan(shared: BuildShared, failed: AbortController): Promise<StageState> {
    const { plan, request } = shared
    for (const warning of plan.warnings) request.onMessage({ kind: 'stream', text: `[Warning] ${warning}\n` })
    const output = new OrderedOutput(request.onMessage)
    const results = new Map<number, Promise<StageState>>()
    const start = (stage: Stage, firstStep: number): void => {
      const run = new StageRun({ shared, stage, firstStep, channel: output.channel(), totalSteps: countSteps(plan.needed), stageResult: (index) => results.get(index) ?? Promise.reject(new Fault('internal', `stage ${index} was not planned`)) })
      // Stages begin in the next turn, when all of them are known to each other.
      results.set(stage.index, Promise.resolve().then(() => run.run()))
    }
    plan.needed.reduce((step, stage) => {
      start(stage, step)
      return step + 1 + stage.instructions.length
    }, 1)
    let firstError: unknown
    const settled = [...results.values()].map((result) =>
      result.catch((error: unknown) => {
        firstError ??= error
        failed.abort(new Fault('canceled', 'another stage of the build failed'))
      }),
    )
    await Promise.all(settled)
    if (firstError !== undefined) throw firstError
    const state = await (results.get(plan.target.index) ?? Promise.reject(new Fault('internal', 'the target was not built')))
    warnUnusedArgs(request, plan)
    return state
  }

  async #handOver({ id, folder, spool, signal }: BuildShared, { chainId }: StageState, output: (built: BuiltRoot) => Promise<void>): Promise<void> {
    const { snapshots } = this.#options
    const key = `build-${id}-output`
    const root = join(folder, 'output')
    await snapshots.prepare(key, chainId)
    try {
      const files: BuiltRoot['files'] = async () => {
        await mkdir(root)
        await snapshots.mount(key, root, { readonly: true })
        const [selected] = await spool.addFromRoot(root, ['/'], { signal })
        const [, ...entries] = selected?.[0]?.entries ?? []
        return { entries, content: (entry) => spool.content(entry) }
      }
      await output({ tar: () => snapshots.exportRoot(key, { signal }), files })
    } finally {
      await snapshots.unmount(root)
      await snapshots.remove(key)
    }
  }

  /** The same layers and configuration give the same image as before, its times included. */
  async #storeImage({ request, options }: BuildShared, state: StageState): Promise<Image> {
    const labels = { ...state.config.Labels, ...request.labels }
    const config = withoutEmpty({ ...state.config, ...(Object.keys(labels).length > 0 ? { Labels: labels } : {}) })
    const key = cacheKey('image', config, state.diffIds, state.history, state.author, state.platform)
    const known = request.noCache === true ? undefined : this.cache.get(key, 'image')
    const created = known?.created ?? rfc3339Nano(options.clock.nowNs())
    if (known === undefined) await this.cache.put(key, { kind: 'image', created })
    else await this.cache.touch(key)
    const image: ImageConfig = {
      created,
      ...(state.author === undefined ? {} : { author: state.author }),
      architecture: state.platform.architecture,
      ...(state.platform.variant === undefined ? {} : { variant: state.platform.variant }),
      os: state.platform.os,
      config,
      rootfs: { type: 'layers', diff_ids: state.diffIds },
      history: state.history.map((entry) => ({ ...entry, created: entry.created ?? created })),
    }
    return options.images.put(image)
  }
}

/** What the contract has and this builder has not yet. */
function refuseUnbuilt({ call = 'build', cacheFrom, cacheTo = [] }: BuildRequest): void {
  const refuse = (what: string): never => {
    throw new Fault('unimplemented', `${what} is not supported yet`)
  }
  if (call !== 'build') refuse(`the call '${call}'`)
  for (const { kind } of cacheFrom) if (kind !== 'image') refuse(`cache import of type '${kind}'`)
  for (const { kind } of cacheTo) refuse(`cache export of type '${kind}'`)
}

function countSteps(stages: readonly Stage[]): number {
  return stages.reduce((sum, { instructions }) => sum + 1 + instructions.length, 0)
}

function warnUnusedArgs(request: BuildRequest, plan: StagePlan): void {
  const declared = new Set([...predefinedArgs, ...plan.globalArgs.keys()])
  for (const stage of plan.stages) {
    for (const instruction of stage.instructions) {
      if (instruction.kind === 'arg') for (const { name } of instruction.args) declared.add(name)
    }
  }
  const unused = Object.keys(request.buildArgs).filter((name) => !declared.has(name))
  if (unused.length > 0) request.onMessage({ kind: 'stream', text: `[Warning] One or more build-args [${unused.join(' ')}] were not consumed\n` })
}

/** The configuration as images carry it: what says nothing is left out. */
function withoutEmpty(config: ContainerDefaults): ContainerDefaults {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined && value !== null && value !== ''))
}
