/**
 * The one door to the Linux kernel. Consumers ask for the small interface they need (`Mounts`, `Links`, …), never for the
 * whole `Kernel`; only `apps/` opens it (`openKernel` in `linux/real`) and hands the parts out.
 */
import type { CgroupAbilities, Cgroups, CgroupMode } from './cgroups.ts'
import type { ConfinedJobs } from './confined.ts'
import type { Links } from './links.ts'
import type { Mounts } from './mounts.ts'
import type { Namespaces } from './namespaces.ts'
import type { Nftables } from './nftables.ts'
import type { Poller } from './poller.ts'
import type { Processes } from './processes.ts'
import type { SeccompCompiler } from './seccomp.ts'

export interface Kernel {
  readonly mounts: Mounts
  readonly namespaces: Namespaces
  readonly links: Links
  readonly nftables: Nftables
  readonly cgroups: Cgroups
  readonly processes: Processes
  readonly poller: Poller
  readonly confined: ConfinedJobs
  readonly seccomp: SeccompCompiler
  /** What this machine can do; looked up once. */
  probe(): Promise<KernelFacts>
  /** Gives memory of this process that the C library holds unused back to the kernel. */
  trimMemory(): Promise<void>
}

export interface KernelFacts {
  readonly kernelRelease: string
  readonly architecture: string
  readonly cgroupMode: CgroupMode
  readonly cgroupAbilities: CgroupAbilities
  readonly cpus: number
  readonly memoryBytes: bigint
  /** overlayfs is there (in /proc/filesystems, loading the module where needed). */
  readonly overlay: boolean
  readonly seccomp: boolean
  readonly apparmor: boolean
  /** Names without CAP_ that root lacks here, e.g. `SYS_RESOURCE`. */
  readonly missingCapabilities: readonly string[]
  /** Absolute paths; undefined when not installed. */
  readonly conmon: string | undefined
  readonly crun: string | undefined
  readonly runc: string | undefined
  /** The runtime to use: crun where it is installed and the cgroup tree is one it accepts, else runc. */
  readonly runtime: { readonly name: 'crun' | 'runc'; readonly path: string; readonly version: string } | undefined
  /** Hard limit of open files: rlimits above cannot be given without CAP_SYS_RESOURCE. */
  readonly openFilesHardLimit: bigint
}
