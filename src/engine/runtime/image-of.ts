/**
 * Whether a container's init still is the runtime that prepares it. Between its release and its exec(2) it is crun or runc, with
 * their signal handlers: runc, a Go program, ends with code 2 on a SIGTERM. /proc/PID/exe tells the two apart.
 */
import { stat } from 'node:fs/promises'
import { type Clock, sleep } from '#base/clock.ts'
import { systemErrorCode } from '#base/fault.ts'

/** Names the file that a process executes; undefined when it is gone. */
export async function imageOf(pid: number): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(`/proc/${pid}/exe`)
    return `${dev}:${ino}`
  } catch (error) {
    const errno = systemErrorCode(error)
    if (errno === 'ENOENT' || errno === 'ESRCH') return undefined
    throw error
  }
}

const patienceMs = 2000

/**
 * Resolves when the process executes something else than `image`, or has ended; usually that is so already. A frozen process
 * never gets there, and then the wait ends by itself.
 */
export async function imageChanged(clock: Clock, pid: number, image: string): Promise<void> {
  const givenUpMs = clock.monotonicMs() + patienceMs
  for (let pauseMs = 1; (await imageOf(pid)) === image && clock.monotonicMs() < givenUpMs; pauseMs = Math.min(50, pauseMs * 2)) await sleep(clock, pauseMs)
}
