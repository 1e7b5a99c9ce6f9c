/** What the engine must know of its host to write specs that the host can fulfil. Looked up once, when the engine opens. */
import { readFile } from 'node:fs/promises'
import { cpus, hostname, totalmem } from 'node:os'
import type { CgroupAbilities } from '#linux/contract/cgroups.ts'
import type { KernelFacts } from '#linux/contract/kernel.ts'
import { allCapabilities } from './capabilities.ts'

export interface HostFacts {
  readonly architecture: 'amd64' | 'arm64'
  readonly cpus: number
  readonly memoryBytes: number
  readonly hostname: string
  readonly cgroupMode: 'v1' | 'hybrid' | 'v2'
  readonly seccomp: boolean
  readonly limits: CgroupAbilities
  /** `rro`: mount_setattr(2), since Linux 5.12. */
  readonly recursiveReadonly: boolean
  /** Capabilities (with CAP_) outside our bounding set. */
  readonly unavailableCapabilities: ReadonlySet<string>
  /** Hard limits by OCI name (`RLIMIT_NOFILE`) that cannot be raised; empty where CAP_SYS_RESOURCE is held. */
  readonly rlimitCeilings: ReadonlyMap<string, number>
}

const limitNames: Readonly<Record<string, string>> = {
  'Max cpu time': 'RLIMIT_CPU',
  'Max file size': 'RLIMIT_FSIZE',
  'Max data size': 'RLIMIT_DATA',
  'Max stack size': 'RLIMIT_STACK',
  'Max core file size': 'RLIMIT_CORE',
  'Max resident set': 'RLIMIT_RSS',
  'Max processes': 'RLIMIT_NPROC',
  'Max open files': 'RLIMIT_NOFILE',
  'Max locked memory': 'RLIMIT_MEMLOCK',
  'Max address space': 'RLIMIT_AS',
  'Max file locks': 'RLIMIT_LOCKS',
  'Max pending signals': 'RLIMIT_SIGPENDING',
  'Max msgqueue size': 'RLIMIT_MSGQUEUE',
  'Max nice priority': 'RLIMIT_NICE',
  'Max realtime priority': 'RLIMIT_RTPRIO',
  'Max realtime timeout': 'RLIMIT_RTTIME',
}

/** proc(5) /proc/self/limits: fixed columns, `unlimited` or a number. */
function parseLimits(text: string): Map<string, number> {
  const ceilings = new Map<string, number>()
  for (const line of text.split('\n')) {
    const name = limitNames[line.slice(0, 26).trim()]
    const hard = /^\S+\s+(\S+)/.exec(line.slice(26).trim())?.[1]
    if (name !== undefined && hard !== undefined && hard !== 'unlimited') ceilings.set(name, Number(hard))
  }
  return ceilings
}

/** `6.1.0-18-amd64` is at least 5.12. */
function isAtLeast(release: string, [wantedMajor, wantedMinor]: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10))
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

export async function readHostFacts({ cgroupMode, seccomp, cgroupAbilities, kernelRelease }: Pick<KernelFacts, 'kernelRelease' | 'cgroupMode' | 'seccomp' | 'cgroupAbilities'>): Promise<HostFacts> {
  const [status, limits] = await Promise.all([readFile('/proc/self/status', 'utf8'), readFile('/proc/self/limits', 'utf8')])
  const bounding = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
  const unavailable = new Set(allCapabilities.filter((_name, bit) => ((bounding >> BigInt(bit)) & 1n) === 0n))
  return {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    cpus: cpus().length,
    memoryBytes: totalmem(),
    hostname: hostname(),
    cgroupMode,
    seccomp,
    limits: cgroupAbilities,
    recursiveReadonly: isAtLeast(kernelRelease, [5, 12]),
    unavailableCapabilities: unavailable,
    rlimitCeilings: unavailable.has('CAP_SYS_RESOURCE') ? parseLimits(limits) : new Map(),
  }
}
