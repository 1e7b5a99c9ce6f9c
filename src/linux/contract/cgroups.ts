/**
 * Control groups (cgroups(7)) of both versions behind one vocabulary. A `path` is relative to the root of the hierarchy
 * (`berth/ab12cd…`); on v1 it stands for the folder of that name in every controller.
 */

/** `hybrid`: controllers on v1, with an empty v2 tree mounted beside them at `/sys/fs/cgroup/unified`. */
export type CgroupMode = 'v1' | 'hybrid' | 'v2'

export interface CgroupLimits {
  /** v1 scale, 2 to 262144, 1024 is the default; converted to `cpu.weight` on v2. */
  readonly cpuShares?: number
  /** CPU time per period; -1 lifts the limit. */
  readonly cpuQuotaUs?: number
  readonly cpuPeriodUs?: number
  readonly cpusetCpus?: string
  readonly cpusetMems?: string
  /** -1 lifts the limit. */
  readonly memoryBytes?: bigint
  /** Memory plus swap, as Docker counts; -1 lifts the limit. */
  readonly memorySwapBytes?: bigint
  readonly memoryReservationBytes?: bigint
  /** -1 lifts the limit. */
  readonly pids?: bigint
}

export interface CgroupStats {
  readonly cpuUsageNs: bigint
  readonly cpuUserNs: bigint
  readonly cpuSystemNs: bigint
  /** Per processor; only the controllers of version 1 tell. */
  readonly cpuPerProcessorNs?: readonly bigint[]
  readonly cpuPeriods: bigint
  readonly cpuThrottledPeriods: bigint
  readonly cpuThrottledNs: bigint
  readonly memoryUsageBytes: bigint
  /** The most so far, where the kernel tells it. */
  readonly memoryPeakBytes?: bigint
  /** The machine's memory size where no limit is set is the caller's business: undefined here. */
  readonly memoryLimitBytes: bigint | undefined
  /** Page cache that can be dropped: `usage - inactiveFile` is the working set Kubernetes and Docker show. */
  readonly memoryInactiveFileBytes: bigint
  /** `memory.stat`, as the kernel names its lines. */
  readonly memoryStat: Readonly<Record<string, bigint>>
  readonly oomKills: bigint
  readonly pids: bigint
  readonly pidsLimit: bigint | undefined
  readonly io: readonly { readonly major: number; readonly minor: number; readonly readBytes: bigint; readonly writeBytes: bigint; readonly readOperations: bigint; readonly writeOperations: bigint }[]
}

/** What the controllers of this machine can limit; what is false here would be ignored or refused. */
export interface CgroupAbilities {
  readonly memory: boolean
  readonly swap: boolean
  readonly swappiness: boolean
  readonly reservation: boolean
  readonly oomKillDisable: boolean
  readonly pids: boolean
  readonly cpuShares: boolean
  readonly cpuQuota: boolean
  readonly cpuRealtime: boolean
  readonly blkioWeight: boolean
  readonly blkioWeightDevice: boolean
  readonly blkioRates: boolean
  /** CPUs and memory nodes that may be named, as the kernel lists them (`0-3,7`); undefined without a cpuset controller. */
  readonly cpuset: { readonly cpus: string; readonly mems: string } | undefined
}

/** Faults: `notFound`, `invalidArgument` (a value the kernel refuses), `conflict` (not empty). */
export interface Cgroups {
  readonly mode: CgroupMode
  abilities(): Promise<CgroupAbilities>
  /** Creates the group (and its parents) in every controller. An existing one is no error. */
  create(path: string, limits?: CgroupLimits): Promise<void>
  update(path: string, limits: CgroupLimits): Promise<void>
  /**
   * Says that a process will soon be put into a group. The kernel makes the first one for some 20 ms wait about 10 ms (a grace period of RCU);
   * that wait begins now, in the background. Changes nothing and never fails.
   */
  expectMove(): void
  /** Moves a process (all of its threads). */
  add(path: string, pid: number): Promise<void>
  /** Processes in the group itself and below it. */
  pids(path: string): Promise<readonly number[]>
  stats(path: string): Promise<CgroupStats>
  /**
   * Tells `CgroupStats.oomKills` at once and whenever it may have grown, until it is disposed of. Throws where the group is gone or the machine
   * has no inotify watch left. undefined on version 1, which tells by an eventfd that conmon listens to.
   */
  watchOomKills(path: string, tell: (kills: bigint) => void): Disposable | undefined
  /** SIGKILL to every process in the group and below. */
  kill(path: string): Promise<void>
  freeze(path: string): Promise<void>
  thaw(path: string): Promise<void>
  /** Removes the group and the empty groups below it. A missing one is no error. */
  remove(path: string): Promise<void>
}
