/**
 * Quantities (`100m`, `1.5Gi`, `2e3`, `0.1`), exact. Kubernetes reference, "Quantity".
 *
 * A parsed quantity counts nano-units in a bigint: upstream rounds anything finer up to the next nano. The canonical form
 * keeps the suffix family that was written (decimal, binary or exponent), has no fraction digits, and the largest suffix
 * that allows that.
 */
import { Fault } from '#base/fault.ts'
import type { Json } from './json.ts'

export type QuantityFormat = 'decimal' | 'binary' | 'exponent'

export interface Quantity {
  /** Value in units of 10^-9. */
  readonly nanos: bigint
  readonly format: QuantityFormat
}

const nano = 1_000_000_000n
const decimalSuffixes: readonly (readonly [string, number])[] = [['n', -9], ['u', -6], ['m', -3], ['', 0], ['k', 3], ['M', 6], ['G', 9], ['T', 12], ['P', 15], ['E', 18]]
const binarySuffixes: readonly (readonly [string, number])[] = [['', 0], ['Ki', 10], ['Mi', 20], ['Gi', 30], ['Ti', 40], ['Pi', 50], ['Ei', 60]]
const decimalPower = new Map(decimalSuffixes)
const binaryPower = new Map(binarySuffixes)
const pattern = /^([+-]?)(\d+)?(?:\.(\d*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?$/
const longest = 64

/** Undefined when the text is no quantity. */
export function parseQuantity(text: string): Quantity | undefined {
  if (text.length === 0 || text.length > longest) return undefined
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, sign = '', whole = '', fraction = '', suffix = '', exponent] = match
  if (whole === '' && fraction === '') return undefined
  const digits = BigInt(`${whole}${fraction}` === '' ? '0' : `${whole}${fraction}`)
  const binary = suffix !== '' && binaryPower.has(suffix)
  const format: QuantityFormat = exponent !== undefined ? 'exponent' : binary ? 'binary' : 'decimal'
  const power = 9 - fraction.length + (exponent !== undefined ? Number(exponent) : binary ? 0 : (decimalPower.get(suffix) ?? 0))
  const scaled = binary ? digits << BigInt(binaryPower.get(suffix) ?? 0) : digits
  const nanos = power >= 0 ? scaled * 10n ** BigInt(power) : divideUp(scaled, 10n ** BigInt(-power))
  return { nanos: sign === '-' ? -nanos : nanos, format }
}

/** Like `parseQuantity`, for values that validation has already let through. */
export function quantityOf(value: string | number): Quantity {
  const parsed = parseQuantity(String(value))
  if (parsed === undefined) throw new Fault('invalidArgument', `'${value}' is not a quantity: write a number with a suffix such as 100m, 2, 512Mi or 1G`)
  return parsed
}

/** Rounds away from zero, as upstream does with what is finer than a nano. */
function divideUp(value: bigint, divisor: bigint): bigint {
  return (value + divisor - 1n) / divisor
}

/** The canonical text: largest suffix without a fraction, in the family that was written. */
export function formatQuantity({ nanos, format }: Quantity): string {
  if (nanos === 0n) return '0'
  const sign = nanos < 0n ? '-' : ''
  const size = nanos < 0n ? -nanos : nanos
  // A binary quantity below 1024, or with a fraction, is written in decimal.
  if (format === 'binary' && size >= 1024n * nano && size % nano === 0n) {
    const units = size / nano
    const [suffix, shift] = binarySuffixes.findLast(([, bits]) => units % (1n << BigInt(bits)) === 0n) ?? ['', 0]
    return `${sign}${units >> BigInt(shift)}${suffix}`
  }
  const [suffix, power] = decimalSuffixes.findLast(([, tens]) => size % 10n ** BigInt(tens + 9) === 0n) ?? ['n', -9]
  const digits = size / 10n ** BigInt(power + 9)
  if (format === 'exponent') return power === 0 ? `${sign}${digits}` : `${sign}${digits}e${power}`
  return `${sign}${digits}${suffix}`
}

/** The canonical text of a JSON value, or undefined when it is no quantity. */
export function canonicalQuantity(value: Json): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  const parsed = parseQuantity(String(value))
  return parsed === undefined ? undefined : formatQuantity(parsed)
}


/** Negative, zero or positive, for sorting. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0
}

/** Whole units, rounded up: bytes of memory, counts. */
export function wholeUnits(value: string | number): bigint {
  return ceilDivide(quantityOf(value).nanos, nano)
}
/** Thousandths, rounded up: millicores of `cpu`. */
export function milliUnits(value: string | number): number {
  return Number(ceilDivide(quantityOf(value).nanos, 1_000_000n))
}

function ceilDivide(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor
  return value > 0n && value % divisor !== 0n ? quotient + 1n : quotient
}
