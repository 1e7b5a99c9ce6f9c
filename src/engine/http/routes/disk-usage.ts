/** `GET /system/df` (Engine API `SystemDataUsage`): what images, containers, volumes and the build cache take. */
import { rfc3339Nano } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { sendJson } from '#base/http.ts'
import type { BuildCacheEntry, EngineBackend } from '../backend.ts'
import { summaryJson } from '../container-json.ts'
import type { Exchange, Handler } from '../exchange.ts'
import { imageSummaryJson } from '../image-json.ts'
import { layersSize, sharedSizes } from '../image-sizes.ts'
import { shaped } from '../version-shape.ts'
import { networkIdsOf } from './containers.ts'
import { volumeJson } from './volumes.ts'

const kinds = ['container', 'image', 'volume', 'build-cache']

/** Since 1.42 clients may name the kinds that they want; the others are null then. */
function wantedKinds(query: URLSearchParams, minorVersion: number): ReadonlySet<string> {
  const named = minorVersion < 42 ? [] : query.getAll('type')
  const unknown = named.find((kind) => !kinds.includes(kind))
  if (unknown !== undefined) throw new Fault('invalidArgument', `unknown object type: ${unknown}`)
  return new Set(named.length === 0 ? kinds : named)
}

async function diskUsage({ res, backend, query, minorVersion }: Exchange): Promise<void> {
  const wanted = wantedKinds(query, minorVersion)
  const images = wanted.has('image') ? await imagesUsage(backend, minorVersion) : undefined
  const containers = wanted.has('container') ? await containersUsage(backend, minorVersion) : null
  const volumes = wanted.has('volume') ? await volumesUsage(backend, minorVersion) : null
  const cache = wanted.has('build-cache') ? ((await backend.builder?.diskUsage()) ?? []) : null
  const answer = {
    LayersSize: images?.layersSize ?? 0,
    Images: images?.rows ?? null,
    Containers: containers,
    Volumes: volumes,
    BuildCache: cache === null ? null : cache.map(cacheJson),
    BuilderSize: (cache ?? []).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  }
  sendJson(res, shaped('diskUsage', answer, minorVersion))
}

async function imagesUsage({ images, containers }: EngineBackend, minorVersion: number): Promise<{ readonly layersSize: number; readonly rows: readonly object[] }> {
  const list = await images.list()
  const shared = sharedSizes(list)
  const all = containers.list()
  const users = (id: string): number => all.filter(({ imageId }) => imageId === id).length
  return { layersSize: layersSize(list), rows: list.map((image) => imageSummaryJson(image, minorVersion, { containers: users(image.id), sharedBytes: shared.get(image.id) ?? 0 })) }
}

async function containersUsage(backend: EngineBackend, minorVersion: number): Promise<readonly object[]> {
  const { containers, clock } = backend
  const networkIds = await networkIdsOf(backend)
  return Promise.all(containers.list().map(async (container) => summaryJson(container, { nowNs: clock.nowNs(), minorVersion, networkIds, imageName: container.spec.image, sizes: await containers.sizes(container.id) })))
}

async function volumesUsage({ volumes }: EngineBackend, minorVersion: number): Promise<readonly object[]> {
  return Promise.all(
    (await volumes.list()).map(async (volume) => {
      const { sizeBytes, references } = await volumes.usage(volume.name)
      return { ...volumeJson(volume, minorVersion), UsageData: { RefCount: references, Size: sizeBytes } }
    }),
  )
}

function cacheJson({ id, parentId, type, description, sizeBytes, createdAtNs, lastUsedAtNs, usageCount, inUse, shared }: BuildCacheEntry): object {
  return { ID: id, Parent: parentId, ...(parentId === '' ? {} : { Parents: [parentId] }), Type: type, Description: description, InUse: inUse, Shared: shared, Size: sizeBytes, CreatedAt: rfc3339Nano(createdAtNs), LastUsedAt: rfc3339Nano(lastUsedAtNs), UsageCount: usageCount }
}

export const diskUsageRoutes: readonly (readonly [string, string, Handler])[] = [['GET', '/system/df', diskUsage]]
