/** BuildKit's `Control` (moby/buildkit `api/services/control/control.proto`): builds and what they say, the cache, sessions. */
import { Duplex } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { oneMessage, unary, type GrpcExchange, type GrpcMethod } from '#base/grpc-server.ts'
import { ProtoMessage, ProtoWriter } from '#base/proto-wire.ts'
import type { BuildCacheEntry, ImageBuilder } from '../http/backend.ts'
import type { Session } from '../session/client-session.ts'
import { cacheFilter } from './cache-filter.ts'
import { checkExporters, exportResult } from './exporters.ts'
import { statusOfFailure } from './failure.ts'
import { Job, type JobOptions } from './job.ts'
import { encodeUsage, encodeVersion, encodeWorker, writeEntry, type WorkerFacts } from './records.ts'
import { FrontendResult } from './result.ts'
import { heldResult, ownedResults, solveFor } from './frontend-solve.ts'
import type { BuildService } from './service.ts'
import { readSolveRequest, type SolveRequest } from './solve-request.ts'

const nothing = Buffer.alloc(0)

export function controlMethods(service: BuildService): [string, GrpcMethod][] {
  const method = (name: string, serve: GrpcMethod): [string, GrpcMethod] => [`/moby.buildkit.v1.Control/${name}`, serve]
  return [
    method('ListWorkers', unary(async () => repeated(encodeWorker(await workerFacts(service))))),
    method('Info', unary(async () => repeated(encodeVersion(service.backend.system)))),
    method('DiskUsage', unary((message) => diskUsage(service, new ProtoMessage(message)))),
    method('Prune', (exchange) => prune(service, exchange)),
    method('Solve', unary((message, { signal }) => solve(service, readSolveRequest(new ProtoMessage(message)), signal))),
    method('Status', (exchange) => status(service, exchange)),
    method('Session', (exchange) => session(service, exchange)),
    method('ListenBuildHistory', (exchange) => listenHistory(service, exchange)),
    method('UpdateBuildHistory', unary((message) => updateHistory(service, new ProtoMessage(message)))),
  ]
}

/** A message of but one field, the first. */
function repeated(...messages: readonly Buffer[]): Buffer {
  const writer = new ProtoWriter()
  for (const message of messages) writer.bytes(1, message)
  return writer.finish()
}

export async function workerFacts({ backend }: BuildService): Promise<WorkerFacts> {
  return { system: backend.system, gatewayIp: await gatewayOf(backend.networks) }
}

/** Of the network that builds run in by default. */
async function gatewayOf(networks: BuildService['backend']['networks']): Promise<string | undefined> {
  try {
    return (await networks.get('bridge')).ipam.config[0]?.gateway
  } catch (error) {
    if (isFault(error, 'notFound')) return undefined
    throw error
  }
}

export function builderOf({ backend }: BuildService): ImageBuilder {
  if (backend.builder === undefined) throw new Fault('unimplemented', 'this engine has no builder')
  return backend.builder
}

// ---- builds ------------------------------------------------------------------------------------------------------------

async function solve(service: BuildService, request: SolveRequest, signal: AbortSignal): Promise<Buffer> {
  builderOf(service)
  if (request.ref === '') throw new Fault('invalidArgument', 'the build has no ref')
  checkExporters(request.exporters)
  const record = service.history.begin(request)
  try {
    const facts = await build(service, { request, signal, record })
    service.history.end(record, { facts })
    const answer = new ProtoWriter()
    for (const fact of facts) writeEntry(answer, 1, fact)
    return answer.finish()
  } catch (error) {
    service.history.end(record, { failure: statusOfFailure(error) })
    throw error
  }
}

/** Answers the facts that clients are told about what was made. */
async function build(service: BuildService, { request, signal, record }: Pick<JobOptions, 'request' | 'signal' | 'record'>): Promise<ReadonlyMap<string, string>> {
  const { sessions, clock } = service.backend
  const session = (id = request.sessionId): Promise<Session> => sessions.get(id)
  using job = new Job({ request, clock, session, signal, record })
  using shown = service.jobs.show(request.ref, job)
  using told = showStatus(service, job)
  void [shown, told]
  await using owned = ownedResults(service, job)
  void owned
  const resultId = request.frontend === '' && !request.hasDefinition ? await job.chosen() : await directResult(service, job)
  return resultId === undefined ? new Map<string, string>() : await exportResult(job, heldResult(service, resultId), service.backend)
}

/** Of a client that leaves the frontend to the engine. */
async function directResult(service: BuildService, job: Job): Promise<string | undefined> {
  const { frontend, attributes, inputs } = job.request
  const solved = await solveFor(service, job, { frontend, attributes, inputs })
  return solved instanceof FrontendResult ? solved.id : undefined
}

/** Clients ask for it beside their Solve: it may come when a short build is over. */
const unreadStatusMs = 10_000

/** Until the build is over; where nobody has asked yet, a while longer. */
function showStatus({ statuses, unreadStatuses, backend }: BuildService, { request: { ref }, status, signal }: Job): Disposable {
  unreadStatuses.get(ref)?.[Symbol.dispose]()
  const shown = statuses.show(ref, status)
  let isFound = false
  void status.found.then(() => (isFound = true))
  return {
    [Symbol.dispose]() {
      // A client that is gone asks for nothing.
      if (isFound || signal.aborted) return shown[Symbol.dispose]()
      const timer = backend.clock.after(unreadStatusMs, () => forget(), { background: true })
      const unread: Disposable = { [Symbol.dispose]: () => forget() }
      const forget = (): void => {
        timer.cancel()
        if (unreadStatuses.get(ref) !== unread) return
        unreadStatuses.delete(ref)
        shown[Symbol.dispose]()
      }
      unreadStatuses.set(ref, unread)
      void status.found.then(forget)
    },
  }
}

async function status({ statuses }: BuildService, exchange: GrpcExchange): Promise<void> {
  const log = await statuses.get(new ProtoMessage(await oneMessage(exchange)).string(1))
  for await (const response of log.read(exchange.signal)) await exchange.send(response)
}

async function listenHistory({ history }: BuildService, exchange: GrpcExchange): Promise<void> {
  const query = new ProtoMessage(await oneMessage(exchange))
  for await (const event of history.listen({ activeOnly: query.boolean(1), ref: query.string(2), earlyExit: query.boolean(3) }, exchange.signal)) await exchange.send(event)
}

/** Records cannot be pinned: they go with the engine anyway. */
function updateHistory({ history }: BuildService, request: ProtoMessage): Promise<Buffer> {
  if (request.boolean(2)) throw new Fault('unimplemented', 'build records cannot be pinned: they are kept in memory only')
  if (request.boolean(3)) history.delete(request.string(1))
  return empty()
}

/** A session over a call instead of a connection of its own, as clients share one among several builds. */
async function session({ backend }: BuildService, exchange: GrpcExchange): Promise<void> {
  const header = (name: string): string => String(exchange.metadata[`x-docker-expose-session-${name}`] ?? '')
  const id = header('uuid')
  if (id === '') throw new Fault('invalidArgument', 'the session has no id (X-Docker-Expose-Session-Uuid)')
  const methods = header('grpc-method').split(',').map((method) => method.trim())
  using connection = connectionOf(exchange)
  await backend.sessions.serve(connection, { id, methods, sharedKey: header('sharedkey') })
}

/** The bytes of `BytesMessage`s, both ways. */
function connectionOf(exchange: GrpcExchange): Duplex & Disposable {
  const incoming = bytesOf(exchange)
  const connection = new Duplex({
    read() {
      void settle(incoming.next(), (error, next) => (error === undefined ? this.push(next?.value ?? null) : this.destroy(error)))
    },
    write(chunk: Buffer, _encoding, done) {
      const message = new ProtoWriter()
      message.bytes(1, chunk)
      void settle(exchange.send(message.finish()), (error) => done(error))
    },
  })
  // Told to whoever uses the session.
  connection.on('error', () => connection.destroy())
  exchange.signal.addEventListener('abort', () => connection.destroy(), { once: true })
  return Object.assign(connection, { [Symbol.dispose]: () => void connection.destroy() })
}

async function* bytesOf(exchange: GrpcExchange): AsyncGenerator<Buffer, undefined> {
  for await (const message of exchange.receive()) {
    const data = new ProtoMessage(message).bytes(1)
    if (data.length > 0) yield data
  }
  return undefined
}

/** Tells how a promise ended, in Node's way. */
async function settle<T>(promise: Promise<T>, tell: (error: Error | undefined, value?: T) => void): Promise<void> {
  let value: T
  try {
    value = await promise
  } catch (error) {
    return tell(error instanceof Error ? error : new Error(String(error), { cause: error }))
  }
  tell(undefined, value)
}

// ---- cache -------------------------------------------------------------------------------------------------------------

async function diskUsage(service: BuildService, request: ProtoMessage): Promise<Buffer> {
  const matches = cacheFilter(request.strings(1))
  const oldestNs = service.backend.clock.nowNs() - request.integer(2)
  const entries = (await builderOf(service).diskUsage()).filter((entry) => (matches?.(entry) ?? true) && (request.integer(2) === 0n || entry.lastUsedAtNs <= oldestNs))
  return repeated(...entries.map(encodeUsage))
}

async function prune(service: BuildService, exchange: GrpcExchange): Promise<void> {
  const request = new ProtoMessage(await oneMessage(exchange))
  const matches = cacheFilter(request.strings(1))
  const unusedForMs = Number(request.integer(3) / 1_000_000n)
  const builder = builderOf(service)
  const before = await builder.diskUsage()
  const { deleted, reclaimedBytes } = await builder.prune({
    all: request.boolean(2),
    ...(matches === undefined ? {} : { matches }),
    ...(unusedForMs === 0 ? {} : { unusedForMs }),
    reservedBytes: Number(request.integer(4)),
    maxUsedBytes: Number(request.integer(5)),
    minFreeBytes: Number(request.integer(6)),
  })
  service.backend.events.publish({ type: 'builder', action: 'prune', actor: { id: '', attributes: { reclaimed: String(reclaimedBytes) } } })
  const gone = new Set(deleted)
  for (const entry of before.filter(({ id }: BuildCacheEntry) => gone.has(id))) await exchange.send(encodeUsage(entry))
}

export const empty = (): Promise<Buffer> => Promise.resolve(nothing)
