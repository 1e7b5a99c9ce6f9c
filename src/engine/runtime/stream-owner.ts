/**
 * Whose a process's pipes are. They are made by conmon, for root of this machine; in a user namespace a process could not open its own
 * `/dev/stdout` again if they stayed so. (moby gives containerd the ids for that; conmon knows no such option.)
 */
import { chown, readdir, stat } from 'node:fs/promises'
import { systemErrorCode } from '#base/fault.ts'
import type { ProcessSpec, RuntimeSpec } from '../contract/runtime-spec.ts'

export type RuntimeMapping = Pick<RuntimeSpec['linux'], 'uidMappings' | 'gidMappings'>

/** Who the process's user is on this machine; undefined: who it is inside. */
export function streamOwner({ user }: Pick<ProcessSpec, 'user'>, mapping: RuntimeMapping | undefined): { readonly uid: number; readonly gid: number } | undefined {
  const [uid, gid] = [hostId(mapping?.uidMappings, user.uid), hostId(mapping?.gidMappings, user.gid)]
  return uid === undefined || gid === undefined ? undefined : { uid, gid }
}

/** Gives the pipes among these descriptors of a process to the user of another. `fds` undefined: all but conmon's own three. Nothing without a mapping. */
export async function giveStreams(pid: number, { user }: Pick<ProcessSpec, 'user'>, { mapping, fds }: { readonly mapping: RuntimeMapping | undefined; readonly fds?: readonly number[] }): Promise<void> {
  const owner = streamOwner({ user }, mapping)
  if (owner === undefined) return
  const chosen = fds ?? (await descriptorsOf(pid)).filter((fd) => fd > conmonsLast)
  await Promise.all(
    chosen.map(async (fd) => {
      try {
        const path = `/proc/${pid}/fd/${fd}`
        if ((await stat(path)).isFIFO()) await chown(path, owner.uid, owner.gid)
      } catch (error) {
        // It has ended, or closed it meanwhile.
        if (systemErrorCode(error) !== 'ENOENT' && systemErrorCode(error) !== 'ESRCH') throw error
      }
    }),
  )
}

/** conmon's pipes to us: sync, start, attach. */
const conmonsLast = 5

async function descriptorsOf(pid: number): Promise<readonly number[]> {
  try {
    return (await readdir(`/proc/${pid}/fd`)).map(Number)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    return []
  }
}

function hostId(ranges: RuntimeMapping['uidMappings'] = [], id: number): number | undefined {
  const range = ranges.find(({ containerID, size }) => id >= containerID && id < containerID + size)
  return range === undefined ? undefined : range.hostID + id - range.containerID
}
