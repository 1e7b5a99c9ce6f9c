/**
 * Builds that clients can look back at (`docker buildx history`): the latest of them, in memory. What they said is not kept; BuildKit's
 * attestations and traces are not made here.
 */
import { ProtoWriter } from '#base/proto-wire.ts'
import type { Clock } from '#base/clock.ts'
import { encodeStatus, type GrpcStatus } from '#base/grpc-server.ts'
import type { BuildMessage } from '../contract/builds.ts'
import { writeEntry, writeTime } from './records.ts'
import type { SolveRequest } from './solve-request.ts'

const maxRecords = 50
/** Of one build's attributes; those of a build that says more are left out. */
const maxAttributeBytes = 64 << 10

/** `BuildHistoryEventType`. */
const eventTypes = { started: 0, complete: 1, deleted: 2 } as const

export class BuildRecord {
  readonly ref: string
  readonly #request: Pick<SolveRequest, 'exporters'>
  readonly #createdNs: bigint
  #attributes: ReadonlyMap<string, string>
  #completedNs: bigint | undefined
  #failure: GrpcStatus | undefined
  #facts: ReadonlyMap<string, string> = new Map()
  #begun = 0
  #ended = 0
  #cached = 0
  #warnings = 0

  constructor({ ref, exporters, attributes }: SolveRequest, nowNs: bigint) {
    this.ref = ref
    this.#request = { exporters }
    this.#createdNs = nowNs
    this.#attributes = bounded(attributes)
  }

  get isActive(): boolean {
    return this.#completedNs === undefined
  }

  /** Of a frontend that the client runs itself. */
  set attributes(attributes: ReadonlyMap<string, string>) {
    this.#attributes = bounded(attributes)
  }

  count(message: BuildMessage): void {
    if (message.kind === 'warning') this.#warnings += 1
    if (message.kind !== 'vertex') return
    if (message.state === 'begun') this.#begun += 1
    else {
      this.#ended += 1
      if (message.cached) this.#cached += 1
    }
  }

  complete(nowNs: bigint, outcome: { readonly facts: ReadonlyMap<string, string> } | { readonly failure: GrpcStatus }): void {
    this.#completedNs = nowNs
    if ('facts' in outcome) this.#facts = outcome.facts
    else this.#failure = { code: outcome.failure.code, message: outcome.failure.message }
  }

  /** `BuildHistoryRecord`. */
  encode(): Buffer {
    const record = new ProtoWriter()
    record.string(1, this.ref)
    record.string(2, 'dockerfile.v0')
    for (const entry of this.#attributes) writeEntry(record, 3, entry)
    for (const { type, attributes } of this.#request.exporters) {
      record.message(4, (exporter) => {
        exporter.string(1, type)
        for (const entry of attributes) writeEntry(exporter, 2, entry)
      })
    }
    if (this.#failure !== undefined) record.bytes(5, encodeStatus(this.#failure))
    writeTime(record, 6, this.#createdNs)
    if (this.#completedNs !== undefined) writeTime(record, 7, this.#completedNs)
    for (const fact of this.#facts) writeEntry(record, 9, fact)
    for (const [field, count] of [[15, this.#cached], [16, this.#begun], [17, this.#ended], [19, this.#warnings]] as const) if (count > 0) record.varint(field, count)
    return record.finish()
  }
}

function bounded(attributes: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const bytes = [...attributes].reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  return bytes <= maxAttributeBytes ? attributes : new Map()
}

export interface HistoryQuery {
  readonly activeOnly: boolean
  /** Empty: all. */
  readonly ref: string
  /** What there is, and no more. */
  readonly earlyExit: boolean
}

export class BuildHistory {
  readonly #clock: Clock
  readonly #records = new Map<string, BuildRecord>()
  readonly #listeners = new Set<(event: Buffer, record: BuildRecord) => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  begin(request: SolveRequest): BuildRecord {
    const record = new BuildRecord(request, this.#clock.nowNs())
    this.#records.delete(record.ref)
    this.#records.set(record.ref, record)
    for (const old of this.#records.values()) {
      if (this.#records.size <= maxRecords) break
      if (!old.isActive) this.#records.delete(old.ref)
    }
    this.#tell('started', record)
    return record
  }

  end(record: BuildRecord, outcome: Parameters<BuildRecord['complete']>[1]): void {
    record.complete(this.#clock.nowNs(), outcome)
    this.#tell('complete', record)
  }

  delete(ref: string): void {
    const record = this.#records.get(ref)
    if (record === undefined || record.isActive) return
    this.#records.delete(ref)
    this.#tell('deleted', record)
  }

  /** Events, encoded; what there is first. Without an early exit until the signal. */
  async *listen({ activeOnly, ref, earlyExit }: HistoryQuery, signal: AbortSignal): AsyncGenerator<Buffer> {
    const isMeant = (record: BuildRecord): boolean => ref === '' || record.ref === ref
    for (const record of [...this.#records.values()].filter(isMeant)) if (record.isActive || !activeOnly) yield encodeEvent(record.isActive ? 'started' : 'complete', record)
    if (earlyExit) return
    const waiting: Buffer[] = []
    let news = Promise.withResolvers<void>()
    const hear = (event: Buffer, record: BuildRecord): void => {
      if (!isMeant(record) || waiting.length >= maxRecords) return
      waiting.push(event)
      news.resolve()
    }
    this.#listeners.add(hear)
    signal.addEventListener('abort', () => news.resolve(), { once: true })
    try {
      while (!signal.aborted) {
        for (const event of waiting.splice(0)) yield event
        await news.promise
        news = Promise.withResolvers()
      }
    } finally {
      this.#listeners.delete(hear)
    }
  }

  #tell(type: keyof typeof eventTypes, record: BuildRecord): void {
    if (this.#listeners.size === 0) return
    const event = encodeEvent(type, record)
    for (const hear of this.#listeners) hear(event, record)
  }
}

function encodeEvent(type: keyof typeof eventTypes, record: BuildRecord): Buffer {
  const event = new ProtoWriter()
  if (eventTypes[type] !== 0) event.varint(1, eventTypes[type])
  event.bytes(2, record.encode())
  return event.finish()
}
