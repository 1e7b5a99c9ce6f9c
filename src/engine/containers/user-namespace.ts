/** In which user namespace a remapped container runs: one of its own, or the one whose other namespaces it wants to share. */
import { readlink } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { Fault } from '#base/fault.ts'
import type { SandboxOptions } from '../contract/networks.ts'
import { mappingOfProcess, type Remap } from '../userns/remap.ts'

/** A container whose network, process or IPC namespace is joined. */
export interface Donor {
  readonly name: string
  /** 0: it does not run. */
  readonly pid: number
}

/** The kernel lets a process into namespaces that belong to its own user namespace only. Fault: `invalidArgument` where it cannot be in all of them. */
export async function userNamespaceFor(remap: Remap, donors: readonly Donor[]): Promise<NonNullable<SandboxOptions['owner']>> {
  const [first, ...others] = donors.filter(({ pid }) => pid > 0)
  if (first === undefined) return { mapping: remap.mapping }
  const own = await namespaceOf(first)
  for (const other of others) if ((await namespaceOf(other)) !== own) throw new Fault('invalidArgument', `containers ${first.name} and ${other.name} have user namespaces of their own: a third one cannot share namespaces of both`)
  const mapping = await mappingOfProcess(first.pid)
  if (mapping === undefined) throw new Fault('invalidArgument', `container ${first.name} runs in the host's user namespace: its namespaces can be shared with --userns=host only`)
  if (!isDeepStrictEqual(mapping, remap.mapping)) throw new Fault('invalidArgument', `container ${first.name} was started with another remapping of its user namespace: restart it first`)
  return { path: `/proc/${first.pid}/ns/user` }
}

function namespaceOf({ pid }: Donor): Promise<string> {
  return readlink(`/proc/${pid}/ns/user`)
}
