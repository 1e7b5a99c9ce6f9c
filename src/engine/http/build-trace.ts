/**
 * What a build says, as clients of `POST /build?version=2` read it: lines of `moby.buildkit.trace`, each a StatusResponse of BuildKit's
 * control API (`api/services/control/control.proto`) in base64. A step is a vertex; its command's output is the vertex's log.
 */
import { createHash } from 'node:crypto'
import type { Clock } from '#base/clock.ts'
import { ProtoWriter } from '#base/proto-wire.ts'
import type { BuildMessage } from '../contract/builds.ts'

interface Vertex {
  readonly digest: string
  readonly name: string
  readonly startedNs: bigint
  cached: boolean
}

export class BuildTrace {
  readonly #clock: Clock
  readonly #send: (line: object) => void
  /** Makes the vertices of one build differ from another's. */
  readonly #beganNs: bigint
  #current: Vertex | undefined

  constructor(clock: Clock, send: (line: object) => void) {
    this.#clock = clock
    this.#send = send
    this.#beganNs = clock.nowNs()
  }

  tell(message: BuildMessage): void {
    switch (message.kind) {
      case 'stream':
        if (message.step !== undefined) this.#begin(`[${message.step.number}/${message.step.total}] ${message.step.instruction}`)
        else if (message.note === undefined) this.#log(message.text)
        else if (message.note === 'cached' && this.#current !== undefined) this.#current.cached = true
        break
      case 'status': {
        const { digest, startedNs } = this.#current ?? this.#begin('[internal] load metadata')
        this.#trace(2, [text(1, message.id ?? message.status), text(2, digest), text(3, message.status), number(4, message.currentBytes ?? 0), number(5, message.totalBytes ?? 0), time(6, this.#clock.nowNs()), time(7, startedNs)])
        break
      }
      case 'imageId':
        this.end()
        this.#send({ id: 'moby.image.id', aux: { ID: message.id } })
        break
    }
  }

  /** Completes the step under way; with the reason, when it failed. */
  end(error = ''): void {
    const vertex = this.#current
    this.#current = undefined
    if (vertex !== undefined) this.#vertex(vertex, [time(6, this.#clock.nowNs()), text(7, error)])
  }

  #begin(name: string): Vertex {
    this.end()
    const startedNs = this.#clock.nowNs()
    const digest = `sha256:${createHash('sha256').update(`${this.#beganNs} ${name}`).digest('hex')}`
    this.#current = { digest, name, startedNs, cached: false }
    this.#vertex(this.#current, [])
    return this.#current
  }

  #vertex({ digest, name, cached, startedNs }: Vertex, more: readonly Buffer[]): void {
    this.#trace(1, [text(1, digest), text(3, name), number(4, cached ? 1 : 0), time(5, startedNs), ...more])
  }

  #log(words: string): void {
    const { digest } = this.#current ?? this.#begin('[internal] load build definition')
    this.#trace(3, [text(1, digest), time(2, this.#clock.nowNs()), number(3, 1), text(4, words)])
  }

  /** One message in the given field of a StatusResponse. */
  #trace(field: number, parts: readonly Buffer[]): void {
    this.#send({ id: 'moby.buildkit.trace', aux: oneField((writer) => writer.bytes(field, Buffer.concat(parts))).toString('base64') })
  }
}

/** Fields without a value are left out, as proto3 does. */
function text(field: number, value: string): Buffer {
  return value === '' ? Buffer.alloc(0) : oneField((writer) => writer.string(field, value))
}

function number(field: number, value: number | bigint): Buffer {
  return value === 0 || value === 0n ? Buffer.alloc(0) : oneField((writer) => writer.varint(field, value))
}

function time(field: number, ns: bigint): Buffer {
  return oneField((writer) => writer.bytes(field, Buffer.concat([number(1, ns / 1_000_000_000n), number(2, ns % 1_000_000_000n)])))
}

function oneField(write: (writer: ProtoWriter) => void): Buffer {
  const writer = new ProtoWriter()
  write(writer)
  return writer.finish()
}
