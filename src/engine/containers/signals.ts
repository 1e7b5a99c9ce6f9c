/** Signal names and numbers as signal(7) gives them for Linux on x86-64 and arm64, and as Docker accepts them. */
import { Fault } from '#base/fault.ts'

const numbers: Readonly<Record<string, number>> = {
  HUP: 1, INT: 2, QUIT: 3, ILL: 4, TRAP: 5, ABRT: 6, IOT: 6, BUS: 7, FPE: 8, KILL: 9, USR1: 10, SEGV: 11, USR2: 12, PIPE: 13, ALRM: 14, TERM: 15,
  STKFLT: 16, CHLD: 17, CLD: 17, CONT: 18, STOP: 19, TSTP: 20, TTIN: 21, TTOU: 22, URG: 23, XCPU: 24, XFSZ: 25, VTALRM: 26, PROF: 27, WINCH: 28, IO: 29, POLL: 29, PWR: 30, SYS: 31,
}

/** `SIGTERM`, `term`, `15`, `RTMIN+3` → 15. `invalidArgument` (`Invalid signal: …`) for anything else. */
export function signalNumber(text: string): number {
  if (/^\d+$/.test(text)) {
    const number = Number(text)
    if (number >= 1 && number <= 64) return number
    throw new Fault('invalidArgument', `Invalid signal: ${text}`)
  }
  const name = text.toUpperCase().replace(/^SIG/, '')
  const known = numbers[name]
  if (known !== undefined) return known
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name)
  const offset = realTime === null ? 0 : Number(`${realTime[2] ?? '+'}${realTime[3] ?? '0'}`)
  const number = realTime?.[1] === 'MIN' ? 34 + offset : 64 + offset
  if (realTime === null || number < 34 || number > 64) throw new Fault('invalidArgument', `Invalid signal: ${text}`)
  return number
}
