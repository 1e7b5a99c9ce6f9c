/** `POST /build`, the classic protocol: a context archive in, JSON lines out (Engine API `ImageBuild`). */
import { asFault, Fault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import { parseJson } from '#base/json.ts'
import { parsePlatform } from '#oci/platform.ts'
import type { BuildMessage, BuildRequest } from '../backend.ts'
import { BuildTrace } from '../build-trace.ts'
import type { Exchange, Handler } from '../exchange.ts'
import { parseFilters } from '../filters.ts'
import { JsonInput, queryBoolean, queryNumber } from '../json-input.ts'
import { ProgressStream } from '../progress.ts'
import { authsHeader } from '../registry-auth.ts'
import { untilNs } from './containers.ts'

function mapParameter(query: URLSearchParams, name: string): Record<string, string | null> {
  const text = query.get(name)
  if (text === null || text === '') return {}
  const input = JsonInput.of(parseJson(text, `query parameter '${name}'`), name)
  return Object.fromEntries(input.keys().map((key) => [key, input.string(key) ?? null]))
}

function listParameter(query: URLSearchParams, name: string): string[] {
  const text = query.get(name)
  if (text === null || text === '') return []
  if (!text.startsWith('[')) return query.getAll(name)
  const parsed = parseJson(text, `query parameter '${name}'`)
  return Array.isArray(parsed) ? parsed.filter((item) => typeof item === 'string') : []
}

function requestOf({ query, req, signal }: Exchange, onMessage: (message: BuildMessage) => void): BuildRequest {
  // BuildKit's clients offer the files over their session (filesync); others send them as the body, as ever.
  if (query.get('remote') === 'client-session') throw new Fault('unimplemented', 'BuildKit is not supported: build with DOCKER_BUILDKIT=0')
  if (query.get('remote')) throw new Fault('unimplemented', 'remote build contexts are not supported: send the context as an archive')
  const ulimits = query.get('ulimits')
  const platform = query.get('platform') || undefined
  // Refused before a byte of the answer is written.
  if (platform !== undefined) parsePlatform(platform)
  return {
    context: req,
    dockerfile: query.get('dockerfile') || 'Dockerfile',
    tags: query.getAll('t').filter((tag) => tag !== ''),
    buildArgs: mapParameter(query, 'buildargs'),
    labels: Object.fromEntries(Object.entries(mapParameter(query, 'labels')).map(([key, value]) => [key, value ?? ''])),
    target: query.get('target') ?? '',
    noCache: queryBoolean(query, 'nocache'),
    pull: queryBoolean(query, 'pull'),
    quiet: queryBoolean(query, 'q'),
    squash: queryBoolean(query, 'squash'),
    remove: queryBoolean(query, 'rm', true),
    forceRemove: queryBoolean(query, 'forcerm'),
    platform,
    networkMode: query.get('networkmode') || 'default',
    extraHosts: listParameter(query, 'extrahosts'),
    cacheFrom: listParameter(query, 'cachefrom'),
    shmSizeBytes: queryNumber(query, 'shmsize') || undefined,
    memoryBytes: queryNumber(query, 'memory') || undefined,
    cpuShares: queryNumber(query, 'cpushares') || undefined,
    cpuQuotaUs: queryNumber(query, 'cpuquota') || undefined,
    cpuPeriodUs: queryNumber(query, 'cpuperiod') || undefined,
    cpusetCpus: query.get('cpusetcpus') || undefined,
    ulimits: ulimits ? JsonInput.of({ list: parseJson(ulimits, "query parameter 'ulimits'") }, '').objects('list').map((limit) => ({ name: limit.string('Name') ?? '', soft: limit.number('Soft') ?? 0, hard: limit.number('Hard') ?? 0 })) : [],
    registryAuths: authsHeader(req.headers['x-registry-config']),
    onMessage,
    signal,
  }
}

async function build(exchange: Exchange): Promise<void> {
  const { backend, res } = exchange
  const { builder } = backend
  if (builder === undefined) throw new Fault('unimplemented', 'this engine has no builder')
  const out = new ProgressStream(res)
  const trace = exchange.query.get('version') === '2' ? new BuildTrace(backend.clock, (line) => out.line(line)) : undefined
  const tell = (message: BuildMessage): void => {
    if (trace !== undefined) return trace.tell(message)
    switch (message.kind) {
      case 'stream':
        out.line({ stream: message.text })
        break
      case 'status':
        out.progress(message)
        break
      case 'imageId':
        out.line({ aux: { ID: message.id } })
        break
    }
  }
  const request = requestOf(exchange, tell)
  try {
    await builder.build(request)
  } catch (error) {
    trace?.end(asFault(error).message)
    out.fail(error)
  }
  out.end()
}

async function pruneBuilds({ res, query, backend, minorVersion }: Exchange): Promise<void> {
  const filters = parseFilters(query, ['description', 'id', 'inuse', 'parent', 'private', 'shared', 'type', 'unused-for', 'until'])
  const until = (filters.get('until') ?? filters.get('unused-for'))?.[0]
  const now = backend.clock.nowNs()
  // The first name was given up for the second with 1.48.
  const keepBytes = (minorVersion >= 48 ? queryNumber(query, 'reserved-space') : undefined) ?? queryNumber(query, 'keep-storage') ?? 0
  const pruned = await backend.builder?.prune({ keepBytes, ...(until === undefined ? {} : { unusedForMs: Number((now - untilNs(until, now)) / 1_000_000n) }) })
  backend.events.publish({ type: 'builder', action: 'prune', actor: { id: '', attributes: { reclaimed: String(pruned?.reclaimedBytes ?? 0) } } })
  sendJson(res, { CachesDeleted: pruned === undefined || pruned.deleted.length === 0 ? null : pruned.deleted, SpaceReclaimed: pruned?.reclaimedBytes ?? 0 })
}

/** Builds of the classic protocol end with their connection; no other build is known by an id. */
async function cancelBuild({ res, query }: Exchange): Promise<void> {
  if (!query.get('id')) throw new Fault('invalidArgument', 'build ID not provided')
  sendEmpty(res)
}

export const buildRoutes: readonly (readonly [string, string, Handler])[] = [
  ['POST', '/build', build],
  ['POST', '/build/cancel', cancelBuild],
  ['POST', '/build/prune', pruneBuilds],
]

