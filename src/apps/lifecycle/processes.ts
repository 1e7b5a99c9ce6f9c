/**
 * The two processes of an instance and their supervisors, found by the pid files that supervise.sh writes. A pid counts
 * only while its command line names this instance's run directory: a reused number is never signalled.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'

export type ProcessName = 'server' | 'node'
export const processNames: readonly ProcessName[] = ['server', 'node']

function readPid(path: string): number | undefined {
  if (!existsSync(path)) return undefined
  const pid = Number(readFileSync(path, 'utf8').trim())
  return Number.isInteger(pid) && pid > 1 ? pid : undefined
}

/** The words of a process's command line; empty when it is gone. */
function commandLine(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ESRCH') return []
    throw error
  }
}

/** The pid of the process, or of its supervisor, when it is alive. */
export function runningPid(runDirectory: string, name: ProcessName, which: 'process' | 'supervisor'): number | undefined {
  const pid = readPid(join(runDirectory, which === 'process' ? `${name}.pid` : `${name}.supervisor.pid`))
  if (pid === undefined) return undefined
  const words = commandLine(pid)
  const own = which === 'supervisor' ? words.includes(runDirectory) : words.some((word) => word.endsWith(`/apps/${name}.ts`) || word.endsWith(`/${name}.js`))
  return own ? pid : undefined
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false
    throw error
  }
}
