/** Who a process number stands for now: its start time, from proc_pid_stat(5). */
import { readFileSync } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'

/** Field 22 of `/proc/PID/stat`, in clock ticks since boot; undefined when there is no such process (or only its zombie). */
export function startTimeOf(pid: number): bigint | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    const errno = systemErrorCode(error)
    if (errno === 'ENOENT' || errno === 'ESRCH') return undefined
    throw error
  }
  // The name in parentheses may hold blanks and parentheses itself; fields count from behind the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  const started = fields[19]
  return state === 'Z' || state === 'X' || started === undefined ? undefined : BigInt(started)
}

export function identify(request: { readonly pid: number }): { pid: number; startTime: bigint } | undefined {
  const startTime = startTimeOf(request.pid)
  return startTime === undefined ? undefined : { pid: request.pid, startTime }
}
