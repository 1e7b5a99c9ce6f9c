/**
 * The keys that make an attached client leave (`docker attach --detach-keys`): while they may still become the sequence, they are
 * held back; only when the sequence turns out to be another one does the process get them.
 */

export interface Typed {
  /** For the process. */
  readonly bytes: Buffer
  /** The sequence is complete: the client leaves, what it typed afterwards is for nobody. */
  readonly detached: boolean
}

export function detachFilter(keys: Buffer): (typed: Buffer) => Typed {
  let held = 0
  return (typed) => {
    const bytes: number[] = []
    for (const byte of typed) {
      while (held > 0 && byte !== keys[held]) {
        // Of `aab` after `aa`, an `a` more leaves `aa` held: give up the oldest until the rest is a beginning again.
        const rest = longestBeginning(keys, held)
        bytes.push(...keys.subarray(0, held - rest))
        held = rest
      }
      if (byte === keys[held]) held += 1
      else bytes.push(byte)
      if (held === keys.length) return { bytes: Buffer.from(bytes), detached: true }
    }
    return { bytes: Buffer.from(bytes), detached: false }
  }
}

/** Length of the longest proper end of the first `count` keys that is also a beginning of them. */
function longestBeginning(keys: Buffer, count: number): number {
  for (let length = count - 1; length > 0; length -= 1) if (keys.subarray(0, length).equals(keys.subarray(count - length, count))) return length
  return 0
}

/** `ctrl-p,ctrl-q` → bytes 16, 17, which are also what holds where nothing is said. Undefined for what cannot be read. */
export function parseDetachKeys(text: string | null): Buffer | undefined {
  const bytes: number[] = []
  for (const key of (text || 'ctrl-p,ctrl-q').split(',')) {
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1]
    if (control !== undefined) bytes.push(control.toUpperCase().charCodeAt(0) & 0x1f)
    else if (key.length === 1) bytes.push(key.charCodeAt(0))
    else return undefined
  }
  return Buffer.from(bytes)
}
