/** The kernel's news of processes it killed for want of memory: `memory.events` (kernel admin-guide cgroup-v2), which inotify sees change. */
import { readFileSync, watch } from 'node:fs'
import { systemErrorCode } from '#base/fault.ts'
import { cgroupTree, groupFolder } from './operations/cgroupTree.ts'

export function watchOomKills(path: string, tell: (kills: bigint) => void): Disposable | undefined {
  const folder = cgroupTree().mode === 'v2' ? groupFolder(path, 'memory') : undefined
  if (folder === undefined) return undefined
  const file = `${folder}/memory.events`
  // The kernel tells at most 100 times a second, and of other events, too.
  const look = (): void => {
    const kills = killsIn(file)
    if (kills !== undefined) tell(kills)
  }
  const watcher = watch(file, { persistent: false }, look)
  watcher.on('error', look)
  look()
  return { [Symbol.dispose]: () => watcher.close() }
}

/** undefined when the group is gone. */
function killsIn(file: string): bigint | undefined {
  try {
    const count = /^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1]
    return count === undefined ? undefined : BigInt(count)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENODEV') return undefined
    throw error
  }
}
