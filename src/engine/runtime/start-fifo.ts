/**
 * Lets a created crun container go. Its init waits for one byte on the fifo `exec.fifo` in crun's state folder; `crun start`
 * writes it, and so can we, without a process of 4 ms. The fifo's absence is what makes crun call a container running.
 */
import { constants } from 'node:fs'
import { access, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import type { RuntimeTool } from './conmon.ts'

/** False: nobody waits there (another runtime, another version); then the runtime's own `start` shall do it. */
export async function releaseByFifo(tool: RuntimeTool, id: string): Promise<boolean> {
  if (tool.name !== 'crun') return false
  const fifo = join(tool.stateRoot, id, 'exec.fifo')
  try {
    await using file = await open(fifo, constants.O_WRONLY | constants.O_NONBLOCK)
    await file.write(Buffer.alloc(1))
  } catch (error) {
    const errno = systemErrorCode(error)
    if (errno === 'ENOENT' || errno === 'ENXIO') return false
    throw error
  }
  await unlink(fifo)
  return true
}

/** True: crun made the container and nobody has let it go yet. Of other runtimes this is not known. */
export async function waitsForStart(tool: RuntimeTool, id: string): Promise<boolean> {
  try {
    await access(join(tool.stateRoot, id, 'exec.fifo'))
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}
