/** What a client asks of `Control.Solve` (moby/buildkit `api/services/control/control.proto`), read once. */
import type { ProtoMessage } from '#base/proto-wire.ts'
import type { Attributes } from '../exports/options.ts'

/** A type and what is said about it: an exporter, a cache's source or its destination. */
export interface TypedOptions {
  readonly type: string
  readonly attributes: Attributes
}

export interface SolveRequest {
  /** The build's id, by which the client asks for its status and speaks as its frontend. */
  readonly ref: string
  readonly sessionId: string
  /** Empty: the client is the frontend (`LLBBridge`). */
  readonly frontend: string
  readonly attributes: Attributes
  readonly inputs: ReadonlyMap<string, ProtoMessage>
  readonly hasDefinition: boolean
  readonly exporters: readonly TypedOptions[]
  readonly cacheExports: readonly TypedOptions[]
  readonly entitlements: readonly string[]
}

export function readSolveRequest(message: ProtoMessage): SolveRequest {
  const exporters = message.messages(13).map(typedOptions)
  const single = message.string(3)
  return {
    ref: message.string(1),
    sessionId: message.string(5),
    frontend: message.string(6),
    attributes: message.stringMap(7),
    inputs: message.messageMap(10),
    hasDefinition: message.message(2).has(1),
    exporters: exporters.length > 0 || single === '' ? exporters : [{ type: single, attributes: message.stringMap(4) }],
    cacheExports: message.message(8).messages(4).map(typedOptions),
    entitlements: message.strings(9),
  }
}

function typedOptions(message: ProtoMessage): TypedOptions {
  return { type: message.string(1), attributes: message.stringMap(2) }
}
