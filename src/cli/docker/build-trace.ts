/** What a build tells while it runs, read from the trace of `POST /build?version=2` (BuildKit's `api/services/control/control.proto`, StatusResponse). */
import { protoFields, ProtoMessage } from '#base/proto-wire.ts'

export type TraceEvent =
  | { readonly kind: 'vertex'; readonly id: string; readonly name: string; readonly cached: boolean; readonly startedMs: number | undefined; readonly completedMs: number | undefined; readonly error: string }
  | { readonly kind: 'status'; readonly vertex: string; readonly part: string; readonly current: number; readonly total: number; readonly isDone: boolean }
  | { readonly kind: 'log'; readonly vertex: string; readonly data: Buffer; readonly atMs: number }
  | { readonly kind: 'warning'; readonly short: string }

/** Field numbers of StatusResponse. */
const [vertexes, statuses, logs, warnings] = [1, 2, 3, 4]

export function traceEvents(response: Buffer): TraceEvent[] {
  return [...protoFields(response)].flatMap(({ number, bytes }): TraceEvent[] => {
    const message = new ProtoMessage(bytes)
    switch (number) {
      case vertexes:
        return [{ kind: 'vertex', id: message.string(1), name: message.string(3), cached: message.boolean(4), startedMs: timeOf(message, 5), completedMs: timeOf(message, 6), error: message.string(7) }]
      case statuses:
        return [{ kind: 'status', part: message.string(1), vertex: message.string(2), current: Number(message.integer(4)), total: Number(message.integer(5)), isDone: timeOf(message, 8) !== undefined }]
      case logs:
        return [{ kind: 'log', vertex: message.string(1), atMs: timeOf(message, 2) ?? 0, data: message.bytes(4) }]
      case warnings:
        return [{ kind: 'warning', short: message.string(3) }]
      default:
        return []
    }
  })
}

/** A Timestamp, in milliseconds since 1970. */
function timeOf(message: ProtoMessage, number: number): number | undefined {
  if (!message.has(number)) return undefined
  const timestamp = message.message(number)
  return Number(timestamp.integer(1)) * 1000 + Number(timestamp.integer(2)) / 1e6
}
