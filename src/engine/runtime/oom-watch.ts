/**
 * Tells at once when the kernel killed a process of a container for want of memory, though the container lives on. What was told of is
 * noted in the bundle (`oom.told`), so that after a restart of ours only news is told, and the exit still knows.
 *
 * Version 2 of control groups counts the kills in a file of the kernel. For version 1 conmon listens to the group (an eventfd on
 * `memory.oom_control`) and makes a file named `oom` in the bundle each time. (It does for version 2, too, but stops at the first event
 * that is no kill.)
 */
import { watch, type FSWatcher } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { systemErrorCode } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import type { Logger } from '#base/log.ts'
import type { Cgroups } from '#linux/contract/cgroups.ts'
import type { BundlePaths } from './bundle.ts'

export interface OomWatchOptions {
  readonly id: string
  readonly paths: BundlePaths
  readonly cgroupsPath: string
  readonly cgroups: Pick<Cgroups, 'watchOomKills'>
  readonly log: Logger
  readonly tell: () => void
}

/** Of a container that ran before we did, also what nobody was told of. Where the machine has no inotify watch left the container's exit alone tells. */
export function watchOom(options: OomWatchOptions): Disposable {
  try {
    return watchKills(options) ?? watchFile(options)
  } catch (error) {
    failed(options, error)
    return { [Symbol.dispose]() {} }
  }
}

function failed({ id, log }: OomWatchOptions, error: unknown): void {
  log.warn({ container: id, error: String(error) }, 'cannot watch for processes killed for want of memory')
}

function watchKills(options: OomWatchOptions): Disposable | undefined {
  const { paths, cgroups, cgroupsPath, tell } = options
  let watching = true
  let turn = Promise.resolve()
  const note = async (kills: bigint): Promise<void> => {
    if (!watching || kills === 0n) return
    const told = BigInt((await readTextIfThere(paths.toldOom)) ?? '0')
    // Let go of meanwhile: it stays news for who comes next.
    if (!watching || kills <= told) return
    tell()
    await writeFile(paths.toldOom, String(kills))
  }
  const watcher = cgroups.watchOomKills(cgroupsPath, (kills) => {
    turn = turn.then(() => note(kills)).catch((error: unknown) => {
      // The container is gone.
      if (systemErrorCode(error) !== 'ENOENT') failed(options, error)
    })
  })
  if (watcher === undefined) return undefined
  return {
    [Symbol.dispose]() {
      watching = false
      watcher[Symbol.dispose]()
    },
  }
}

function watchFile(options: OomWatchOptions): Disposable {
  const { paths, tell } = options
  let watcher: FSWatcher | undefined
  const look = async (): Promise<void> => {
    try {
      if (watcher === undefined) return
      await rename(paths.oom, paths.toldOom)
      if (watcher !== undefined) return tell()
      // Let go of meanwhile: it stays news for who comes next.
      await rename(paths.toldOom, paths.oom)
    } catch (error) {
      // Nothing happened, the move itself was told, or the container is gone.
      if (systemErrorCode(error) !== 'ENOENT') failed(options, error)
    }
  }
  watcher = watch(paths.folder, { persistent: false }, (_event, name) => {
    if (name === basename(paths.oom)) void look()
  })
  watcher.on('error', (error) => failed(options, error))
  void look()
  return {
    [Symbol.dispose]() {
      watcher?.close()
      watcher = undefined
    },
  }
}
