/**
 * Takes down everything an instance runs, by name and not by memory, so that it also cleans up after a crash: processes in
 * its cgroups, mounts below its directories, links, nft tables and routes. State on disk stays. Level-triggered: running it
 * again finds nothing to do.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { type Clock, sleep } from '#base/clock.ts'
import { isFault, systemErrorCode } from '#base/fault.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import type { Config } from '../config/config.ts'
import { nftTables } from '../config/names.ts'
import { restoreSysctls } from './machine-sysctls.ts'

const graceMs = 10_000
const sigterm = 15

export async function tearDown(config: Config, clock: Clock): Promise<void> {
  await using kernel = await openKernel({ clock })
  await endProcesses(kernel, config.instance.name, clock)
  await unmountAll(kernel, [config.paths.run, config.paths.state])
  for (const link of await kernel.links.list()) if (link.name.startsWith(config.instance.linkPrefix)) await kernel.links.deleteLink(link.name)
  for (const table of nftTables(config.instance)) await kernel.nftables.apply(`add table ${table}\ndelete table ${table}`)
  for (const destination of [config.podCidr, config.instance.clusterCidr, config.serviceCidr]) await kernel.links.deleteRoute({ destination, type: 'unreachable' })
  await restoreSysctls(config, kernel.links)
  await kernel.cgroups.remove(config.instance.name)
  rmSync(config.paths.run, { recursive: true, force: true })
}

/** The parent and the name of a process; undefined when it has ended. */
function statOf(pid: number): { readonly parent: number; readonly command: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const end = stat.lastIndexOf(')')
    return { command: stat.slice(stat.indexOf('(') + 1, end), parent: Number(stat.slice(end + 2).split(' ')[1]) }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ESRCH') return undefined
    throw error
  }
}

async function pidsOf(kernel: Kernel, cgroup: string): Promise<readonly number[]> {
  try {
    return await kernel.cgroups.pids(cgroup)
  } catch (error) {
    if (isFault(error, 'notFound')) return []
    throw error
  }
}

/** SIGTERM to each container's first process; whatever is left after the grace period is killed. */
async function endProcesses(kernel: Kernel, cgroup: string, clock: Clock): Promise<void> {
  const inits = (await pidsOf(kernel, cgroup)).filter((pid) => {
    const stat = statOf(pid)
    return stat !== undefined && stat.command !== 'conmon' && statOf(stat.parent)?.command === 'conmon'
  })
  for (const pid of inits) {
    try {
      await kernel.processes.kill(pid, sigterm)
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
    }
  }
  const deadline = clock.monotonicMs() + graceMs
  while ((await pidsOf(kernel, cgroup)).length > 0 && clock.monotonicMs() < deadline) await sleep(clock, 20)
  if ((await pidsOf(kernel, cgroup)).length === 0) return
  await kernel.cgroups.kill(cgroup)
  while ((await pidsOf(kernel, cgroup)).length > 0) await sleep(clock, 20)
}

async function unmountAll(kernel: Kernel, directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    if (!existsSync(directory)) continue
    // Children stand after their parents in the table: the last comes first. A shared mount may need several passes.
    for (let pass = 0; pass < 8; pass += 1) {
      const mounted = (await kernel.mounts.table(directory)).toReversed()
      if (mounted.length === 0) break
      for (const { target } of mounted) await kernel.mounts.unmount(target, { lazy: true })
    }
  }
}
