/** Faults across threads: an Error loses its class and fields in a structured clone, so it travels as plain data. */
import { asFault, Fault, type FaultCode } from '#base/fault.ts'

export interface FaultMessage {
  readonly code: FaultCode
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
  /** Of the other thread; for logs. */
  readonly stack: string | undefined
}

export function toFaultMessage(error: unknown): FaultMessage {
  const { code, message, details, stack, cause } = asFault(error)
  return { code, message, details, stack: cause instanceof Error ? cause.stack : stack }
}

export function fromFaultMessage(fault: FaultMessage): Fault {
  return new Fault(fault.code, fault.message, { details: fault.details, cause: fault.stack })
}
