/**
 * `POST /build`: JSON lines out (Engine API `ImageBuild`). The context is the body, or comes from the client's session, which
 * `POST /session` opens.
 */
import type { Duplex } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { sendEmpty, sendJson } from '#base/http.ts'
import { parseJson } from '#base/json.ts'
import { randomHex, systemRandom } from '#base/random.ts'
import { parsePlatform } from '#oci/platform.ts'
import type { BuildMessage, CacheImport } from '../../contract/builds.ts'
import { assembledBuild, storeAssembled } from '../assembled-build.ts'
import type { BuildRequest, EngineBackend } from '../backend.ts'
import { cleanCgroupParent } from '../container-spec.ts'
import { buildExtensions, cacheImport } from '../build-extensions.ts'
import { BuildTrace } from '../build-trace.ts'
import type { Session } from '../../session/client-session.ts'
import type { Exchange, Handler } from '../exchange.ts'
import { JsonInput, queryBoolean, queryNumber } from '../json-input.ts'
import { ProgressStream } from '../progress.ts'
import { authsHeader } from '../registry-auth.ts'
import { lentBy, outputTo, sourceOfSession, type BuildSource } from '../session-build.ts'
import { pruneOptionsOf } from './build-prune.ts'

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

/** How the client's request begins that only sends a build's context (moby `api/server/backend/build`). */
const uploadPrefix = 'upload-request:'

interface BuildPlace {
  /** The client's, where it has one. */
  readonly session: Session | undefined
  readonly dockerfile: string
  readonly signal: AbortSignal
}

async function sourceOf({ query, req, backend }: Exchange, { session, dockerfile, signal }: BuildPlace): Promise<BuildSource> {
  const auths = authsHeader(req.headers['x-registry-config'])
  const lent = session === undefined ? { credentials: async (host: string) => auths[host] } : lentBy(session, signal)
  const remote = query.get('remote') ?? ''
  switch (remote) {
    case 'client-session':
      if (session === undefined) throw new Fault('invalidArgument', 'the build names no session to take its context from')
      return { ...(await sourceOfSession(session, dockerfile, signal)), ...lent }
    case 'upload-request':
      return { context: { kind: 'archive', tar: await backend.sessions.takeUpload(query.get('buildid') ?? '') }, ...lent }
    case '':
      return { context: { kind: 'archive', tar: req }, ...lent }
    default:
      return { context: { kind: 'url', url: remote }, ...lent }
  }
}

/** The client is of BuildKit's kind. */
function isBuildKits(query: URLSearchParams): boolean {
  return query.get('version') === '2'
}

async function requestOf(exchange: Exchange, session: Session | undefined, signal: AbortSignal, onMessage: (message: BuildMessage) => void): Promise<BuildRequest> {
  const { query } = exchange
  if (query.has('securityopt')) throw new Fault('invalidArgument', 'security options are not supported on linux')
  const ulimits = query.get('ulimits')
  const platform = query.get('platform') || undefined
  // Refused before a byte of the answer is written.
  if (platform !== undefined) parsePlatform(platform)
  const dockerfile = query.get('dockerfile') || 'Dockerfile'
  const outputs = query.get('outputs')
  const output = outputs ? outputTo(session, JsonInput.of({ list: parseJson(outputs, "query parameter 'outputs'") }, '').objects('list'), signal) : undefined
  return {
    ...(await sourceOf(exchange, { session, dockerfile, signal })),
    ...(output === undefined ? {} : { output }),
    dockerfile,
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
    platforms: platform === undefined ? [] : [platform],
    networkMode: query.get('networkmode') || 'default',
    extraHosts: listParameter(query, 'extrahosts'),
    cacheFrom: listParameter(query, 'cachefrom').map((reference): CacheImport => (isBuildKits(query) ? cacheImport(reference) : { kind: 'image', reference })),
    dialect: isBuildKits(query) ? 'buildkit' : 'classic',
    ...buildExtensions(query),
    ...(query.get('cgroupparent') ? { cgroupParent: cleanCgroupParent(query.get('cgroupparent') ?? '') } : {}),
    shmSizeBytes: queryNumber(query, 'shmsize') || undefined,
    memoryBytes: queryNumber(query, 'memory') || undefined,
    cpuShares: queryNumber(query, 'cpushares') || undefined,
    cpuQuotaUs: queryNumber(query, 'cpuquota') || undefined,
    cpuPeriodUs: queryNumber(query, 'cpuperiod') || undefined,
    cpusetCpus: query.get('cpusetcpus') || undefined,
    ulimits: ulimits ? JsonInput.of({ list: parseJson(ulimits, "query parameter 'ulimits'") }, '').objects('list').map((limit) => ({ name: limit.string('Name') ?? '', soft: limit.number('Soft') ?? 0, hard: limit.number('Hard') ?? 0 })) : [],
    onMessage,
    signal,
  }
}

async function build(exchange: Exchange): Promise<void> {
  const { backend, res, query, req } = exchange
  const { builder, sessions } = backend
  const buildId = query.get('buildid') ?? ''
  if (buildId.startsWith(uploadPrefix)) {
    await sessions.upload(buildId.slice(uploadPrefix.length), req, exchange.signal)
    return sendEmpty(res)
  }
  if (builder === undefined) throw new Fault('unimplemented', 'this engine has no builder')
  const out = new ProgressStream(res)
  const trace = isBuildKits(query) ? new BuildTrace(backend.clock, (line) => out.line(line)) : undefined
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
      default:
        // The graph is for clients of BuildKit's kind.
        break
    }
  }
  using running = sessions.running(buildId)
  try {
    const sessionId = query.get('session') ?? ''
    // Before anything can be refused: a client that hears of the end first never ends its session.
    const session = sessionId === '' ? undefined : await sessions.get(sessionId)
    const request = await requestOf(exchange, session, AbortSignal.any([exchange.signal, running.signal]), tell)
    const assembled = assembledBuild(query, request, { id: buildId || randomHex(systemRandom, 12), nowNs: () => backend.clock.nowNs() })
    const { images, answer } = await builder.build(assembled === undefined ? request : { ...request, tags: [] })
    if (assembled !== undefined) await storeAssembled({ images: backend.images, builder }, images, { ...assembled, request })
    if (answer !== undefined) out.line(trace === undefined ? { stream: answer.text } : { id: 'berth.answer', aux: { Text: answer.text, ExitCode: String(answer.exitCode), Json: answer.json } })
  } catch (error) {
    out.fail(error)
  }
  out.end()
}

async function pruneBuilds(exchange: Exchange): Promise<void> {
  const { res, backend } = exchange
  const pruned = await backend.builder?.prune(pruneOptionsOf(exchange))
  backend.events.publish({ type: 'builder', action: 'prune', actor: { id: '', attributes: { reclaimed: String(pruned?.reclaimedBytes ?? 0) } } })
  sendJson(res, { CachesDeleted: pruned === undefined || pruned.deleted.length === 0 ? null : pruned.deleted, SpaceReclaimed: pruned?.reclaimedBytes ?? 0 })
}

/** A build without an id ends with its connection. */
async function cancelBuild({ res, query, backend }: Exchange): Promise<void> {
  const id = query.get('id')
  if (!id) throw new Fault('invalidArgument', 'build ID not provided')
  backend.sessions.cancel(id)
  sendEmpty(res)
}

/** The client serves gRPC on the connection from here on. Nobody offers without an upgrade. */
async function session({ hijack, res, backend }: Exchange): Promise<void> {
  if (hijack === undefined) return sendEmpty(res, { status: 404 })
  const { req } = hijack
  const header = (name: string): string => String(req.headers[`x-docker-expose-session-${name}`] ?? '')
  const id = header('uuid')
  if (id === '') throw new Fault('invalidArgument', 'the session has no id (X-Docker-Expose-Session-Uuid)')
  // One header line for each method; Node joins them.
  const methods = header('grpc-method').split(',').map((method) => method.trim())
  await backend.sessions.serve(takeOver(hijack, backend), { id, methods, sharedKey: header('sharedkey') })
}

/** The connection, no longer HTTP/1.1's. */
function takeOver({ req, socket, head }: NonNullable<Exchange['hijack']>, { log }: EngineBackend): Duplex {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${req.headers.upgrade}\r\n\r\n`)
  socket.on('error', (error: Error) => log.debug({ error: error.message }, 'a build client went away'))
  // Servers of HTTP/1.1 keep half of a connection open; HTTP/2 knows no halves, and would wait for ever.
  socket.once('end', () => socket.destroy())
  if (head.length > 0) socket.unshift(head)
  return socket
}

const services = new WeakMap<EngineBackend, Promise<(socket: Duplex) => Promise<void>>>()

/** BuildKit's services in gRPC. Few clients ask for them: who does not, does not pay for them. */
async function grpc({ hijack, backend }: Exchange): Promise<void> {
  if (hijack === undefined) throw new Fault('invalidArgument', 'no upgrade proto in request')
  const protocol = hijack.req.headers.upgrade ?? ''
  if (protocol !== 'h2c') throw new Fault('invalidArgument', `protocol ${protocol} not supported`)
  let opening = services.get(backend)
  if (opening === undefined) {
    opening = import('../../grpc/service.ts').then(({ openBuildService }) => openBuildService(backend))
    services.set(backend, opening)
  }
  const serve = await opening
  await serve(takeOver(hijack, backend))
}

export const buildRoutes: readonly (readonly [string, string, Handler])[] = [
  ['POST', '/build', build],
  ['POST', '/build/cancel', cancelBuild],
  ['POST', '/build/prune', pruneBuilds],
  ['POST', '/session', session],
  ['POST', '/grpc', grpc],
]

