/** `docker top`: the host's `ps` asked for what was wanted, cut down to the container's processes (Docker does the same). */
import { Fault } from '#base/fault.ts'

export interface ProcessTable {
  readonly titles: readonly string[]
  readonly processes: readonly (readonly string[])[]
}

/** `output` is what `ps` printed. The last column takes the rest of its line. */
export function selectProcesses(output: string, pids: ReadonlySet<number>): ProcessTable {
  const [header = '', ...lines] = output.split('\n').filter((line) => line.trim() !== '')
  const titles = header.trim().split(/\s+/)
  const pidColumn = titles.indexOf('PID')
  if (pidColumn < 0) throw new Fault('invalidArgument', "Couldn't find PID field in ps output")
  const processes: string[][] = []
  for (const line of lines) {
    const fields = line.trim().split(/\s+/)
    if (!pids.has(Number(fields[pidColumn]))) continue
    const last = titles.length - 1
    processes.push([...fields.slice(0, last), fields.slice(last).join(' ')])
  }
  return { titles, processes }
}

/** Splits `-o pid,cmd` into arguments; nothing of it reaches a shell. */
export function psArguments(text: string): string[] {
  const args = text.trim().split(/\s+/).filter((arg) => arg !== '')
  if (args.some((arg) => /[^\w,.=:%+@/-]/.test(arg))) throw new Fault('invalidArgument', `ps arguments '${text}' hold characters that are not allowed`)
  return args.length === 0 ? ['-ef'] : args
}
