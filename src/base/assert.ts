/** Assertions about our own logic. A failure is a bug in Berth, never the caller's fault (those are `Fault`s). */
import { inspect } from 'node:util'

export class AssertionFailure extends Error {
  override name = 'AssertionFailure'
}

/** Throws when an invariant of ours does not hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message)
}

/** The value, which our own logic says is there. */
export function present<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AssertionFailure(`expected ${what} to be present`)
  return value
}

/** Ends an exhaustive switch: the compiler proves that it is never reached. What was there instead is told in one line, whatever it holds. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${inspect(value, { depth: 1, maxArrayLength: 4, maxStringLength: 80, breakLength: Number.POSITIVE_INFINITY })}`)
}
