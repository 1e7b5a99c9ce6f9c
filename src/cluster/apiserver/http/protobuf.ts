/** Kubernetes' protobuf for the kinds that are served. */
import { Fault } from '#base/fault.ts'
import type { AnyKind } from '#schema/kind.ts'
import type { ProtobufCodec } from './answers.ts'

export function protobufCodec(_kinds: readonly AnyKind[]): ProtobufCodec {
  const refuse = (): never => {
    throw new Fault('unsupportedMediaType', 'protobuf is not served yet: use application/json')
  }
  return { read: refuse, object: refuse, list: refuse }
}
