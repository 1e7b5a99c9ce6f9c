/**
 * What a build says, as BuildKit's clients read it: StatusResponse of its control API (`api/services/control/control.proto`). Clients of
 * `POST /build?version=2` get each in base64, as a line of `moby.buildkit.trace`.
 */
import type { Clock } from '#base/clock.ts'
import { ProtoWriter } from '#base/proto-wire.ts'
import type { BuildMessage, BuildWarning } from '../contract/builds.ts'

/** Field numbers of StatusResponse. */
const field = { vertexes: 1, statuses: 2, logs: 3, warnings: 4 } as const

/** Turns messages into encoded StatusResponses. */
export class BuildStatus {
  readonly #clock: Clock
  readonly #begun = new Map<string, { readonly name: string; readonly inputs: readonly string[]; readonly startedNs: bigint }>()
  /** When a part of a vertex was first heard of. */
  readonly #parts = new Map<string, bigint>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Undefined: the message is none for such clients. */
  encode(message: BuildMessage): Buffer | undefined {
    const nowNs = this.#clock.nowNs()
    switch (message.kind) {
      case 'stream':
      case 'status':
      case 'imageId':
      case 'failedRoot':
        return undefined
      case 'vertex': {
        const begun = message.state === 'begun' ? { name: message.name, inputs: message.inputs, startedNs: nowNs } : this.#begun.get(message.id)
        if (begun === undefined) return undefined
        this.#begun.set(message.id, begun)
        const ending = message.state === 'begun' ? [] : [number(4, message.cached ? 1 : 0), time(6, nowNs), text(7, message.error ?? '')]
        return nested(field.vertexes, [text(1, message.id), ...begun.inputs.map((input) => text(2, input)), text(3, begun.name), time(5, begun.startedNs), ...ending])
      }
      case 'output':
        return nested(field.logs, [text(1, message.vertex), time(2, nowNs), number(3, message.channel === 'stdout' ? 1 : 2), oneField((writer) => writer.bytes(4, message.data))])
      case 'progress': {
        const { vertex, part, currentBytes = 0, totalBytes = 0, isDone = totalBytes > 0 && currentBytes >= totalBytes } = message
        const key = `${vertex} ${part} ${message.status}`
        const startedNs = this.#parts.get(key) ?? nowNs
        this.#parts.set(key, startedNs)
        return nested(field.statuses, [text(1, part), text(2, vertex), text(3, message.status), number(4, currentBytes), number(5, totalBytes), time(6, nowNs), time(7, startedNs), ...(isDone ? [time(8, nowNs)] : [])])
      }
      case 'warning':
        return nested(field.warnings, [text(1, message.vertex), number(2, 1), ...warningFields(message.warning)])
    }
  }
}

export class BuildTrace {
  readonly #status: BuildStatus
  readonly #send: (line: object) => void

  constructor(clock: Clock, send: (line: object) => void) {
    this.#status = new BuildStatus(clock)
    this.#send = send
  }

  tell(message: BuildMessage): void {
    if (message.kind === 'imageId') return this.#send({ id: 'moby.image.id', aux: { ID: message.id } })
    if (message.kind === 'failedRoot') return this.#send({ id: 'berth.failed.root', aux: { ID: message.imageId } })
    const encoded = this.#status.encode(message)
    if (encoded !== undefined) this.#send({ id: 'moby.buildkit.trace', aux: encoded.toString('base64') })
  }
}

function warningFields({ rule, description, detail, url, at }: BuildWarning): Buffer[] {
  const short = rule === '' ? detail : `${rule}: ${detail}${at === undefined ? '' : ` (line ${at.firstLine})`}`
  const position = (at: number, line: number): Buffer => nested(at, [number(1, line)])
  return [
    text(3, short),
    text(4, description),
    text(5, url),
    ...(at === undefined ? [] : [nested(6, [text(1, at.file)]), nested(7, [position(1, at.firstLine), position(2, at.lastLine)])]),
  ]
}

function nested(at: number, parts: readonly Buffer[]): Buffer {
  return oneField((writer) => writer.bytes(at, Buffer.concat(parts)))
}

/** Fields without a value are left out, as proto3 does. */
function text(at: number, value: string): Buffer {
  return value === '' ? Buffer.alloc(0) : oneField((writer) => writer.string(at, value))
}

function number(at: number, value: number | bigint): Buffer {
  return value === 0 || value === 0n ? Buffer.alloc(0) : oneField((writer) => writer.varint(at, value))
}

function time(at: number, ns: bigint): Buffer {
  return nested(at, [number(1, ns / 1_000_000_000n), number(2, ns % 1_000_000_000n)])
}

function oneField(write: (writer: ProtoWriter) => void): Buffer {
  const writer = new ProtoWriter()
  write(writer)
  return writer.finish()
}
