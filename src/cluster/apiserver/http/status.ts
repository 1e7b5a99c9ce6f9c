/** Faults in Kubernetes' dialect: the `Status` object (API conventions, "Response Status Kind"). */
import { faultTable, type Fault } from '#base/fault.ts'
import type { Exchange } from './exchange.ts'
import { sendJson } from './exchange.ts'

export interface StatusObject {
  readonly kind: 'Status'
  readonly apiVersion: 'v1'
  readonly metadata: Readonly<Record<string, never>>
  readonly status: 'Success' | 'Failure'
  readonly message?: string
  readonly reason?: string
  readonly details?: Readonly<Record<string, unknown>>
  readonly code: number
}

/** Codes that HTTP clients must not see: a client that went away reads nothing anyhow. */
function codeOf(fault: Fault): number {
  return fault.code === 'canceled' ? 504 : fault.httpStatus
}

export function failure(fault: Fault): StatusObject {
  const { name, group, kind, uid } = fault.details
  const details = {
    ...(typeof name === 'string' && name !== '' ? { name } : {}),
    ...(typeof group === 'string' && group !== '' ? { group } : {}),
    ...(typeof kind === 'string' ? { kind } : {}),
    ...(typeof uid === 'string' ? { uid } : {}),
    ...(fault.causes.length > 0 ? { causes: fault.causes } : {}),
    ...(fault.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: fault.retryAfterSeconds }),
  }
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: fault.code === 'internal' ? `Internal error occurred: ${fault.message}` : fault.message,
    reason: faultTable[fault.code].reason,
    ...(Object.keys(details).length > 0 ? { details } : {}),
    code: codeOf(fault),
  }
}

export function success(details: { readonly name: string; readonly group: string; readonly kind: string; readonly uid: string } | undefined, code = 200): StatusObject {
  const shown = details === undefined ? undefined : { name: details.name, ...(details.group === '' ? {} : { group: details.group }), kind: details.kind, uid: details.uid }
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', ...(shown === undefined ? {} : { details: shown }), code }
}

export function sendFault(exchange: Exchange, fault: Fault): void {
  if (exchange.response.headersSent) {
    // Half an answer is out: cutting it off is the only way left to say that it is not whole.
    exchange.response.destroy()
    return
  }
  if (fault.retryAfterSeconds !== undefined) exchange.response.setHeader('retry-after', String(fault.retryAfterSeconds))
  if (fault.code === 'unauthenticated') exchange.response.setHeader('www-authenticate', 'Bearer realm="berth"')
  // What is left of a refused body would be taken for the next request.
  if (fault.code === 'tooLarge' && exchange.request.httpVersionMajor === 1) exchange.response.setHeader('connection', 'close')
  sendJson(exchange, codeOf(fault), failure(fault))
}
