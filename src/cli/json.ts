/** Reads fields of a server's answer: parsed once at the edge, then typed. A missing field reads as the empty value. */

export type Json = Readonly<Record<string, unknown>>

export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {}
}

export function objectAt(value: unknown, key: string): Json {
  return objectOf(objectOf(value)[key])
}

export function listAt(value: unknown, key: string): readonly unknown[] {
  return listOf(objectOf(value)[key])
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function textAt(value: unknown, key: string): string {
  const found = objectOf(value)[key]
  return typeof found === 'string' ? found : ''
}

export function numberAt(value: unknown, key: string): number {
  const found = objectOf(value)[key]
  return typeof found === 'number' ? found : 0
}

/** The JSON of `body`, or the text itself where a server answered something else. */
export function parseJson(body: string): unknown {
  try {
    const parsed: unknown = JSON.parse(body)
    return parsed
  } catch (error) {
    if (error instanceof SyntaxError) return body
    throw error
  }
}
