/** What becomes of a target stage's state: an image with its configuration, or what the client takes instead of one. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { rfc3339Nano, rfc3339Seconds } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { parsePlatform } from '#oci/platform.ts'
import type { ContainerDefaults, Image, ImageConfig } from '../contract/images.ts'
import type { BuildOrigin, BuildResult } from '../contract/builds.ts'
import type { BuildRequest, BuiltRoot } from '../http/backend.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import type { StagePlan } from './dockerfile/stages.ts'
import { rewriteTimes } from './rewrite-times.ts'
import { mergedMaterials, shortId, type StageState } from './stage-state.ts'
import { inlineMember } from './transfer/cache-config.ts'
import { inlineRecords } from './transfer/cache-export.ts'
import type { Vertex } from './vertices.ts'

/** Stores the images; the names go to the first of them, which stands for all where no index does. */
export async function exportImages(built: readonly BuiltState[], vertex: Vertex): Promise<BuildResult['images']> {
  const images: BuildResult['images'][number][] = []
  for (const each of built) images.push({ platform: each.shared.target.platform, imageId: (await exportImage(each, vertex)).id, ...originOf(each) })
  return images
}

function originOf({ shared: { contexts, request, main }, state }: BuiltState): BuildOrigin {
  return { materials: mergedMaterials(contexts.materials, state.materials), dockerfile: { file: request.dockerfile, text: main.dockerfile } }
}

async function exportImage({ shared, state: built }: BuiltState, vertex: Vertex): Promise<Image> {
  const { onMessage, tags } = shared.request
  const state = await reproducible(shared, built)
  const image = await storeImage(shared, state)
  vertex.progress(`writing image ${image.id}`, `writing image ${image.id}`, { isDone: true })
  onMessage({ kind: 'imageId', id: image.id })
  onMessage({ kind: 'stream', text: `Successfully built ${shortId(image.id)}\n` })
  for (const tag of tags) {
    await shared.options.images.tag(image.id, tag)
    vertex.progress(`naming to ${tag}`, `naming to ${tag}`, { isDone: true })
    onMessage({ kind: 'stream', text: `Successfully tagged ${tag}\n` })
  }
  return image
}

/** A platform's result. */
export interface BuiltState {
  readonly shared: BuildShared
  readonly state: StageState
}

/** Hands the root file systems over for as long as `output` takes. */
export async function handOver(built: readonly BuiltState[], output: (built: readonly BuiltRoot[]) => Promise<void>): Promise<void> {
  await using roots = new AsyncDisposableStack()
  const handed: BuiltRoot[] = []
  for (const each of built) handed.push(roots.use(await openRoot(each)))
  await output(handed)
}

async function openRoot({ shared, state }: BuiltState): Promise<BuiltRoot & AsyncDisposable> {
  const { id, target, folder, spool, signal, options } = shared
  const { snapshots } = options
  const { chainId } = await reproducible(shared, state)
  const key = `build-${id}-output-${target.index}`
  const root = join(folder, `output-${target.index}`)
  await snapshots.prepare(key, chainId)
  return {
    platform: target.platform,
    ...originOf({ shared, state }),
    tar: () => snapshots.exportRoot(key, { signal }),
    files: async () => {
      await mkdir(root)
      await snapshots.mount(key, root, { readonly: true })
      const [selected] = await spool.addFromRoot(root, ['/'], { signal })
      const [, ...entries] = selected?.[0]?.entries ?? []
      return { entries, content: (entry) => spool.content(entry) }
    },
    [Symbol.asyncDispose]: async () => {
      await snapshots.unmount(root)
      await snapshots.remove(key)
    },
  }
}

/** Seconds since 1970 that the image bears as its time; undefined: now. https://reproducible-builds.org/docs/source-date-epoch/ */
export function epochOf({ sourceDateEpochS, buildArgs }: BuildRequest, { globalArgs }: StagePlan): number | undefined {
  const text = sourceDateEpochS === undefined ? (buildArgs['SOURCE_DATE_EPOCH'] ?? globalArgs.get('SOURCE_DATE_EPOCH') ?? '') : String(sourceDateEpochS)
  if (text === '') return undefined
  const seconds = Number(text)
  if (!/^\d{1,12}$/.test(text)) throw new Fault('invalidArgument', `SOURCE_DATE_EPOCH=${text} is no time; expected seconds since 1970`)
  return seconds
}

/** With an epoch nothing that this build has made bears another time, unless times of files were to stay. */
async function reproducible(shared: BuildShared, state: StageState): Promise<StageState> {
  const { epochS, request, options, cache, signal, lease } = shared
  if (epochS === undefined) return state
  const created = rfc3339Seconds(epochS * 1000)
  const history = state.history.map((entry, index) => (index < state.inherited.history ? entry : { ...entry, created }))
  if (request.rewriteTimestamps === false) return { ...state, history }
  const rewritten = await rewriteTimes(state.diffIds, { first: state.inherited.layers, latestNs: BigInt(epochS) * 1_000_000_000n }, {
    blobs: options.blobs, snapshots: options.snapshots, cache, signal,
    keep: (chainId, diffId) => {
      lease.chainIds.add(chainId)
      lease.diffIds.add(diffId)
    },
  })
  return { ...state, history, ...rewritten }
}

/** The state of a stage whose step has failed, as an image that nobody has named. */
export function storeFailed(shared: BuildShared, state: StageState): Promise<Image> {
  return storeImage(shared, state)
}

/** The same layers and configuration give the same image as before, its times included. */
async function storeImage({ request, options, cache, epochS, ended, target }: BuildShared, state: StageState): Promise<Image> {
  const platform = target.isGiven ? givenPlatform(target.platform, state.platform) : state.platform
  const labels = { ...state.config.Labels, ...request.labels }
  const config = withoutEmpty({ ...state.config, ...(Object.keys(labels).length > 0 ? { Labels: labels } : {}) })
  // Rewritten layers are no step's: they would lead nobody to one.
  const inline = request.cacheTo?.some(({ kind }) => kind === 'inline') === true ? inlineRecords([...ended.values()], state.diffIds) : undefined
  const key = cacheKey('image', config, state.diffIds, state.history, state.author, platform, inline ?? '')
  const known = request.noCache === true ? undefined : cache.get(key, 'image')
  const created = epochS === undefined ? (known?.created ?? rfc3339Nano(options.clock.nowNs())) : rfc3339Seconds(epochS * 1000)
  if (known === undefined) await cache.put(key, { kind: 'image', created })
  else await cache.touch(key)
  const image: ImageConfig = {
    created,
    ...(state.author === undefined ? {} : { author: state.author }),
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    os: platform.os,
    config,
    rootfs: { type: 'layers', diff_ids: state.diffIds },
    history: state.history.map((entry) => ({ ...entry, created: entry.created ?? created })),
    ...(inline === undefined ? {} : { [inlineMember]: inline }),
  }
  return options.images.put(image)
}

/** An image is for what it was built for, whatever its base says of itself; the base knows the variant better than a client that names none. */
function givenPlatform(given: string, base: StageState['platform']): StageState['platform'] {
  const { os, architecture, variant } = parsePlatform(given)
  const isSame = os === base.os && architecture === base.architecture
  const best = variant ?? (isSame ? base.variant : undefined)
  return { os, architecture, ...(best === undefined ? {} : { variant: best }) }
}

/** The configuration as images carry it: what says nothing is left out. */
function withoutEmpty(config: ContainerDefaults): ContainerDefaults {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined && value !== null && value !== ''))
}
