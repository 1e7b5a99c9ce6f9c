/**
 * The builder: from a context archive and a Dockerfile to an image. This file owns what one engine's builds share (the cache,
 * the folder for work in progress, what to sweep after a crash) and the course of one build; a stage's steps are in `stage-run.ts`.
 *
 * What a killed build leaves: a folder in `work`, snapshots whose keys begin with `build-`, containers that the folder names.
 * `openBuilder` removes all three.
 */
import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import { Gate, KeyedSerial } from '#base/task.ts'
import type { BlobIngester, BlobReader } from '#oci/blobs/contract.ts'
import { parsePlatform, platformText } from '#oci/platform.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { Processes } from '#linux/contract/processes.ts'
import type { Image, ImageBuilderStore, ImageLister, ImageResolver, ImageTagger, ImageTransfer } from '../contract/images.ts'
import type { SnapshotArchives, SnapshotCommitter, SnapshotMounter, SnapshotReader } from '../contract/snapshots.ts'
import type { BuildResult, CacheImport } from '../contract/builds.ts'
import type { BuildCacheEntry, BuildCacheMounts, BuildPruneOptions, BuildRequest, ImageBuilder } from '../http/backend.ts'
import { answerOf, localBases, findings, refuseFindings } from './build-checks.ts'
import type { BuildShared, BuildTarget } from './build-shared.ts'
import { CacheKeeper, type LayerCollector } from './cache-keeper.ts'
import { cacheMountArchives } from './cache-mount-archives.ts'
import { CacheMounts } from './cache-mounts.ts'
import type { BuildCache } from './cache.ts'
import { Contexts } from './contexts.ts'
import { planStages, type StagePlan } from './dockerfile/stages.ts'
import { epochOf, exportImages, handOver, type BuiltState } from './image-output.ts'
import { HeldMessages } from './ordered-output.ts'
import type { CommandRunnerOptions } from './run-command.ts'
import { KeptContexts } from './kept-contexts.ts'
import { Spool, spoolIn } from './spool.ts'
import { RemoteSources } from './remote/remote-sources.ts'
import { PlannedPaths } from './planned-paths.ts'
import { Roots } from './roots.ts'
import { Once } from './once.ts'
import { runPlans } from './run-plan.ts'
import { exportCache } from './transfer/cache-export.ts'
import { ImportedCache } from './transfer/cache-import.ts'
import type { Registries } from './transfer/cache-places.ts'
import { Vertices } from './vertices.ts'

export interface BuilderOptions extends CommandRunnerOptions {
  readonly images: ImageResolver & ImageLister & Pick<ImageTagger, 'tag'> & Pick<ImageTransfer, 'pull'> & ImageBuilderStore & LayerCollector
  readonly snapshots: SnapshotReader & SnapshotMounter & Pick<SnapshotCommitter, 'link' | 'diff' | 'commit' | 'unpack'> & Pick<SnapshotArchives, 'exportRoot' | 'readArchive' | 'writeArchive'>
  readonly blobs: BlobReader & BlobIngester
  /** For caches elsewhere. */
  readonly registries: Registries
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

export async function openBuilder(options: BuilderOptions): Promise<Builder> {
  const builder = new Builder(options)
  await builder.open()
  return builder
}

export class Builder implements ImageBuilder {
  readonly #options: BuilderOptions
  readonly cache: BuildCache
  readonly cacheMounts: BuildCacheMounts
  readonly #cacheMounts: CacheMounts
  readonly #keeper: CacheKeeper
  readonly #kept: KeptContexts
  readonly #steps: Gate
  readonly #keys = new KeyedSerial<string>()

  constructor(options: BuilderOptions) {
    this.#options = options
    this.cache = options.cache
    this.#cacheMounts = new CacheMounts(join(options.stateDir, 'mounts'), options.clock)
    this.cacheMounts = cacheMountArchives(this.#cacheMounts, options.snapshots)
    this.#kept = new KeptContexts(join(options.stateDir, 'contexts'), options.clock)
    this.#keeper = new CacheKeeper({ ...options, mounts: this.#cacheMounts, contexts: this.#kept })
    this.#steps = new Gate(options.parallelSteps ?? 4)
  }

  async open(): Promise<void> {
    await mkdir(this.#workFolder(), { recursive: true, mode: 0o711 })
    await this.#kept.open()
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
    if (request.squash) throw new Fault('unimplemented', 'squash is not supported: use a stage and COPY --from to make one layer')
    const id = randomHex(this.#options.random, 12)
    const folder = join(this.#workFolder(), id)
    await mkdir(folder, { mode: 0o711 })
    const failed = new AbortController()
    using lease = this.cache.lease()
    const signal = AbortSignal.any([request.signal, failed.signal])
    const kept = request.context.kind === 'folder' && request.context.keptAs !== undefined ? await this.#kept.take(request.context.keptAs, spoolIn(folder)) : undefined
    try {
      using vertices = new Vertices(id, request.onMessage)
      await using roots = new Roots({ buildId: id, folder, request, options: this.#options, signal })
      await using spool = await Spool.open(folder, this.#options.confined)
      await using remote = new RemoteSources({ folder, request, options: this.#options, spool, cache: this.cache, signal })
      const contexts = new Contexts({ request, options: this.#options, spool, remote, vertices, signal, ...(kept === undefined ? {} : { kept }) })
      const main = await contexts.main()
      const targets = this.#targetsOf(request)
      const planFor = (platform: string): StagePlan => planStages(main.dockerfile, { ...this.#planOptions(request), targetPlatform: platform, isContext: (name) => contexts.named(name, platform) !== undefined })
      if ((request.call ?? 'build') !== 'build') return { images: [], answer: await answerOf(request, main, { readPlan: () => planFor(targets[0].platform), images: this.#options.images }) }
      const plan = planFor(targets[0].platform)
      const plans = [plan, ...targets.slice(1).map(({ platform }) => planFor(platform))]
      contexts.expect(new PlannedPaths(plans, request))
      if (plan.lintOptions.error) refuseFindings(plan, findings(plan, main, { request, stages: plan.needed, bases: await localBases(plan, this.#options.images) }))
      const cacheSources = await this.#cacheSources(request.cacheFrom)
      const transfer = { registries: this.#options.registries, credentials: request.credentials, blobs: this.#options.blobs, vertices, signal }
      using imported = await ImportedCache.open({ ...transfer, sources: request.cacheFrom, processes: this.#options.processes })
      const common: Omit<BuildShared, 'target' | 'plan'> = {
        id, folder, request, spool, main, signal, cacheSources, imported, ended: new Map(), lease, roots, remote, contexts, vertices,
        epochS: epochOf(request, plan), options: this.#options, cache: this.cache, cacheMounts: this.#cacheMounts, steps: this.#steps, keys: this.#keys,
        once: { bases: new Once(), steps: new Once() },
      }
      const platforms = targets.map((target, index): BuildShared => ({ ...common, target, plan: plans[index] ?? plan }))
      const states = await runPlans(platforms, failed)
      const built = states.flatMap((state, index): BuiltState[] => (platforms[index] === undefined ? [] : [{ shared: platforms[index], state }]))
      const cacheManifest = await exportCache({ ...transfer, targets: request.cacheTo ?? [], steps: [...common.ended.values()], diffIds: states.flatMap(({ diffIds }) => diffIds), cache: this.cache })
      const exported = cacheManifest === undefined ? {} : { cacheManifest }
      if (request.output !== undefined) {
        await handOver(built, request.output)
        return { images: [], ...exported }
      }
      const images = await vertices.during('exporting to image', (vertex) => exportImages(built, vertex))
      // `docker build -q` prints the one line it gets.
      if (asked.quiet) for (const { imageId } of images) asked.onMessage({ kind: 'stream', text: `${imageId}\n` })
      return { images, ...exported }
    } catch (error) {
      // Who asked for quiet is told after all what led to a failure.
      held.release(asked.onMessage)
      throw error
    } finally {
      if (kept !== undefined) await this.#kept.give(kept, spoolIn(folder)).catch((error: unknown) => this.#options.log.warn({ error: String(error) }, 'a folder is not kept for the next build'))
      await rm(folder, { recursive: true, force: true })
      await this.#keeper.keepWithinBounds()
    }
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

  diskUsage(): Promise<readonly BuildCacheEntry[]> {
    return this.#keeper.diskUsage()
  }

  prune(options: BuildPruneOptions): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
    return this.#keeper.prune(options)
  }

  #targetsOf({ platforms }: BuildRequest): readonly [BuildTarget, ...BuildTarget[]] {
    const [first, ...more] = [...new Set(platforms.map((platform) => platformText(parsePlatform(platform))))]
    if (first === undefined) return [{ index: 0, platform: this.#options.platform, isGiven: false, isOneOfSeveral: false }]
    const target = (platform: string, index: number): BuildTarget => ({ index, platform, isGiven: true, isOneOfSeveral: more.length > 0 })
    return [target(first, 0), ...more.map((platform, index) => target(platform, index + 1))]
  }

  #planOptions(request: BuildRequest): Omit<Parameters<typeof planStages>[1], 'targetPlatform'> {
    return {
      file: request.dockerfile,
      target: request.target,
      buildArgs: new Map(Object.entries(request.buildArgs)),
      buildPlatform: this.#options.platform,
    }
  }
}
