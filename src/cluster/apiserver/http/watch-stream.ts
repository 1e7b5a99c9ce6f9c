/**
 * A watch over HTTP: one JSON document per event in a response that stays open
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes). An error after the first byte
 * becomes an ERROR event, as clients expect.
 */
import { asFault, Fault } from '#base/fault.ts'
import type { JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { renderTable } from '#schema/table.ts'
import { tableOf } from '../../api/tables.ts'
import type { Api } from '../api.ts'
import type { WatchItem } from '../cache.ts'
import type { Entry } from '../entry.ts'
import type { WatchRequest } from '../read.ts'
import type { Resource } from '../resources.ts'
import { includeObject, stored, type AnswerContext } from './answers.ts'
import { write, type Exchange } from './exchange.ts'
import { mediaTypes, type Representation } from './negotiation.ts'
import { failure } from './status.ts'

const eventEnd = Buffer.from('}\n')
const eventStart = {
  ADDED: Buffer.from('{"type":"ADDED","object":'),
  MODIFIED: Buffer.from('{"type":"MODIFIED","object":'),
  DELETED: Buffer.from('{"type":"DELETED","object":'),
  BOOKMARK: Buffer.from('{"type":"BOOKMARK","object":'),
} as const

function bookmark(kind: AnyKind, { revision, initialEnd }: Extract<WatchItem, { type: 'BOOKMARK' }>): JsonObject {
  const annotations = initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}
  return { kind: kind.kind, apiVersion: kind.apiVersion, metadata: { resourceVersion: String(revision), creationTimestamp: null, ...annotations } }
}

/** Serialises one event; stateful, since a Table's columns are sent with its first event only. */
type ItemWriter = (item: WatchItem) => readonly Buffer[]

/** From a writer of the events' objects. */
function inJson(write: (item: WatchItem) => Buffer): ItemWriter {
  return (item) => [eventStart[item.type], write(item), eventEnd]
}

function jsonWriter(kind: AnyKind): ItemWriter {
  return inJson((item) => (item.type === 'BOOKMARK' ? Buffer.from(JSON.stringify(bookmark(kind, item))) : item.entry.json))
}

function protobufWriter(kind: AnyKind, { protobuf }: AnswerContext): ItemWriter {
  return (item) => [protobuf.watchFrame(item.type, kind, item.type === 'BOOKMARK' ? bookmark(kind, item) : item.entry)]
}

function partialWriter(kind: AnyKind): ItemWriter {
  return inJson((item) => {
    const { metadata } = item.type === 'BOOKMARK' ? bookmark(kind, item) : item.entry.object
    return Buffer.from(JSON.stringify({ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }))
  })
}

function tableWriter(exchange: Exchange, kind: AnyKind, context: AnswerContext): ItemWriter {
  const include = includeObject(exchange.url.searchParams)
  let withColumns = true
  return inJson((item) => {
    const entries: readonly Entry[] = item.type === 'BOOKMARK' ? [] : [item.entry]
    const resourceVersion = item.type === 'BOOKMARK' ? String(item.revision) : String(item.entry.revision)
    const rendered = renderTable(tableOf(kind), entries.map(({ object }) => stored(object)), { nowMs: context.nowMs(), includeObject: include, listMeta: { resourceVersion }, withColumns })
    // A bookmark's table is an object with its version in it, where clients look for it.
    const shown = item.type === 'BOOKMARK' ? { ...rendered, rows: [{ cells: [], object: bookmark(kind, item) }] } : rendered
    withColumns = false
    return Buffer.from(JSON.stringify(shown))
  })
}

function writerFor(exchange: Exchange, { resource: { kind }, as, context }: WatchStream): ItemWriter {
  if (as.as === 'Table') return tableWriter(exchange, kind, context)
  if (as.as === 'PartialObjectMetadata') return partialWriter(kind)
  return as.encoding === 'protobuf' ? protobufWriter(kind, context) : jsonWriter(kind)
}

export interface WatchStream {
  readonly api: Api
  readonly resource: Resource
  readonly request: WatchRequest
  readonly as: Representation
  readonly context: AnswerContext
}

export async function streamWatch(exchange: Exchange, stream: WatchStream): Promise<void> {
  const { api, resource, request, as, context } = stream
  if (as.encoding === 'yaml') throw new Fault('notAcceptable', 'watches are sent as application/json or application/vnd.kubernetes.protobuf')
  const encode = writerFor(exchange, stream)
  const { response } = exchange
  // What cannot be watched is refused here, while the status can still say so.
  const batches = await api.watch(resource, request)
  response.writeHead(200, { 'content-type': as.encoding === 'protobuf' ? `${mediaTypes.protobuf};stream=watch` : mediaTypes.json, 'cache-control': 'no-cache, private' })
  response.flushHeaders()
  try {
    for await (const items of batches) {
      await write(exchange, Buffer.concat(items.flatMap(encode)))
      if (exchange.signal.aborted) break
    }
  } catch (error) {
    const status = failure(asFault(error))
    await write(exchange, as.encoding === 'protobuf' ? context.protobuf.statusFrame(status) : Buffer.from(`${JSON.stringify({ type: 'ERROR', object: status })}\n`))
  }
  response.end()
}
