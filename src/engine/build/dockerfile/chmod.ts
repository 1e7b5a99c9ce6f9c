/** `--chmod`: an octal mode, or a symbolic one as chmod(1) has it: `u=rwX,go=rX`, `a+x`, `go-w`, `g=u`. */

export type ModeChange = (mode: number, isFolder: boolean) => number

const clausePattern = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/
const bitsOf: Readonly<Record<string, number>> = { r: 0o444, w: 0o222, x: 0o111 }
const maskOf: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 }

/** Undefined: the text is no mode. */
export function parseMode(text: string): ModeChange | undefined {
  if (/^[0-7]{1,5}$/.test(text)) {
    const mode = Number.parseInt(text, 8)
    return mode > 0o7777 ? undefined : () => mode
  }
  const changes = text.split(',').map(clauseOf)
  if (changes.some((change) => change === undefined)) return undefined
  return (mode, isFolder) => changes.reduce((current, change) => change?.(current, isFolder) ?? current, mode)
}

function clauseOf(clause: string): ModeChange | undefined {
  const match = clausePattern.exec(clause)
  if (match === null) return undefined
  const [, who = '', actions = ''] = match
  const mask = (who === '' ? 'a' : who).split('').reduce((bits, each) => bits | (maskOf[each] ?? 0), 0)
  const steps = [...actions.matchAll(/([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)/g)]
  return (mode, isFolder) => steps.reduce((current, [, operator = '', rights = '']) => applied(current, { operator, rights, mask, isFolder }), mode)
}

interface Step {
  readonly operator: string
  readonly rights: string
  readonly mask: number
  readonly isFolder: boolean
}

function applied(mode: number, { operator, rights, mask, isFolder }: Step): number {
  const bits = bitsFor(rights, mode, isFolder) & mask
  if (operator === '+') return mode | bits
  if (operator === '-') return mode & ~bits
  return (mode & ~(mask & 0o777) & ~(mask & 0o7000)) | bits
}

function bitsFor(rights: string, mode: number, isFolder: boolean): number {
  // The rights of somebody, for everybody.
  if (rights === 'u') return spread(mode >> 6)
  if (rights === 'g') return spread(mode >> 3)
  if (rights === 'o') return spread(mode)
  return rights.split('').reduce((bits, right) => {
    if (right === 'X') return isFolder || (mode & 0o111) !== 0 ? bits | 0o111 : bits
    if (right === 's') return bits | 0o6000
    if (right === 't') return bits | 0o1000
    return bits | (bitsOf[right] ?? 0)
  }, 0)
}

function spread(bits: number): number {
  const own = bits & 0o7
  return (own << 6) | (own << 3) | own
}
