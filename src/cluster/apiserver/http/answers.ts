/** Answers: one object or a list, in the representation that the client asked for. Serialised objects are sent as they lie in the cache. */
import type { JsonObject } from '#schema/json.ts'
import type { AnyKind, StoredObject } from '#schema/kind.ts'
import { renderTable, type IncludeObject } from '#schema/table.ts'
import { stringify as yamlOf } from 'yaml'
import { tableOf } from '../../api/tables.ts'
import { asKind, Entry, type ApiObject } from '../entry.ts'
import { badRequest } from '../refusals.ts'
import type { EntryList } from '../read.ts'
import { send, writeAll, type Exchange } from './exchange.ts'
import { mediaTypes, type Representation } from './negotiation.ts'
import type { ProtobufCodec } from './protobuf.ts'

export interface AnswerContext {
  readonly protobuf: ProtobufCodec
  readonly nowMs: () => number
}

const comma = Buffer.from(',')
const listEnd = Buffer.from(']}\n')
const newline = Buffer.from('\n')

export function includeObject(query: URLSearchParams): IncludeObject {
  const value = query.get('includeObject') ?? 'Metadata'
  if (value === 'None' || value === 'Metadata' || value === 'Object') return value
  throw badRequest(`includeObject "${value}" is not known: None, Metadata or Object`)
}

export function stored(object: ApiObject | JsonObject): StoredObject {
  return asKind<StoredObject>(object)
}

function partial(object: JsonObject): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object['metadata'] }
}

/** A JSON value in one of the plain encodings. */
function encodeValue(value: unknown, { encoding, pretty }: Representation): Buffer {
  return Buffer.from(encoding === 'yaml' ? yamlOf(value) : `${JSON.stringify(value, undefined, pretty ? 2 : undefined)}\n`)
}

export function encodeObject(exchange: Exchange, kind: AnyKind, object: JsonObject | Entry, as: Representation, context: AnswerContext): Buffer {
  const plain = object instanceof Entry ? object.object : object
  if (as.as === 'Table') {
    const { metadata } = stored(plain)
    const options = { nowMs: context.nowMs(), includeObject: includeObject(exchange.url.searchParams), listMeta: { resourceVersion: metadata.resourceVersion }, withColumns: true }
    return encodeValue(renderTable(tableOf(kind), [stored(plain)], options), as)
  }
  if (as.as === 'PartialObjectMetadata') return encodeValue(partial(plain), as)
  if (as.encoding === 'protobuf') return context.protobuf.object(kind, object)
  if (object instanceof Entry && as.encoding === 'json' && !as.pretty) return Buffer.concat([object.json, newline])
  return encodeValue(plain, as)
}

export function sendObject(exchange: Exchange, status: number, kind: AnyKind, object: JsonObject | Entry, as: Representation, context: AnswerContext): void {
  send(exchange, status, { 'content-type': mediaTypes[as.encoding] }, encodeObject(exchange, kind, object, as, context))
}

function listMeta(list: EntryList): JsonObject {
  return { resourceVersion: list.resourceVersion, continue: list.continue, remainingItemCount: list.remainingItemCount }
}

function* listPieces(kind: AnyKind, list: EntryList): Generator<Buffer> {
  yield Buffer.from(`{"kind":${JSON.stringify(kind.listKind)},"apiVersion":${JSON.stringify(kind.apiVersion)},"metadata":${JSON.stringify(listMeta(list))},"items":[`)
  let first = true
  for (const { json } of list.entries) {
    if (!first) yield comma
    first = false
    yield json
  }
  yield listEnd
}

export async function sendList(exchange: Exchange, kind: AnyKind, list: EntryList, as: Representation, context: AnswerContext): Promise<void> {
  const type = { 'content-type': mediaTypes[as.encoding] }
  if (as.as === undefined && as.encoding === 'json' && !as.pretty) {
    exchange.response.writeHead(200, type)
    await writeAll(exchange, listPieces(kind, list))
    exchange.response.end()
    return
  }
  const objects = list.entries.map(({ object }) => object)
  if (as.as === 'Table') {
    const options = { nowMs: context.nowMs(), includeObject: includeObject(exchange.url.searchParams), listMeta: listMeta(list), withColumns: true }
    return send(exchange, 200, type, encodeValue(renderTable(tableOf(kind), objects.map(stored), options), as))
  }
  if (as.as === 'PartialObjectMetadata') {
    const value = { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata: listMeta(list), items: objects.map(partial) }
    return send(exchange, 200, type, encodeValue(value, as))
  }
  if (as.encoding === 'protobuf') return send(exchange, 200, type, context.protobuf.list(kind, { metadata: listMeta(list), entries: list.entries }))
  send(exchange, 200, type, encodeValue({ kind: kind.listKind, apiVersion: kind.apiVersion, metadata: listMeta(list), items: objects }, as))
}
