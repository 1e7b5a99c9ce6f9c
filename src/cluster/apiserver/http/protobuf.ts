/** Kubernetes' protobuf (`#schema/protobuf.ts`) for everything that this server takes and answers. */
import { Fault } from '#base/fault.ts'
import type { JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { decodeEnvelope, decodeMessage, decodeObjectMessage, encodeEnvelope, encodeList, encodeMessage, encodeObject, encodeWatchFrame } from '#schema/protobuf.ts'
import { Scale } from '../../api/autoscaling/v1/scale.ts'
import { listMeta } from '../../api/meta/v1/list-meta.ts'
import { deleteOptions } from '../../api/meta/v1/options.ts'
import { status } from '../../api/meta/v1/status.ts'
import type { Entry } from '../entry.ts'

export interface ProtobufCodec {
  /** A body with its envelope, as the JSON value that it stands for. Throws `invalidArgument` for kinds that nobody knows. */
  readonly read: (bytes: Buffer) => JsonObject
  object(kind: AnyKind, object: JsonObject | Entry): Buffer
  list(kind: AnyKind, list: { readonly metadata: JsonObject; readonly entries: readonly Entry[] }): Buffer
  watchFrame(type: string, kind: AnyKind, object: JsonObject | Entry): Buffer
  /** The ERROR event of a watch. */
  statusFrame(status: object): Buffer
}

/** `kinds`: all that may come as a body, also those that are never stored. */
export function protobufCodec(kinds: readonly AnyKind[]): ProtobufCodec {
  const byName = new Map<string, AnyKind>()
  for (const kind of [...kinds, Scale]) byName.set(`${kind.apiVersion}/${kind.kind}`, kind)
  const encoded = (kind: AnyKind, object: JsonObject | Entry): Buffer => (isEntry(object) ? object.encoded('protobuf', (known) => encodeObject(kind, known)) : encodeObject(kind, object))
  return {
    read(bytes) {
      const { apiVersion, kind, raw } = decodeEnvelope(bytes)
      if (kind === 'DeleteOptions') return decodeMessage(deleteOptions, raw)
      const known = byName.get(`${apiVersion}/${kind}`)
      if (known === undefined) throw new Fault('invalidArgument', `no kind "${kind}" is registered for version "${apiVersion}"`)
      return decodeObjectMessage(known, raw)
    },
    object: encoded,
    list(kind, { metadata, entries }) {
      const items = entries.map((entry) => entry.encoded('protobuf item', (object) => encodeMessage(kind.schema, object)))
      return encodeList(kind, listMeta, metadata, items)
    },
    watchFrame: (type, kind, object) => encodeWatchFrame(type, encoded(kind, object)),
    statusFrame: (object) => encodeWatchFrame('ERROR', encodeEnvelope({ apiVersion: 'v1', kind: 'Status', raw: encodeMessage(status, object) })),
  }
}

function isEntry(object: JsonObject | Entry): object is Entry {
  return 'encoded' in object && typeof object.encoded === 'function'
}
