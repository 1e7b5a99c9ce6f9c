/** How a container ended, read from what conmon and the kernel left behind. */
import { stat } from 'node:fs/promises'
import { systemErrorCode } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import type { Clock } from '#base/clock.ts'
import type { Cgroups } from '#linux/contract/cgroups.ts'
import { isFault } from '#base/fault.ts'
import type { ContainerExit } from '../contract/runtime.ts'
import type { BundlePaths } from './bundle.ts'

const killedExitCode = 137

export interface ExitReaderParts {
  readonly cgroups: Pick<Cgroups, 'stats'>
  readonly clock: Clock
}

/** undefined: conmon wrote no exit code, so it did not live to see the end. */
export async function readExit(parts: ExitReaderParts, container: { readonly id: string; readonly paths: BundlePaths; readonly cgroupsPath: string }): Promise<ContainerExit | undefined> {
  const text = await readTextIfThere(container.paths.exit)
  if (text === undefined || !/^\d+/.test(text)) return undefined
  const exitCode = Number.parseInt(text, 10)
  return { id: container.id, exitCode, oomKilled: await oomKilled(parts.cgroups, container, exitCode), finishedAtNs: await modifiedAtNs(container.paths.exit) }
}

/** For a container whose conmon was killed: nobody knows the process's own code. */
export function lostExit(id: string, clock: Clock): ContainerExit {
  return { id, exitCode: killedExitCode, oomKilled: false, finishedAtNs: clock.nowNs() }
}

async function modifiedAtNs(path: string): Promise<bigint> {
  try {
    return (await stat(path, { bigint: true })).mtimeNs
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    return 0n
  }
}

/** Any of its processes, as dockerd counts. conmon may not live to tell of the last one: then the kernel is asked. */
async function oomKilled(cgroups: Pick<Cgroups, 'stats'>, { paths, cgroupsPath }: { readonly paths: BundlePaths; readonly cgroupsPath: string }, exitCode: number): Promise<boolean> {
  for (const path of [paths.oom, paths.toldOom]) if ((await readTextIfThere(path)) !== undefined) return true
  if (exitCode !== killedExitCode) return false
  try {
    return (await cgroups.stats(cgroupsPath)).oomKills > 0n
  } catch (error) {
    if (isFault(error, 'notFound')) return false
    throw error
  }
}
