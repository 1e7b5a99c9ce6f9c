/**
 * The one fault vocabulary of Berth. Every refusal is a `Fault` with a code from the table below; each HTTP room renders
 * it in its own dialect (Docker `{"message"}`, OCI `errors[]`, Kubernetes `Status`) without inventing codes of its own.
 *
 * A message says what was wrong, where, and what would be right. Stack traces go to logs only.
 */

/** What each code means on the wire: the HTTP status, and the reason a Kubernetes `Status` carries. */
export const faultTable = {
  invalidArgument: { http: 400, reason: 'BadRequest' },
  unauthenticated: { http: 401, reason: 'Unauthorized' },
  permissionDenied: { http: 403, reason: 'Forbidden' },
  notFound: { http: 404, reason: 'NotFound' },
  methodNotAllowed: { http: 405, reason: 'MethodNotAllowed' },
  notAcceptable: { http: 406, reason: 'NotAcceptable' },
  alreadyExists: { http: 409, reason: 'AlreadyExists' },
  conflict: { http: 409, reason: 'Conflict' },
  expired: { http: 410, reason: 'Expired' },
  preconditionFailed: { http: 412, reason: 'Conflict' },
  tooLarge: { http: 413, reason: 'RequestEntityTooLarge' },
  unsupportedMediaType: { http: 415, reason: 'UnsupportedMediaType' },
  rangeNotSatisfiable: { http: 416, reason: 'BadRequest' },
  unprocessable: { http: 422, reason: 'Invalid' },
  resourceExhausted: { http: 429, reason: 'TooManyRequests' },
  internal: { http: 500, reason: 'InternalError' },
  dataLoss: { http: 500, reason: 'InternalError' },
  unimplemented: { http: 501, reason: 'NotImplemented' },
  unavailable: { http: 503, reason: 'ServiceUnavailable' },
  timeout: { http: 504, reason: 'Timeout' },
  canceled: { http: 499, reason: 'Timeout' },
} as const

export type FaultCode = keyof typeof faultTable

/** One cause among several, e.g. one invalid field. `field` is a path such as `spec.containers[0].image`. */
export interface FaultCause {
  readonly reason: string
  readonly message: string
  readonly field?: string
}

export interface FaultOptions {
  readonly cause?: unknown
  readonly causes?: readonly FaultCause[]
  readonly retryAfterSeconds?: number
  /** Facts a dialect may need (Kubernetes `details.kind`, OCI `detail`, …). Plain data. */
  readonly details?: Readonly<Record<string, unknown>>
}

export class Fault extends Error {
  readonly code: FaultCode
  readonly causes: readonly FaultCause[]
  readonly retryAfterSeconds: number | undefined
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: FaultCode, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'Fault'
    this.code = code
    this.causes = options.causes ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
    this.details = options.details ?? {}
  }

  /** The HTTP status every dialect answers with. */
  get httpStatus(): number {
    return faultTable[this.code].http
  }
}

/** True when `error` is a Fault, and of the given code when one is given. */
export function isFault(error: unknown, code?: FaultCode): error is Fault {
  return error instanceof Fault && (code === undefined || error.code === code)
}

/** Wraps anything thrown as a Fault; what is not one already becomes `internal` and keeps its cause. */
export function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  if (error instanceof Error && error.name === 'AbortError') return new Fault('canceled', 'the operation was canceled', { cause: error })
  const system = systemErrorCode(error)
  if (error instanceof Error && (system === 'ENOSPC' || system === 'EDQUOT')) {
    return new Fault('resourceExhausted', `no space left on device: make room and try again (${error.message})`, { cause: error })
  }
  return new Fault('internal', error instanceof Error ? error.message : String(error), { cause: error })
}

/** Runs `task`; a Fault out of it says first what was being done: `CONTEXT: MESSAGE`. */
export function inContext<T>(context: string, task: () => T): T {
  try {
    return task()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    throw new Fault(error.code, `${context}: ${error.message}`, { cause: error, causes: error.causes, details: error.details })
  }
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
