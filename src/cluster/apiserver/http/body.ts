/** Request bodies: JSON, YAML, or Kubernetes' protobuf envelope, by Content-Type; bounded (`exchange.ts`). */
import { parse as parseYaml } from 'yaml'
import { Fault } from '#base/fault.ts'
import { protobufMediaType } from '#schema/protobuf.ts'
import { badRequest } from '../refusals.ts'
import type { PatchType } from '../patch.ts'
import { header, readBytes, type Exchange } from './exchange.ts'

export interface Body {
  readonly value: unknown
  /** The JSON text, where there is one: it shows duplicate keys. */
  readonly text: string | undefined
}

/** Turns a protobuf envelope into a JSON value. Injected, since it needs to know the kinds. */
export type ProtobufReader = (bytes: Buffer) => unknown

export function mediaType(exchange: Exchange): string {
  return (header(exchange, 'content-type') ?? 'application/json').split(';')[0]?.trim().toLowerCase() ?? ''
}

function parseJson(bytes: Buffer): Body {
  const text = bytes.toString()
  try {
    const value: unknown = JSON.parse(text)
    return { value, text }
  } catch (cause) {
    throw new Fault('invalidArgument', `the body is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

function parseYamlBody(bytes: Buffer): Body {
  try {
    const value: unknown = parseYaml(bytes.toString(), { maxAliasCount: 100 })
    return { value, text: undefined }
  } catch (cause) {
    throw new Fault('invalidArgument', `the body is no YAML: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** An object. Empty bodies are refused unless `optional`. */
export async function readObject(exchange: Exchange, protobuf: ProtobufReader, optional = false): Promise<Body> {
  const bytes = await readBytes(exchange)
  if (bytes.length === 0) {
    if (optional) return { value: undefined, text: undefined }
    throw badRequest('the body is empty: send an object')
  }
  const type = mediaType(exchange)
  switch (type) {
    case 'application/json':
    case 'application/x-www-form-urlencoded':
    case '':
      return parseJson(bytes)
    case 'application/yaml':
    case 'text/yaml':
      return parseYamlBody(bytes)
    case protobufMediaType:
      return { value: protobuf(bytes), text: undefined }
    default:
      throw new Fault('unsupportedMediaType', `the body of the request was in an unknown format (${type}): accepted are application/json, application/yaml, application/vnd.kubernetes.protobuf`)
  }
}

export interface PatchBody extends Body {
  readonly type: PatchType | 'apply'
}

export async function readPatch(exchange: Exchange): Promise<PatchBody> {
  const type = mediaType(exchange)
  const bytes = await readBytes(exchange)
  switch (type) {
    case 'application/json-patch+json':
      return { type: 'json', ...parseJson(bytes) }
    case 'application/merge-patch+json':
      return { type: 'merge', ...parseJson(bytes) }
    case 'application/strategic-merge-patch+json':
      return { type: 'strategic', ...parseJson(bytes) }
    case 'application/apply-patch+yaml':
      return { type: 'apply', ...parseYamlBody(bytes) }
    default:
      throw new Fault(
        'unsupportedMediaType',
        `patches of type ${type} are not known: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml`,
      )
  }
}
