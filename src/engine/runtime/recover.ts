/**
 * Finding containers again after a restart of ours. Which conmon holds which container is read from the processes
 * themselves (their arguments name the id), so that no record of ours can be stale or missing.
 */
import { readFile } from 'node:fs/promises'
import { systemErrorCode } from '#base/fault.ts'
import type { Cgroups } from '#linux/contract/cgroups.ts'
import type { ProcessIdentity, Processes } from '#linux/contract/processes.ts'
import type { RuntimeTool } from './conmon.ts'

/** conmons of containers (not of execs) in our conmon cgroup, by container id. */
export async function findConmons(parts: { readonly cgroups: Pick<Cgroups, 'pids'>; readonly processes: Pick<Processes, 'identify'> }, cgroup: string): Promise<Map<string, ProcessIdentity>> {
  const found = new Map<string, ProcessIdentity>()
  for (const pid of await parts.cgroups.pids(cgroup)) {
    const identity = await parts.processes.identify(pid)
    const argv = await argumentsOf(pid)
    const id = argv[argv.indexOf('--cid') + 1]
    if (identity === undefined || id === undefined || !argv.includes('--cid') || argv.includes('--exec')) continue
    found.set(id, identity)
  }
  return found
}

async function argumentsOf(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0')
  } catch (error) {
    const errno = systemErrorCode(error)
    if (errno === 'ENOENT' || errno === 'ESRCH') return []
    throw error
  }
}

export type ToolState = 'created' | 'running' | 'paused' | 'stopped'

export interface ToolContainer {
  readonly pid: number
  readonly state: ToolState
}

/** What crun or runc itself knows, by id: one call for all. */
export async function listContainers(processes: Pick<Processes, 'run'>, tool: RuntimeTool): Promise<Map<string, ToolContainer>> {
  const answer = await processes.run([tool.path, `--root=${tool.stateRoot}`, 'list', '--format', 'json'], { timeoutMs: 30_000, maxOutputBytes: 16 * 1024 * 1024 })
  const found = new Map<string, ToolContainer>()
  // Without any container crun prints nothing, runc `null`.
  const text = answer.stdout.toString('utf8').trim()
  const rows: unknown = text === '' ? [] : JSON.parse(text)
  for (const row of Array.isArray(rows) ? rows : []) {
    const parsed = toolContainer(row)
    if (parsed !== undefined) found.set(parsed.id, parsed)
  }
  return found
}

function toolContainer(row: unknown): (ToolContainer & { readonly id: string }) | undefined {
  if (typeof row !== 'object' || row === null || !('id' in row) || !('pid' in row) || !('status' in row)) return undefined
  const { id, pid, status } = row
  if (typeof id !== 'string' || typeof pid !== 'number') return undefined
  if (status !== 'created' && status !== 'running' && status !== 'paused' && status !== 'stopped') return undefined
  return { id, pid, state: status }
}
