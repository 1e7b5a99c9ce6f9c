/**
 * How a failed build is told: BuildKit's words, and as a detail the place in the Dockerfile, which clients print with its lines
 * (moby/buildkit `solver/errdefs/source.go`, `util/grpcerrors`: details are JSON in an Any).
 */
import { asFault, Fault, isFault } from '#base/fault.ts'
import { faultStatus, type GrpcStatus } from '#base/grpc-server.ts'
import { ProtoWriter, type ProtoMessage } from '#base/proto-wire.ts'
import { wordsOf } from '../build/dockerfile/fault.ts'

/** A failure that a client has returned of its own, to be told by its Solve as it is. */
export class ReturnedFailure extends Error {
  readonly status: GrpcStatus

  constructor(status: GrpcStatus) {
    super(status.message)
    this.name = 'ReturnedFailure'
    this.status = status
  }
}

/** `google.rpc.Status`. */
export function decodeStatus(message: ProtoMessage): GrpcStatus {
  return { code: Number(message.integer(1)), message: message.string(2), details: message.blobs(3) }
}

/** The Dockerfile that a build's faults speak of. */
export interface FailureSource {
  readonly file: string
  readonly text: string
}

const statusUnknown = 2

/** Codes that say more to a client than that something failed; for the others BuildKit, too, answers `Unknown`, which clients do not print. */
const toldCodes: readonly string[] = ['canceled', 'unimplemented', 'unavailable', 'unauthenticated', 'permissionDenied']

export function statusOfFailure(error: unknown): GrpcStatus {
  if (error instanceof ReturnedFailure) return error.status
  if (error instanceof LocatedFailure) return { ...statusOf(error.fault, error.message), details: [sourceDetail(error.source, error.lines)] }
  return statusOf(asFault(error), wordsOf(error))
}

function statusOf(fault: Fault, message: string): GrpcStatus {
  return { code: toldCodes.includes(fault.code) ? faultStatus(fault).code : statusUnknown, message }
}

class LocatedFailure extends Error {
  readonly fault: Fault
  readonly source: FailureSource
  readonly lines: Lines

  constructor(fault: Fault, at: { readonly source: FailureSource; readonly lines: Lines }) {
    super(wordsOf(fault), { cause: fault })
    this.fault = fault
    this.source = at.source
    this.lines = at.lines
  }
}

interface Lines {
  readonly first: number
  readonly last: number
}

/** The failure with its place, where the fault names one. */
export function located(error: unknown, source: FailureSource): unknown {
  if (!isFault(error)) return error
  const { line, lastLine } = error.details
  if (typeof line !== 'number') return error
  return new LocatedFailure(error, { source, lines: { first: line, last: typeof lastLine === 'number' ? lastLine : line } })
}

/** `errdefs.Source`, in an Any. */
function sourceDetail({ file, text }: FailureSource, { first, last }: Lines): Buffer {
  const range = { start: { line: first }, end: { line: last } }
  const value = { info: { filename: file, data: Buffer.from(text).toString('base64'), language: 'Dockerfile' }, ranges: [range] }
  const any = new ProtoWriter()
  any.string(1, 'github.com/moby/buildkit/errdefs.Source+json')
  any.bytes(2, Buffer.from(JSON.stringify(value)))
  return any.finish()
}
