/**
 * From a container to the OCI runtime spec it runs by (runtime-spec 1.1 `config.md`, `config-linux.md`), with Docker's defaults for mounts,
 * devices, masked paths and capabilities. Pure: everything that must be looked up is given.
 */
import { Fault } from '#base/fault.ts'
import type { ContainerResources, ContainerSpec, ResolvedMount } from '../contract/containers.ts'
import type { DeviceSpec, LinuxSpec, MountSpec, NamespaceSpec, ProcessSpec, ResourcesSpec, RuntimeSpec } from '../contract/runtime-spec.ts'
import { capabilitiesOf } from './capabilities.ts'
import type { Effective } from './effective.ts'
import type { HostFacts } from './host.ts'
import type { Identity } from './identity.ts'
import type { NetworkFiles } from './network-files.ts'
import { defaultSeccomp } from './seccomp.ts'

export interface SpecInput {
  readonly spec: ContainerSpec
  readonly effective: Effective
  readonly identity: Identity
  readonly rootfs: string
  /** With host paths to bind. */
  readonly mounts: readonly (ResolvedMount & { readonly options?: readonly string[] })[]
  readonly files: Partial<NetworkFiles>
  /** Undefined: the host's network. */
  readonly netnsPath: string | undefined
  /** Namespaces of other containers, resolved to paths. */
  readonly joined: { readonly pid?: string; readonly ipc?: string; readonly uts?: string }
  readonly cgroupsPath: string
  readonly devices: readonly (DeviceSpec & { readonly access: string })[]
  readonly initPath: string | undefined
  readonly host: HostFacts
}

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export const defaultMaskedPaths: readonly string[] = ['/proc/asound', '/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/sys/firmware']
export const defaultReadonlyPaths: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

export function runtimeSpecOf(input: SpecInput): RuntimeSpec {
  const { spec, effective, joined } = input
  const readonly = spec.security?.readonlyRootfs ?? false
  return {
    ociVersion: '1.0.2',
    process: processOf(input),
    root: { path: input.rootfs, readonly },
    ...(spec.utsMode === 'host' || joined.uts !== undefined ? {} : { hostname: effective.hostname }),
    ...(spec.domainname ? { domainname: spec.domainname } : {}),
    mounts: mountsOf(input),
    linux: linuxOf(input),
  }
}

function processOf({ spec, effective, identity, host, initPath }: SpecInput): ProcessSpec {
  const security = spec.security ?? {}
  const capabilities = capabilitiesOf({ privileged: security.privileged ?? false, add: security.capAdd ?? [], drop: security.capDrop ?? [] }, host.unavailableCapabilities)
  const root = identity.uid === 0
  const size = spec.process?.consoleSize
  return {
    terminal: effective.tty,
    ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
    user: { uid: identity.uid, gid: identity.gid, additionalGids: identity.additionalGids },
    args: initPath === undefined ? effective.args : ['/sbin/docker-init', '--', ...effective.args],
    env: processEnv({ env: effective.env, hostname: effective.hostname, tty: effective.tty, home: identity.home }),
    cwd: effective.workingDir,
    // Only root holds them from the start; another user gets what a set-uid program may take (bounding set).
    capabilities: { bounding: capabilities, effective: root ? capabilities : [], permitted: root ? capabilities : [] },
    rlimits: rlimitsOf(spec.resources?.ulimits ?? [], host.rlimitCeilings),
    noNewPrivileges: security.noNewPrivileges ?? false,
    ...(spec.resources?.oomScoreAdj === undefined ? {} : { oomScoreAdj: spec.resources.oomScoreAdj }),
  }
}

export function processEnv({ env, hostname, tty, home }: { readonly env: readonly string[]; readonly hostname: string; readonly tty: boolean; readonly home: string }): string[] {
  const has = (key: string): boolean => env.some((entry) => entry.startsWith(`${key}=`))
  return [...(has('PATH') ? [] : [defaultPath]), ...(has('HOSTNAME') ? [] : [`HOSTNAME=${hostname}`]), ...(tty && !has('TERM') ? ['TERM=xterm'] : []), ...env, ...(has('HOME') ? [] : [`HOME=${home}`])]
}

/** Limits above what this machine lets us give are lowered to it (CAP_SYS_RESOURCE is missing there). */
export function rlimitsOf(ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[], ceilings: ReadonlyMap<string, number>): { type: string; soft: number; hard: number }[] {
  return ulimits.map(({ name, soft, hard }) => {
    const type = `RLIMIT_${name.toUpperCase()}`
    const ceiling = ceilings.get(type) ?? Number.POSITIVE_INFINITY
    const clamp = (value: number): number => (value < 0 ? (Number.isFinite(ceiling) ? ceiling : Number.MAX_SAFE_INTEGER) : Math.min(value, ceiling))
    return { type, soft: Math.min(clamp(soft), clamp(hard)), hard: clamp(hard) }
  })
}

function mountsOf(input: SpecInput): MountSpec[] {
  const { spec, files, host } = input
  const privileged = spec.security?.privileged ?? false
  const sysAccess = privileged ? 'rw' : 'ro'
  const shmBytes = spec.shmSizeBytes ?? 64 * 1024 * 1024
  const mounts: MountSpec[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
    { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', sysAccess] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [sysAccess, 'nosuid', 'noexec', 'nodev'] },
  ]
  if (spec.ipcMode === 'host') {
    mounts.push({ destination: '/dev/mqueue', type: 'bind', source: '/dev/mqueue', options: ['rbind'] }, { destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind'] })
  } else {
    mounts.push({ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] })
    mounts.push({ destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmBytes}`] })
  }
  const own = (destination: string, source: string | undefined): void => {
    if (source === undefined || input.mounts.some(({ target }) => target === destination)) return
    mounts.push({ destination, type: 'bind', source, options: ['rbind', 'rprivate', ...(spec.security?.readonlyRootfs === true ? ['ro'] : [])] })
  }
  own('/etc/resolv.conf', files.resolvConf)
  own('/etc/hostname', files.hostname)
  own('/etc/hosts', files.hosts)
  own('/sbin/docker-init', input.initPath)
  const overridden = new Set(input.mounts.map(({ target }) => target))
  const users = [...input.mounts].sort((a, b) => depth(a.target) - depth(b.target) || (a.target < b.target ? -1 : 1)).map(userMount)
  void host
  return [...mounts.filter(({ destination }) => !overridden.has(destination)), ...users]
}

function depth(path: string): number {
  return path.split('/').filter((part) => part !== '').length
}

function userMount(mount: ResolvedMount & { readonly options?: readonly string[] }): MountSpec {
  if (mount.type === 'tmpfs') {
    return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', ...(mount.options ?? [])].filter((option, index, all) => !(option === 'noexec' && all.indexOf('exec') > index)) }
  }
  const propagation = mount.propagation === '' ? 'rprivate' : mount.propagation
  return { destination: mount.target, type: 'bind', source: mount.source, options: [...(mount.options ?? ['rbind']), propagation, ...(mount.readonly ? ['ro'] : [])] }
}

function linuxOf(input: SpecInput): LinuxSpec {
  const { spec, host, cgroupsPath } = input
  const security = spec.security ?? {}
  const privileged = security.privileged ?? false
  const capabilities = capabilitiesOf({ privileged, add: security.capAdd ?? [], drop: security.capDrop ?? [] }, host.unavailableCapabilities)
  const seccomp = security.seccomp ?? (privileged ? 'unconfined' : defaultSeccomp(capabilities, host.architecture))
  const masked = security.maskedPaths ?? (privileged ? [] : defaultMaskedPaths)
  const readonlyPaths = security.readonlyPaths ?? (privileged ? [] : defaultReadonlyPaths)
  return {
    namespaces: namespacesOf(input),
    cgroupsPath,
    resources: { ...resourcesOf(spec.resources ?? {}, host), devices: deviceRules(input) },
    devices: input.devices.map(({ access, ...device }) => device),
    maskedPaths: masked,
    readonlyPaths,
    ...(spec.sysctls === undefined ? {} : { sysctl: spec.sysctls }),
    ...(seccomp === 'unconfined' || !host.seccomp ? {} : { seccomp }),
    // Where a volume wants to see later mounts of the host, the root must not cut it off.
    ...(input.mounts.some(({ propagation }) => /shared|slave/.test(propagation)) ? { rootfsPropagation: input.mounts.some(({ propagation }) => /shared/.test(propagation)) ? 'rshared' : 'rslave' } : {}),
  }
}

function namespacesOf({ spec, netnsPath, joined, host }: SpecInput): NamespaceSpec[] {
  const namespaces: NamespaceSpec[] = [{ type: 'mount' }]
  if (netnsPath !== undefined) namespaces.push({ type: 'network', path: netnsPath })
  const other = (type: 'pid' | 'ipc' | 'uts', mode: ContainerSpec['pidMode'], path: string | undefined): void => {
    if (mode === 'host') return
    namespaces.push(path === undefined ? { type } : { type, path })
  }
  other('uts', spec.utsMode, joined.uts)
  other('pid', spec.pidMode, joined.pid)
  other('ipc', spec.ipcMode, joined.ipc)
  if (host.cgroupMode === 'v2' && spec.security?.privileged !== true) namespaces.push({ type: 'cgroup' })
  return namespaces
}

/** What every container may use: the devices that the runtime makes by itself, and terminals. */
const defaultDeviceRules = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[[1, 3], [1, 5], [1, 7], [1, 8], [1, 9], [5, 0], [5, 2]].map(([major, minor]) => ({ allow: true, type: 'c', major: major ?? 0, minor: minor ?? 0, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
]

function deviceRules({ spec, devices }: SpecInput): NonNullable<ResourcesSpec['devices']> {
  if (spec.security?.privileged === true) return [{ allow: true, access: 'rwm' }]
  return [...defaultDeviceRules, ...devices.map(({ type, major, minor, access }) => ({ allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access }))]
}

/** Limits as the runtime wants them. Nothing is written for what was not asked for, so that the parent's limits hold. */
export function resourcesOf(wanted: ContainerResources, host: HostFacts): ResourcesSpec {
  const memory = {
    ...(wanted.memoryBytes ? { limit: wanted.memoryBytes } : {}),
    ...(wanted.memoryReservationBytes ? { reservation: wanted.memoryReservationBytes } : {}),
    // Without a word about swap, as much again as the memory may be swapped.
    ...(wanted.memorySwapBytes ? { swap: wanted.memorySwapBytes } : wanted.memoryBytes ? { swap: wanted.memoryBytes * 2 } : {}),
    ...(wanted.memorySwappiness === undefined || wanted.memorySwappiness < 0 ? {} : { swappiness: wanted.memorySwappiness }),
    ...(wanted.oomKillDisable === true && host.cgroupMode !== 'v2' ? { disableOOMKiller: true } : {}),
  }
  const period = wanted.nanoCpus ? 100_000 : wanted.cpuPeriodUs
  const quota = wanted.nanoCpus ? Math.round(wanted.nanoCpus / 10_000) : wanted.cpuQuotaUs
  const cpu = {
    ...(wanted.cpuShares ? { shares: wanted.cpuShares } : {}),
    ...(quota ? { quota } : {}),
    ...(period ? { period } : {}),
    ...(wanted.cpusetCpus ? { cpus: wanted.cpusetCpus } : {}),
    ...(wanted.cpusetMems ? { mems: wanted.cpusetMems } : {}),
  }
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(wanted.pidsLimit === undefined || wanted.pidsLimit === 0 ? {} : { pids: { limit: wanted.pidsLimit < 0 ? -1 : wanted.pidsLimit } }),
    ...(wanted.blkioWeight ? { blockIO: { weight: wanted.blkioWeight } } : {}),
  }
}

/** Refuses, in Docker's words, what no kernel would take. */
export function checkResources(wanted: ContainerResources, host: HostFacts): void {
  const refuse = (message: string): never => {
    throw new Fault('invalidArgument', message)
  }
  const { memoryBytes = 0, memorySwapBytes = 0, memoryReservationBytes = 0, nanoCpus = 0 } = wanted
  if (memoryBytes !== 0 && memoryBytes < 6 * 1024 * 1024) refuse('Minimum memory limit allowed is 6MB')
  if (memoryBytes > 0 && memorySwapBytes > 0 && memorySwapBytes < memoryBytes) refuse('Minimum memoryswap limit should be larger than memory limit, see usage')
  if (memoryBytes === 0 && memorySwapBytes > 0) refuse('You should always set the Memory limit when using Memoryswap limit, see usage')
  if (memoryBytes > 0 && memoryReservationBytes > memoryBytes) refuse('Minimum memory limit can not be less than memory reservation limit, see usage')
  if (nanoCpus < 0 || nanoCpus > host.cpus * 1e9) refuse(`Range of CPUs is from 0.01 to ${host.cpus}.00, as there are only ${host.cpus} CPUs available`)
  if (nanoCpus > 0 && (wanted.cpuPeriodUs ?? 0) > 0) refuse('Conflicting options: Nano CPUs and CPU Period cannot both be set')
  if (nanoCpus > 0 && (wanted.cpuQuotaUs ?? 0) > 0) refuse('Conflicting options: Nano CPUs and CPU Quota cannot both be set')
  if (wanted.cpuPeriodUs && (wanted.cpuPeriodUs < 1000 || wanted.cpuPeriodUs > 1_000_000)) refuse('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)')
  if (wanted.cpuQuotaUs && wanted.cpuQuotaUs > 0 && wanted.cpuQuotaUs < 1000) refuse('CPU cfs quota can not be less than 1ms (i.e. 1000)')
  const swappiness = wanted.memorySwappiness ?? -1
  if (swappiness < -1 || swappiness > 100) refuse(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`)
}
