/**
 * `/openapi/v2` and `/openapi/v3`, made when first asked for and kept as bytes. kubectl 1.20 to 1.36 takes v2 as protobuf only.
 * https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
 */
import { createHash } from 'node:crypto'
import type { JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { encodeOpenapiV2, openapiV2Accepted, openapiV2ContentType } from '#schema/openapi-protobuf.ts'
import { openapiV2Of, openapiV3Of } from '../../api/openapi.ts'
import { header, send, sendJson, type Exchange } from './exchange.ts'
import { parseAccept } from './negotiation.ts'

export interface OpenapiOptions {
  readonly kinds: readonly AnyKind[]
  /** E.g. `v1.36.0`. */
  readonly version: string
}

interface Document {
  readonly bytes: Buffer
  readonly hash: string
}

function documentOf(bytes: Buffer): Document {
  return { bytes, hash: createHash('sha256').update(bytes).digest('hex').toUpperCase() }
}

/** Answers the request when it is for one of these documents. */
export type OpenapiAnswer = (exchange: Exchange) => boolean

export function openapi({ kinds, version }: OpenapiOptions): OpenapiAnswer {
  const info = { title: 'Kubernetes', version }
  const made = new Map<string, Document>()
  const once = (name: string, make: () => Buffer): Document => {
    let document = made.get(name)
    if (document === undefined) {
      document = documentOf(make())
      made.set(name, document)
    }
    return document
  }
  let v3: ReadonlyMap<string, JsonObject> | undefined
  const v3Documents = (): ReadonlyMap<string, JsonObject> => (v3 ??= openapiV3Of(kinds, info))
  const v3Document = (path: string): Document | undefined => {
    const found = v3Documents().get(path)
    return found === undefined ? undefined : once(`v3/${path}`, () => Buffer.from(JSON.stringify(found)))
  }
  const v2Json = (): Document => once('v2', () => Buffer.from(JSON.stringify(openapiV2Of(kinds, info))))
  const v2Protobuf = (): Document => once('v2.pb', () => encodeOpenapiV2(openapiV2Of(kinds, info)))

  const answer = (exchange: Exchange, { bytes, hash }: Document, type: string): true => {
    const etag = `"${hash}"`
    if (header(exchange, 'if-none-match') === etag) send(exchange, 304, { etag }, Buffer.alloc(0))
    else send(exchange, 200, { 'content-type': type, etag, vary: 'Accept', 'cache-control': 'no-cache, private' }, bytes)
    return true
  }
  return (exchange) => {
    const path = exchange.url.pathname
    if (path === '/openapi/v2') {
      const wanted = parseAccept(header(exchange, 'accept')).map(({ type }) => type)
      const protobufAt = wanted.indexOf(openapiV2Accepted)
      const jsonAt = wanted.findIndex((type) => type === 'application/json' || type === '*/*' || type === 'application/*')
      return protobufAt >= 0 && (jsonAt < 0 || protobufAt < jsonAt) ? answer(exchange, v2Protobuf(), openapiV2ContentType) : answer(exchange, v2Json(), 'application/json')
    }
    if (path === '/openapi/v3' || path === '/openapi/v3/') {
      const paths = [...v3Documents().keys()].map((key) => [key, { serverRelativeURL: `/openapi/v3/${key}?hash=${v3Document(key)?.hash ?? ''}` }])
      sendJson(exchange, 200, { paths: Object.fromEntries(paths) })
      return true
    }
    if (!path.startsWith('/openapi/v3/')) return false
    const document = v3Document(path.slice('/openapi/v3/'.length))
    return document === undefined ? false : answer(exchange, document, 'application/json')
  }
}
