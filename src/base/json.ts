/** JSON at the edges: read with a fault that names the source, written with exact integers. What comes back is `unknown`: the caller parses it. */
import { Fault } from './fault.ts'

/** Parses UTF-8 JSON; the fault (`invalidArgument`) names `what`. */
export function parseJson(bytes: Uint8Array | string, what: string): unknown {
  try {
    return JSON.parse(typeof bytes === 'string' ? bytes : strictUtf8.decode(bytes))
  } catch (error) {
    throw new Fault('invalidArgument', `the ${what} is not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true })

/** `JSON.stringify` that prints a bigint as the exact number it is. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? rawJson(inner.toString()) : inner))
}

/** `JSON.rawJSON` (ECMAScript 2025), which the compiler's library does not know yet. */
function rawJson(text: string): unknown {
  if (!('rawJSON' in JSON) || typeof JSON.rawJSON !== 'function') throw new TypeError('this Node lacks JSON.rawJSON')
  return JSON.rawJSON(text)
}

/** A JSON object, whose fields are still unknown. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
