/** Faults in the registry's dialect (distribution-spec "Error Codes"): `{"errors":[{code, message, detail}]}`. */
import type { Fault, FaultCode } from '#base/fault.ts'

const codes: Readonly<Partial<Record<FaultCode, string>>> = {
  unauthenticated: 'UNAUTHORIZED',
  permissionDenied: 'DENIED',
  notFound: 'NAME_UNKNOWN',
  methodNotAllowed: 'UNSUPPORTED',
  tooLarge: 'SIZE_INVALID',
  rangeNotSatisfiable: 'BLOB_UPLOAD_INVALID',
  conflict: 'BLOB_UPLOAD_INVALID',
  resourceExhausted: 'TOOMANYREQUESTS',
  unimplemented: 'UNSUPPORTED',
}

export function errorBody(fault: Fault): object {
  const reason = fault.details['reason']
  const code = typeof reason === 'string' ? reason : (codes[fault.code] ?? 'UNKNOWN')
  const detail = fault.details['detail']
  return { errors: [{ code, message: fault.code === 'internal' ? 'internal error: see the log' : fault.message, ...(detail === undefined ? {} : { detail }) }] }
}
