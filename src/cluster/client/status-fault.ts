/** Turns a Kubernetes `Status` that refuses (or, without one, an HTTP status) into the Fault it stands for. */
import type { FaultCause, FaultCode } from '#base/fault.ts'
import { isRecord } from '#base/json.ts'
import { Fault, faultTable } from '#base/fault.ts'

/** Reasons that are no row of the fault table, or stand in several. */
const reasonCodes: Readonly<Record<string, FaultCode>> = {
  BadRequest: 'invalidArgument',
  Conflict: 'conflict',
  InternalError: 'internal',
  Gone: 'expired',
  Timeout: 'timeout',
  ServerTimeout: 'unavailable',
}

function codeOfReason(reason: string): FaultCode | undefined {
  const special = reasonCodes[reason]
  if (special !== undefined) return special
  for (const code of Object.keys(faultTable) as FaultCode[]) if (faultTable[code].reason === reason) return code
  return undefined
}

function codeOfHttp(status: number): FaultCode {
  if (status === 400) return 'invalidArgument'
  if (status === 409) return 'conflict'
  for (const code of Object.keys(faultTable) as FaultCode[]) if (faultTable[code].http === status) return code
  return status >= 500 ? 'unavailable' : 'internal'
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

function causesOf(details: Readonly<Record<string, unknown>>): FaultCause[] {
  const causes = Array.isArray(details['causes']) ? details['causes'].filter(isRecord) : []
  return causes.map((cause) => ({
    reason: text(cause['reason']) ?? 'Unknown',
    message: text(cause['message']) ?? '',
    ...(text(cause['field']) === undefined ? {} : { field: text(cause['field']) }),
  }))
}

/**
 * `body` is what the server answered, parsed as JSON or as it came; `httpStatus` 0 when there was none (an ERROR event
 * of a watch); `what` says what was asked, for answers that are no Status.
 */
export function faultOfStatus(body: unknown, httpStatus: number, what: string): Fault {
  const status = isRecord(body) && body['kind'] === 'Status' ? body : {}
  const details = isRecord(status['details']) ? status['details'] : {}
  const code = codeOfReason(text(status['reason']) ?? '') ?? codeOfHttp(typeof status['code'] === 'number' ? status['code'] : httpStatus)
  const message = text(status['message']) ?? `${what}: the server answered ${httpStatus}${typeof body === 'string' && body !== '' ? `: ${body.slice(0, 200).trim()}` : ''}`
  const retryAfter = details['retryAfterSeconds']
  return new Fault(code, message, { causes: causesOf(details), details, ...(typeof retryAfter === 'number' ? { retryAfterSeconds: retryAfter } : {}) })
}
