/** Images: pull, import, list, inspect, history, tag, push, remove, prune, save, load (Engine API, tag `Image`). */
import { pipeline } from 'node:stream/promises'
import { Fault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import { parseJson } from '#base/json.ts'
import { writeDescriptor } from '#oci/descriptor.ts'
import { familiarReference, parseReference } from '#oci/reference.ts'
import { platformText, type Platform } from '#oci/platform.ts'
import type { Image, ImageRemoval, ImageUser, ImportRootOptions, TransferProgress } from '../../contract/images.ts'
import { changedDefaults } from '../changes.ts'
import type { EngineBackend } from '../backend.ts'
import { param, type Exchange, type Handler } from '../exchange.ts'
import { anyOf, booleanFilter, labelsMatch, parseFilters } from '../filters.ts'
import { imageInspectJson, imageSummaryJson, manifestsJson, seconds } from '../image-json.ts'
import { sharedSizes } from '../image-sizes.ts'
import { JsonInput, queryBoolean } from '../json-input.ts'
import { ProgressStream } from '../progress.ts'
import { authHeader } from '../registry-auth.ts'
import { shaped } from '../version-shape.ts'
import { untilNs } from './containers.ts'
import { distribution, search } from './remote-images.ts'

const listFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until']

async function list({ backend, query, res, minorVersion }: Exchange): Promise<void> {
  const filters = parseFilters(query, listFilters)
  // Gone with 1.41.
  const old = minorVersion < 41 ? query.get('filter') : null
  const images = await backend.images.list({ all: queryBoolean(query, 'all') })
  const createdOf = async (key: string): Promise<number[]> => Promise.all((filters.get(key) ?? []).map(async (name) => seconds((await backend.images.resolve(name)).createdAt)))
  const [before, since] = await Promise.all([createdOf('before'), createdOf('since')])
  const dangling = booleanFilter(filters, 'dangling')
  const until = filters.get('until')?.[0]
  const untilSeconds = until === undefined ? undefined : Number(untilNs(until, backend.clock.nowNs()) / 1_000_000_000n)
  const references = [...(filters.get('reference') ?? []), ...(old === null ? [] : [old])]
  const shown = images.flatMap((image) => {
    const created = seconds(image.createdAt)
    const isDangling = image.repoTags.length === 0
    if (dangling !== undefined && dangling !== isDangling) return []
    if (!labelsMatch(filters, image.config.config?.Labels ?? {})) return []
    if (before.some((limit) => created >= limit) || since.some((limit) => created <= limit)) return []
    if (untilSeconds !== undefined && created > untilSeconds) return []
    if (references.length === 0) return [image]
    const repoTags = image.repoTags.filter((tag) => references.some((pattern) => referenceMatches(tag, pattern)))
    return repoTags.length === 0 ? [] : [{ ...image, repoTags }]
  })
  const shared = minorVersion >= 42 && queryBoolean(query, 'shared-size') ? sharedSizes(images) : undefined
  const wantsManifests = minorVersion >= 47 && queryBoolean(query, 'manifests')
  const summaries = shown.map(async (image) => ({ ...imageSummaryJson(image, minorVersion, shared === undefined ? {} : { sharedBytes: shared.get(image.id) ?? 0 }), ...(wantsManifests ? await manifestsJson(backend, image.repoTags[0] ?? image.repoDigests[0] ?? image.id) : {}) }))
  sendJson(res, await Promise.all(summaries))
}

/** `busybox`, `busybox:1*`, `*\/app`: shell patterns on the familiar name, with or without tag. */
export function referenceMatches(tag: string, pattern: string): boolean {
  const expression = new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*').replaceAll('?', '[^/]')}$`)
  const bare = tag.slice(0, tag.lastIndexOf(':'))
  return expression.test(tag) || expression.test(bare)
}

async function inspect(exchange: Exchange): Promise<void> {
  const { query, minorVersion, backend, res } = exchange
  const name = param(exchange, 'name')
  const platform = minorVersion >= 49 ? platformOf(query) : undefined
  const wantsManifests = minorVersion >= 48 && queryBoolean(query, 'manifests')
  if (platform !== undefined && wantsManifests) throw new Fault('invalidArgument', 'conflicting options: manifests and platform options cannot both be set')
  const image = await resolved(backend, name, platform)
  sendJson(res, shaped('imageInspect', { ...(await imageInspectJson(image, { minorVersion, snapshots: backend.snapshots })), ...(wantsManifests ? await manifestsJson(backend, name) : {}) }, minorVersion))
}

/** `platform={"os":"linux","architecture":"arm64"}`: an OCI platform, of which both words are needed. */
function platformOf(query: URLSearchParams): Platform | undefined {
  const text = query.get('platform')
  return text === null || text === '' ? undefined : platformFrom(text, 'platform')
}

function platformFrom(text: string, name: string): Platform {
  const input = JsonInput.of(parseJson(text, `query parameter '${name}'`), name)
  const [os, architecture, variant] = [input.string('os'), input.string('architecture'), input.string('variant')]
  if (!os || !architecture) throw new Fault('invalidArgument', `${name}: both OS and Architecture must be provided`)
  return { os, architecture, ...(variant ? { variant } : {}) }
}

async function resolved({ images }: EngineBackend, name: string, platform: Platform | undefined): Promise<Image> {
  return await images.resolve(name, platform === undefined ? {} : { platform: platformText(platform) })
}

async function history(exchange: Exchange): Promise<void> {
  const image = await resolved(exchange.backend, param(exchange, 'name'), exchange.minorVersion >= 48 ? platformOf(exchange.query) : undefined)
  let layer = 0
  const steps = (image.config.history ?? []).map((step) => ({ step, sizeBytes: step.empty_layer === true ? 0 : (image.layerSizes?.[layer++] ?? 0) })).toReversed()
  sendJson(
    exchange.res,
    steps.map(({ step, sizeBytes }, index) => ({
      Comment: step.comment ?? '',
      Created: seconds(step.created ?? ''),
      CreatedBy: step.created_by ?? '',
      Id: index === 0 ? image.id : '<missing>',
      Size: sizeBytes,
      Tags: index === 0 && image.repoTags.length > 0 ? image.repoTags : null,
    })),
  )
}

function named(name: string, tag: string | null): string {
  if (!tag) return name
  return tag.includes(':') ? `${name}@${tag}` : `${name}:${tag}`
}

/** `POST /images/create`: a pull (`fromImage`) or an import (`fromSrc`). */
async function create(exchange: Exchange): Promise<void> {
  const { query, backend, res, signal, req } = exchange
  const out = new ProgressStream(res)
  const source = query.get('fromSrc')
  const from = query.get('fromImage')
  try {
    if (from) {
      const auth = authHeader(req.headers['x-registry-auth'])
      const platform = query.get('platform')
      for (const name of await pulledNames(exchange)) {
        const image = await backend.images.pull(name, { signal, onProgress: (progress: TransferProgress) => out.progress(progress), ...(auth === undefined ? {} : { auth }), ...(platform ? { platform } : {}) })
        publish(backend, 'pull', name, name.split('@')[0]?.split(':')[0] ?? name, image)
      }
    } else if (source !== null) {
      await importRoot(exchange, source, out)
    } else throw new Fault('invalidArgument', "either 'fromImage' or 'fromSrc' must be given")
    out.end()
  } catch (error) {
    out.fail(error)
    out.end()
  }
}

/** `fromImage` without a tag, neither in it nor beside it, means all tags (`docker pull -a`). */
async function pulledNames({ query, backend, req, signal }: Exchange): Promise<readonly string[]> {
  const from = query.get('fromImage') ?? ''
  const name = named(from, query.get('tag'))
  if (name !== from || !isBare(from)) return [name]
  const auth = authHeader(req.headers['x-registry-auth'])
  const tags = await backend.images.tags(from, { signal, ...(auth === undefined ? {} : { auth }) })
  return tags.map((tag) => `${from}:${tag}`)
}

/** Neither tag nor digest. */
function isBare(name: string): boolean {
  return !name.includes('@') && name.lastIndexOf(':') <= name.lastIndexOf('/')
}

async function importRoot({ query, backend, req, signal }: Exchange, source: string, out: ProgressStream): Promise<void> {
  const repo = query.get('repo')
  const platform = query.get('platform')
  const message = query.get('message')
  const options: ImportRootOptions = {
    signal,
    ...(message ? { message } : {}),
    defaults: changedDefaults({}, query.getAll('changes').flatMap((text) => text.split('\n'))),
    ...(repo ? { name: named(repo, query.get('tag')) } : {}),
    ...(platform ? { platform } : {}),
  }
  const image = source === '-' ? await backend.images.importRoot(req, options) : await backend.images.importUrl(source, { ...options, onProgress: (progress) => out.progress(progress) })
  if (repo) publish(backend, 'tag', image.id, named(repo, query.get('tag') || 'latest'), image)
  publish(backend, 'import', image.id, image.id, image)
  out.line({ status: image.id })
}

/** An image is told of with its labels, which filters of events look at. */
function publish({ events }: EngineBackend, action: string, id: string, name: string, image?: Image): void {
  events.publish({ type: 'image', action, actor: { id, attributes: { ...image?.config.config?.Labels, name } } })
}

async function tag(exchange: Exchange): Promise<void> {
  const { backend, query, res } = exchange
  const image = await backend.images.resolve(param(exchange, 'name'))
  const name = named(query.get('repo') ?? '', query.get('tag') || 'latest')
  await backend.images.tag(param(exchange, 'name'), name)
  publish(backend, 'tag', image.id, familiarReference(parseReference(name)), image)
  sendEmpty(res, { status: 201 })
}

async function push(exchange: Exchange): Promise<void> {
  const { backend, query, res, signal, req, minorVersion } = exchange
  const out = new ProgressStream(res)
  const names = query.get('tag') ? [named(param(exchange, 'name'), query.get('tag'))] : await withAllTags(backend, param(exchange, 'name'))
  const platform = minorVersion >= 46 ? platformOf(query) : undefined
  try {
    const auth = authHeader(req.headers['x-registry-auth'])
    for (const name of names) {
      const { tag: pushed, digest, sizeBytes, insteadOf } = await backend.images.push(name, { signal, onProgress: (progress) => out.progress(progress), ...(auth === undefined ? {} : { auth }), ...(platform === undefined ? {} : { platform: platformText(platform) }) })
      if (insteadOf !== undefined) out.line({ progressDetail: {}, aux: { manifestPushedInsteadOfIndex: true, originalIndex: writeDescriptor(insteadOf.index), selectedManifest: writeDescriptor(insteadOf.selected) } })
      out.line({ status: `${pushed}: digest: ${digest} size: ${sizeBytes}` })
      out.line({ progressDetail: {}, aux: { Tag: pushed, Digest: digest, Size: sizeBytes } })
      publish(backend, 'push', name, name.replace(/:[^/:]*$/, ''), await backend.images.resolve(name))
    }
  } catch (error) {
    out.fail(error)
  }
  out.end()
}

/** Which containers hold an image: running ones may not lose it even by force. */
function imageUsers({ containers }: EngineBackend): (id: string) => readonly ImageUser[] {
  const all = containers.list({ namespace: 'all' })
  return (id) => all.filter(({ imageId, mounts }) => imageId === id || mounts.some((mount) => mount.imageId === id)).map((container) => ({ containerId: container.id, running: container.state.status === 'running' || container.state.status === 'paused' }))
}

/** `before`: the images as they were, for a name that is gone tells no longer which image had it. */
function removalsJson(backend: EngineBackend, removals: readonly ImageRemoval[], before: readonly Image[]): object[] {
  return removals.map((removal) => {
    if ('untagged' in removal) {
      const image = before.find(({ repoTags, repoDigests }) => repoTags.includes(removal.untagged) || repoDigests.includes(removal.untagged))
      // Docker tells of the image, not of the name.
      if (image !== undefined) publish(backend, 'untag', image.id, image.id, image)
      return { Untagged: removal.untagged }
    }
    publish(backend, 'delete', removal.deleted, removal.deleted)
    return { Deleted: removal.deleted }
  })
}

async function remove(exchange: Exchange): Promise<void> {
  const { backend, query, res, minorVersion } = exchange
  const platforms = minorVersion >= 50 ? query.getAll('platforms').map((text) => platformFrom(text, 'platforms')) : []
  const image = await backend.images.resolve(param(exchange, 'name'))
  if (platforms.length > 0 && (await backend.images.manifests(param(exchange, 'name'))).manifests.filter(({ kind, isAvailable }) => kind.is === 'image' && isAvailable).length > 1) {
    // Moby takes these platforms' content alone (`daemon/containerd/image_delete.go`). Here a name keeps all of what it stands for, and must not lose the rest for one part.
    if (!queryBoolean(query, 'force')) throw new Fault('invalidArgument', 'Content will be removed from all images referencing this variant. Use --force to force delete.')
    throw new Fault('unimplemented', `${param(exchange, 'name')} is an image of several platforms: they can only be removed together`)
  }
  for (const platform of platforms) await resolved(backend, param(exchange, 'name'), platform)
  const removals = await backend.images.remove(param(exchange, 'name'), { force: queryBoolean(query, 'force'), noPrune: queryBoolean(query, 'noprune'), usedBy: imageUsers(backend) })
  sendJson(res, removalsJson(backend, removals, [image]))
}

async function prune({ backend, query, res }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['dangling', 'label', 'label!', 'until'])
  const until = filters.get('until')?.[0]
  const before = await backend.images.list({ all: true })
  const { removals, reclaimedBytes } = await backend.images.prune({
    all: booleanFilter(filters, 'dangling') === false,
    usedBy: imageUsers(backend),
    keep: (image) => !labelsMatch(filters, image.config.config?.Labels ?? {}) || (filters.has('label!') && !anyOf(filters, 'label!', (label) => !labelsMatch(new Map([['label', [label]]]), image.config.config?.Labels ?? {}))),
    ...(until === undefined ? {} : { createdBeforeMs: Number(untilNs(until, backend.clock.nowNs()) / 1_000_000n) }),
  })
  const deleted = removalsJson(backend, removals, before)
  backend.events.publish({ type: 'image', action: 'prune', actor: { id: '', attributes: { reclaimed: String(reclaimedBytes) } } })
  sendJson(res, { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimedBytes })
}

/** A repository without a tag means all its tags; an id and a full name mean themselves. */
async function withAllTags({ images }: EngineBackend, name: string): Promise<readonly string[]> {
  if (!isBare(name)) return [name]
  const tags = (await images.list()).flatMap(({ repoTags }) => repoTags).filter((tag) => tag.slice(0, tag.lastIndexOf(':')) === name)
  return tags.length === 0 ? [name] : tags.sort()
}

async function save(exchange: Exchange): Promise<void> {
  const { query, backend, res, signal, params, minorVersion } = exchange
  // Old clients write several into one parameter.
  const names = params['name'] === undefined ? query.getAll('names').flatMap((several) => several.split(',')) : [params['name']]
  if (names.length === 0) throw new Fault('invalidArgument', "no image was named: give 'names'")
  const platform = minorVersion >= 48 ? platformOf(query) : undefined
  const all = (await Promise.all(names.map((name) => withAllTags(backend, name)))).flat()
  const tar = await backend.images.save(all, { signal, ...(platform === undefined ? {} : { platform: platformText(platform) }) })
  for (const name of all) {
    const image = await backend.images.resolve(name)
    publish(backend, 'save', image.id, image.id, image)
  }
  res.writeHead(200, { 'Content-Type': 'application/x-tar' })
  await pipeline(tar, res)
}

async function load({ backend, query, req, res, signal, minorVersion }: Exchange): Promise<void> {
  const platform = minorVersion >= 48 ? platformOf(query) : undefined
  const out = new ProgressStream(res)
  const quiet = queryBoolean(query, 'quiet', true)
  try {
    await backend.images.load(req, {
      signal,
      ...(platform === undefined ? {} : { platform: platformText(platform) }),
      ...(quiet ? {} : { onProgress: (progress) => out.progress(progress) }),
      onLoaded: (image, names) => {
        publish(backend, 'load', image.id, image.id, image)
        if (names.length === 0) out.line({ stream: `Loaded image ID: ${image.id}\n` })
        for (const name of names) out.line({ stream: `Loaded image: ${name}\n` })
      },
    })
  } catch (error) {
    out.failInStream(error)
  }
  out.end()
}

export const imageRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/images/json', list],
  ['GET', '/images/search', search],
  ['GET', '/distribution/:name+/json', distribution],
  ['POST', '/images/create', create],
  ['POST', '/images/load', load],
  ['POST', '/images/prune', prune],
  ['GET', '/images/get', save],
  ['GET', '/images/:name+/get', save],
  ['GET', '/images/:name+/json', inspect],
  ['GET', '/images/:name+/history', history],
  ['POST', '/images/:name+/tag', tag],
  ['POST', '/images/:name+/push', push],
  ['DELETE', '/images/:name+', remove],
]
