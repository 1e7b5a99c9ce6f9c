/** One request of the Engine API on its way through a route, and the small answers every route gives. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { readBody, type RouteParams } from '#base/http.ts'
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { EngineBackend } from './backend.ts'
import { withoutClosers } from './json-input.ts'
import type { HijackTarget } from './streams.ts'

export interface Exchange {
  readonly backend: EngineBackend
  readonly req: IncomingMessage
  readonly params: RouteParams
  readonly query: URLSearchParams
  /** `1.41` → 41. */
  readonly minorVersion: number
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal
  /** Undefined for an upgrade that asked for a stream. */
  readonly res: ServerResponse
  /** The taken-over connection, when the client asked for an upgrade. */
  readonly hijack: HijackTarget | undefined
}

export type Handler = (exchange: Exchange) => Promise<void>

const largestJsonBytes = 8 << 20

/** The JSON body; Docker insists on the content type where there is a body. */
export async function jsonBody({ req }: Exchange): Promise<unknown> {
  const type = req.headers['content-type']
  const hasBody = req.headers['content-length'] !== '0' && (req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined)
  if (hasBody && (type ?? '').split(';')[0]?.trim().toLowerCase() !== 'application/json') throw new Fault('invalidArgument', `Content-Type specified (${type ?? ''}) must be 'application/json'`)
  const bytes = await readBody(req, { maxBytes: largestJsonBytes })
  return bytes.length === 0 ? undefined : parseJson(withoutClosers(bytes), 'request body')
}

export function param({ params }: Exchange, name: string): string {
  return params[name] ?? ''
}
