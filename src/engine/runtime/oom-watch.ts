/**
 * Tells at once when the kernel killed a process of a container for want of memory, though the container lives on. conmon listens to the
 * memory cgroup (an eventfd on `memory.oom_control`, or `memory.events` of version 2) and makes a file named `oom` in the bundle each time;
 * inotify tells of it. The file is moved aside when it was told of, so that the next one is news and the exit still knows.
 */
import { watch, type FSWatcher } from 'node:fs'
import { rename } from 'node:fs/promises'
import { basename } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { BundlePaths } from './bundle.ts'

export interface OomWatchOptions {
  readonly id: string
  readonly paths: BundlePaths
  readonly log: Logger
  readonly tell: () => void
}

/** Of a container that ran before we did, also what nobody was told of. Where the machine has no inotify watch left the container's exit alone tells. */
export function watchOom({ id, paths, log, tell }: OomWatchOptions): Disposable {
  let watcher: FSWatcher | undefined
  const failed = (error: unknown): void => log.warn({ container: id, error: String(error) }, 'cannot watch for processes killed for want of memory')
  const look = async (): Promise<void> => {
    try {
      if (watcher === undefined) return
      await rename(paths.oom, paths.toldOom)
      if (watcher !== undefined) return tell()
      // Let go of meanwhile: it stays news for who comes next.
      await rename(paths.toldOom, paths.oom)
    } catch (error) {
      // Nothing happened, the move itself was told, or the container is gone.
      if (systemErrorCode(error) !== 'ENOENT') failed(error)
    }
  }
  try {
    watcher = watch(paths.folder, { persistent: false }, (_event, name) => {
      if (name === basename(paths.oom)) void look()
    })
    watcher.on('error', failed)
  } catch (error) {
    failed(error)
  }
  void look()
  return {
    [Symbol.dispose]() {
      watcher?.close()
      watcher = undefined
    },
  }
}
