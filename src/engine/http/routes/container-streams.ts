/** What flows: attach, logs, wait, stats, resize, archives and export (Engine API, tag `Container`). */
import { pipeline } from 'node:stream/promises'
import { Fault } from '#base/fault.ts'
import { rfc3339Nano, sleep } from '#base/clock.ts'
import { sendEmpty } from '#base/http.ts'
import { jsonText } from '#base/json.ts'
import { attributesText, logAttributesOf } from '../../containers/log-options.ts'
import type { Container, LogQuery, WaitCondition } from '../../contract/containers.ts'
import type { PathStat } from '../../contract/snapshots.ts'
import { detachFilter, parseDetachKeys } from '../detach-keys.ts'
import { param, type Exchange, type Handler } from '../exchange.ts'
import { queryBoolean, queryNumber, queryTimeNs } from '../json-input.ts'
import { statsJson } from '../stats-json.ts'
import { acceptUpgrade, frame, headRead, serveResponse, serveSession, streamMediaType, writeAll } from '../streams.ts'
import { acceptWebSocket, requireUpgrade, serveWebSocket } from '../web-socket.ts'

async function attach(exchange: Exchange): Promise<void> {
  const { backend, query, hijack, res, req, minorVersion } = exchange
  const container = await backend.containers.inspect(param(exchange, 'id'))
  const { tty } = container.effective
  const detachKeys = detachKeysOf(query)
  const session = await backend.containers.attach(container.id, {
    stdin: queryBoolean(query, 'stdin'),
    stdout: queryBoolean(query, 'stdout'),
    stderr: queryBoolean(query, 'stderr'),
    stream: queryBoolean(query, 'stream'),
    logs: queryBoolean(query, 'logs'),
  })
  const mediaType = streamMediaType(tty, minorVersion)
  if (hijack === undefined) {
    await serveResponse(res, session, { tty, mediaType, log: backend.log, input: req })
    return
  }
  acceptUpgrade(hijack, mediaType)
  await headRead(hijack, backend.clock)
  await serveSession(hijack, session, { tty, log: backend.log, detachKeys })
}

/** Up to 1.41 the web socket always carries all three streams (version-history.md, 1.42). */
async function attachSocket(exchange: Exchange): Promise<void> {
  const { backend, query, minorVersion } = exchange
  const container = await backend.containers.inspect(param(exchange, 'id'))
  const hijack = requireUpgrade(exchange.hijack)
  const keys = detachKeysOf(query)
  const wanted = (name: string): boolean => minorVersion < 42 || queryBoolean(query, name)
  const session = await backend.containers.attach(container.id, { stdin: wanted('stdin'), stdout: wanted('stdout'), stderr: wanted('stderr'), stream: queryBoolean(query, 'stream'), logs: queryBoolean(query, 'logs') })
  try {
    const client = await acceptWebSocket(hijack)
    await serveWebSocket(client, session, { log: backend.log, binary: minorVersion >= 28, filter: container.effective.tty ? detachFilter(keys) : undefined })
  } finally {
    session.close()
  }
}

function detachKeysOf(query: URLSearchParams): Buffer {
  const keys = parseDetachKeys(query.get('detachKeys'))
  if (keys === undefined) throw new Fault('invalidArgument', `Invalid detach keys (${query.get('detachKeys')}) provided`)
  return keys
}

async function logs(exchange: Exchange): Promise<void> {
  const { backend, query, res, minorVersion, signal } = exchange
  const container = await backend.containers.inspect(param(exchange, 'id'))
  const wanted: LogQuery = { stdout: queryBoolean(query, 'stdout'), stderr: queryBoolean(query, 'stderr'), follow: queryBoolean(query, 'follow'), signal, ...logRange(query) }
  if (!wanted.stdout && !wanted.stderr) throw new Fault('invalidArgument', 'Bad parameters: you must choose at least one stream')
  const entries = await backend.containers.logs(container.id, wanted)
  const { tty } = container.effective
  const prefix = queryBoolean(query, 'details') ? detailsPrefix(container, backend.system.hostname) : undefined
  const timestamps = queryBoolean(query, 'timestamps')
  res.writeHead(200, { 'Content-Type': streamMediaType(tty, minorVersion) })
  res.flushHeaders()
  for await (const { channel, timeNs, data } of entries) {
    const text = prefix === undefined ? data : Buffer.concat([prefix, data])
    const line = timestamps ? Buffer.concat([Buffer.from(`${rfc3339Nano(timeNs)} `), text]) : text
    if (!(await writeAll(res, tty ? line : frame({ channel, data: line })))) return
  }
  res.end()
}

/** What the log's options name, in front of each line. Only json-file keeps it: the local log, and what is read beside another driver's, has lines alone. */
function detailsPrefix({ id, name, imageId, spec, effective }: Container, hostname: string): Buffer {
  const log = spec.log ?? { driver: 'json-file' }
  if (log.driver !== 'json-file') return Buffer.from(' ')
  const attributes = logAttributesOf(log, { id, name, imageId, imageName: spec.image, effective, hostname })
  return Buffer.from(`${attributesText(attributes)} `)
}

function logRange(query: URLSearchParams): Pick<LogQuery, 'tail' | 'sinceNs' | 'untilNs'> {
  const tail = query.get('tail')
  const sinceNs = queryTimeNs(query, 'since')
  const untilNs = queryTimeNs(query, 'until')
  const lines = tail === null || tail === '' || tail === 'all' ? undefined : Number(tail)
  return { ...(lines === undefined || !Number.isInteger(lines) || lines < 0 ? {} : { tail: lines }), ...(sinceNs === undefined ? {} : { sinceNs }), ...(untilNs === undefined ? {} : { untilNs }) }
}

function conditionOf({ query, minorVersion }: Exchange): WaitCondition {
  // Clients before 1.30 know no conditions.
  const text = minorVersion < 30 ? null : query.get('condition')
  if (text === null || text === '' || text === 'not-running') return 'not-running'
  if (text === 'next-exit' || text === 'removed') return text
  throw new Fault('invalidArgument', `invalid condition: "${text}"`)
}

async function wait(exchange: Exchange): Promise<void> {
  const { backend, res, signal, minorVersion } = exchange
  const { result } = await backend.containers.wait(param(exchange, 'id'), conditionOf(exchange), signal)
  // The client starts the container only after it has seen the headers.
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
  const { exitCode, error } = await result
  // `Error: null` until 1.41; later the field is left out.
  const problem = error === undefined ? (minorVersion < 42 ? { Error: null } : {}) : { Error: { Message: error } }
  res.end(`${jsonText({ StatusCode: exitCode, ...problem })}\n`)
}

async function resize(exchange: Exchange): Promise<void> {
  const { backend, query, res } = exchange
  await backend.containers.resize(param(exchange, 'id'), sizeOf(query))
  sendEmpty(res)
}

export function sizeOf(query: URLSearchParams): { readonly rows: number; readonly columns: number } {
  const rows = queryNumber(query, 'h')
  const columns = queryNumber(query, 'w')
  if (rows === undefined || columns === undefined) throw new Fault('invalidArgument', 'invalid resize height or width: both h and w must be given')
  return { rows, columns }
}

async function stats(exchange: Exchange): Promise<void> {
  const { backend, query, res, signal, minorVersion } = exchange
  const { id } = await backend.containers.inspect(param(exchange, 'id'))
  const stream = queryBoolean(query, 'stream', true)
  const oneShot = minorVersion >= 41 && queryBoolean(query, 'one-shot')
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
  let previous = stream || oneShot ? undefined : await statsJson(backend, id, undefined)
  if (previous !== undefined) await sleep(backend.clock, 1000, signal)
  for (;;) {
    const sample = await statsJson(backend, id, previous)
    if (!(await writeAll(res, Buffer.from(`${jsonText(sample.json)}\n`))) || !stream) break
    previous = sample
    if (signal.aborted) return
    await sleep(backend.clock, 1000, signal)
  }
  res.end()
}

function statHeader({ name, sizeBytes, goMode, modifiedAtNs, linkTarget }: PathStat): string {
  return Buffer.from(jsonText({ name, size: sizeBytes, mode: goMode, mtime: rfc3339Nano(modifiedAtNs), linkTarget })).toString('base64')
}

function wantedPath(query: URLSearchParams): string {
  const path = query.get('path')
  if (path === null || path === '') throw new Fault('invalidArgument', "Bad parameter: 'path' cannot be empty")
  return path
}

async function statArchive(exchange: Exchange): Promise<void> {
  const stat = await exchange.backend.containers.statPath(param(exchange, 'id'), wantedPath(exchange.query))
  sendEmpty(exchange.res, { headers: { 'X-Docker-Container-Path-Stat': statHeader(stat) } })
}

async function getArchive(exchange: Exchange): Promise<void> {
  const { backend, query, res, signal } = exchange
  const { stat, tar } = await backend.containers.readArchive(param(exchange, 'id'), wantedPath(query), { signal })
  res.writeHead(200, { 'Content-Type': 'application/x-tar', 'X-Docker-Container-Path-Stat': statHeader(stat) })
  await pipeline(tar, res)
}

async function putArchive(exchange: Exchange): Promise<void> {
  const { backend, query, req, res, signal } = exchange
  await backend.containers.writeArchive(param(exchange, 'id'), wantedPath(query), req, { noOverwriteDirNonDir: queryBoolean(query, 'noOverwriteDirNonDir'), copyUidGid: queryBoolean(query, 'copyUIDGID'), signal })
  sendEmpty(res)
}

async function exportRoot(exchange: Exchange): Promise<void> {
  const { backend, res, signal } = exchange
  const tar = await backend.containers.exportRoot(param(exchange, 'id'), { signal })
  res.writeHead(200, { 'Content-Type': 'application/octet-stream' })
  await pipeline(tar, res)
}

export const containerStreamRoutes: readonly (readonly [string, string, Handler])[] = [
  ['POST', '/containers/:id/attach', attach],
  ['GET', '/containers/:id/attach/ws', attachSocket],
  ['GET', '/containers/:id/logs', logs],
  ['POST', '/containers/:id/wait', wait],
  ['POST', '/containers/:id/resize', resize],
  ['GET', '/containers/:id/stats', stats],
  ['HEAD', '/containers/:id/archive', statArchive],
  ['GET', '/containers/:id/archive', getArchive],
  ['PUT', '/containers/:id/archive', putArchive],
  ['GET', '/containers/:id/export', exportRoot],
]
