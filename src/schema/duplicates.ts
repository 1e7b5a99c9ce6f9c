/** Duplicate keys in JSON text: `JSON.parse` keeps the last one silently, strict field validation must name them (RFC 8259, section 4). */

/** Paths of keys that occur more than once in their object. The text must be valid JSON. */
export function ambiguousKeys(text: string): readonly string[] {
  const found: string[] = []
  /** One frame per open bracket; `keys` is absent in arrays. */
  const frames: { readonly path: string; readonly keys?: Set<string>; key: string; index: number }[] = []
  let expectKey = false
  const pathHere = (): string => {
    const top = frames.at(-1)
    if (top === undefined) return ''
    if (top.keys === undefined) return `${top.path}[${top.index}]`
    return top.path === '' ? top.key : `${top.path}.${top.key}`
  }
  for (let at = 0; at < text.length; at++) {
    const mark = text[at]
    if (mark === '"') {
      const end = endOfString(text, at)
      const top = frames.at(-1)
      if (expectKey && top?.keys !== undefined) {
        const key: unknown = JSON.parse(text.slice(at, end + 1))
        top.key = String(key)
        if (top.keys.has(top.key)) found.push(pathHere())
        top.keys.add(top.key)
        expectKey = false
      }
      at = end
    } else if (mark === '{') {
      frames.push({ path: pathHere(), keys: new Set(), key: '', index: 0 })
      expectKey = true
    } else if (mark === '[') {
      frames.push({ path: pathHere(), key: '', index: 0 })
      expectKey = false
    } else if (mark === '}' || mark === ']') {
      frames.pop()
      expectKey = false
    } else if (mark === ',') {
      const top = frames.at(-1)
      expectKey = top?.keys !== undefined
      if (top !== undefined && top.keys === undefined) top.index++
    }
  }
  return found
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === '"') return at
  }
  return text.length
}
