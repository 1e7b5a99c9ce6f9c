/** Which ids inside a user namespace stand for which ids of the machine (user_namespaces(7), `uid_map`). Pure. */
export interface IdRange {
  /** First id inside. */
  readonly containerId: number
  /** First id of the machine. */
  readonly hostId: number
  readonly size: number
}

export interface IdMapping {
  readonly uids: readonly IdRange[]
  readonly gids: readonly IdRange[]
}

/** What the kernel shows for an id that has no counterpart (`/proc/sys/kernel/overflowuid`). */
export const overflowId = 65534

/** Undefined: nothing inside stands for it. */
export function hostIdOf(ranges: readonly IdRange[], containerId: number): number | undefined {
  const range = ranges.find((each) => containerId >= each.containerId && containerId < each.containerId + each.size)
  return range === undefined ? undefined : range.hostId + containerId - range.containerId
}

/** Undefined: it has no name inside. */
export function containerIdOf(ranges: readonly IdRange[], hostId: number): number | undefined {
  const range = ranges.find((each) => hostId >= each.hostId && hostId < each.hostId + each.size)
  return range === undefined ? undefined : range.containerId + hostId - range.hostId
}

/** As `uid_map` and `gid_map` are written. */
export function idMapText(ranges: readonly IdRange[]): string {
  return ranges.map(({ containerId, hostId, size }) => `${containerId} ${hostId} ${size}\n`).join('')
}

/** As `uid_map` and `gid_map` are read. */
export function parseIdMap(text: string): IdRange[] {
  return text.split('\n').flatMap((line) => {
    const [containerId, hostId, size] = line.trim().split(/\s+/).map(Number)
    return containerId === undefined || hostId === undefined || size === undefined ? [] : [{ containerId, hostId, size }]
  })
}

/** Every id stands for itself: the machine's own user namespace. */
export function isIdentity({ uids, gids }: IdMapping): boolean {
  return [...uids, ...gids].every(({ containerId, hostId }) => containerId === hostId)
}
