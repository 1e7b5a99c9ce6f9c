/**
 * From a container to the OCI runtime spec it runs by (runtime-spec 1.1 `config.md`, `config-linux.md`), with Docker's defaults for mounts,
 * devices, masked paths and capabilities. Pure: everything that must be looked up is given.
 */
import { Fault } from '#base/fault.ts'
import type { IdMapping, IdRange } from '#linux/contract/id-mapping.ts'
import type { ContainerSpec, NamespaceMode, ReadonlyDepth, ResolvedMount } from '../contract/containers.ts'
import type { DeviceSpec, IdMappingSpec, LinuxSpec, MountSpec, NamespaceSpec, ProcessSpec, ResourcesSpec, RuntimeSpec } from '../contract/runtime-spec.ts'
import { capabilitiesOf } from './capabilities.ts'
import type { Effective } from './effective.ts'
import type { HostFacts } from './host.ts'
import type { Identity } from './identity.ts'
import type { NetworkFiles } from './network-files.ts'
import { resourcesOf } from './resources.ts'
import { defaultSeccomp } from './seccomp.ts'
import { checkedSysctls } from './sysctls.ts'
import { tmpfsOptions } from './tmpfs.ts'

export type LaunchMount = ResolvedMount & {
  /** tmpfs: its options. */
  readonly options?: readonly string[]
  readonly nonRecursive?: boolean
  readonly readonlyDepth?: ReadonlyDepth
}

export interface SpecInput {
  readonly spec: ContainerSpec
  readonly effective: Effective
  readonly identity: Identity
  readonly rootfs: string
  /** With host paths to bind. */
  readonly mounts: readonly LaunchMount[]
  readonly files: Partial<NetworkFiles>
  /** Undefined: the host's network. */
  readonly netnsPath: string | undefined
  /** Namespaces of other containers, resolved to paths. */
  /** Absent: the machine's. */
  readonly userNamespace?: { readonly path: string; readonly mapping: IdMapping }
  readonly joined: { readonly pid?: string; readonly ipc?: string; readonly uts?: string }
  readonly cgroupsPath: string
  readonly devices: readonly (DeviceSpec & { readonly access: string })[]
  readonly blockIo?: NonNullable<ResourcesSpec['blockIO']>
  /** The tmpfs on the host that others may share as /dev/shm. */
  readonly shmPath?: string
  readonly initPath: string | undefined
  readonly host: HostFacts
  /** No variable tells the host's name. */
  readonly hidesHostname?: boolean
}

export const defaultShmBytes = 64 * 1024 * 1024

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
    mounts: mountsOf(input),
    ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }),
    linux: linuxOf(input),
  }
}

function processOf({ spec, effective, identity, host, initPath, hidesHostname }: SpecInput): ProcessSpec {
  const security = spec.security ?? {}
  const capabilities = capabilitiesOf({ privileged: security.privileged ?? false, add: security.capAdd ?? [], drop: security.capDrop ?? [] }, host.unavailableCapabilities)
  const root = identity.uid === 0
  const size = spec.process?.consoleSize
  return {
    terminal: effective.tty,
    ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
    user: { uid: identity.uid, gid: identity.gid, additionalGids: identity.additionalGids },
    // Beside the host's or another container's pid 1 there is no place for an init.
    args: initPath === undefined ? effective.args : ['/sbin/docker-init', '--', ...effective.args],
    env: processEnv({ env: effective.env, hostname: hidesHostname === true ? undefined : effective.hostname, tty: effective.tty, home: identity.home }),
    cwd: effective.workingDir || '/',
    // Only root holds them from the start; another user gets what a set-uid program may take (bounding set).
    capabilities: { bounding: capabilities, effective: root ? capabilities : [], permitted: root ? capabilities : [] },
    rlimits: rlimitsOf(spec.resources?.ulimits ?? [], host.rlimitCeilings),
    noNewPrivileges: security.noNewPrivileges ?? false,
    ...(spec.resources?.oomScoreAdj === undefined ? {} : { oomScoreAdj: spec.resources.oomScoreAdj }),
  }
}

export function processEnv({ env, hostname, tty, home }: { readonly env: readonly string[]; readonly hostname: string | undefined; readonly tty: boolean; readonly home: string }): string[] {
  const has = (key: string): boolean => env.some((entry) => entry.startsWith(`${key}=`))
  return [...(has('PATH') ? [] : [defaultPath]), ...(hostname === undefined || has('HOSTNAME') ? [] : [`HOSTNAME=${hostname}`]), ...(tty && !has('TERM') ? ['TERM=xterm'] : []), ...env, ...(has('HOME') ? [] : [`HOME=${home}`])]
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
  const { spec, files } = input
  const privileged = spec.security?.privileged ?? false
  const sysAccess = privileged ? 'rw' : 'ro'
  const cgroupAccess = (spec.security?.writableCgroups ?? privileged) ? 'rw' : 'ro'
  const mounts: MountSpec[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
    { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', sysAccess] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [cgroupAccess, 'nosuid', 'noexec', 'nodev'] },
    ...ipcMounts(input),
  ]
  const readonlyRoot = spec.security?.readonlyRootfs === true
  const own = (destination: string, source: string | undefined): MountSpec[] => (source === undefined ? [] : [{ destination, type: 'bind', source, options: ['rbind', 'rprivate', ...(readonlyRoot ? ['ro'] : [])] }])
  const ours = [...own('/etc/resolv.conf', files.resolvConf), ...own('/etc/hostname', files.hostname), ...own('/etc/hosts', files.hosts), ...own('/sbin/docker-init', input.initPath)]
  const overridden = new Set(input.mounts.map(({ target }) => target))
  // A /dev of the user's own is not covered with parts of ours.
  const ownDev = overridden.has('/dev')
  // Ours stand among the user's: a volume at /etc does not take the names away that the container finds others by.
  const late = [...ours.filter(({ destination }) => !overridden.has(destination)), ...input.mounts.map((mount) => userMount(mount, input.host))]
  return [...mounts.filter(({ destination }) => !overridden.has(destination) && !(ownDev && destination.startsWith('/dev/'))), ...late.sort(parentsFirst)]
}

/** Those of one depth stay in the order in which they were named, ours first. */
function parentsFirst(a: MountSpec, b: MountSpec): number {
  return depth(a.destination) - depth(b.destination)
}

function depth(path: string): number {
  return path.split('/').filter((part) => part !== '').length
}

/** /dev/mqueue and /dev/shm belong to the IPC namespace. */
function ipcMounts({ spec, shmPath }: SpecInput): MountSpec[] {
  const mode = spec.ipcMode ?? 'private'
  const queues: MountSpec = { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] }
  if (mode === 'host') return [queues, { destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind', 'rprivate'] }]
  if (mode === 'none') return [queues]
  if (shmPath !== undefined) return [queues, { destination: '/dev/shm', type: 'bind', source: shmPath, options: ['rbind', 'rprivate'] }]
  return [queues, { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${spec.shmSizeBytes ?? defaultShmBytes}`] }]
}

function userMount(mount: LaunchMount, host: HostFacts): MountSpec {
  if (mount.type === 'tmpfs') return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options: tmpfsOptions(mount.options ?? []) }
  const depth = mount.readonlyDepth ?? 'top'
  if (mount.readonly && depth === 'strict' && !host.recursiveReadonly) throw new Fault('invalidArgument', `rro is not supported: kernel version must be 5.12 or later (mount ${mount.target})`)
  const recursive = depth !== 'top' && host.recursiveReadonly
  const propagation = mount.propagation === '' ? 'rprivate' : mount.propagation
  const readonly = mount.readonly ? [recursive ? 'rro' : 'ro'] : []
  return { destination: mount.target, type: 'bind', source: mount.source, options: [mount.nonRecursive === true ? 'bind' : 'rbind', propagation, ...readonly] }
}

function linuxOf(input: SpecInput): LinuxSpec {
  const { spec, host, cgroupsPath } = input
  const security = spec.security ?? {}
  const privileged = security.privileged ?? false
  const capabilities = capabilitiesOf({ privileged, add: security.capAdd ?? [], drop: security.capDrop ?? [] }, host.unavailableCapabilities)
  const seccomp = security.seccomp ?? (privileged ? 'unconfined' : defaultSeccomp(capabilities, host.architecture))
  const masked = security.maskedPaths ?? (privileged ? [] : defaultMaskedPaths)
  const sysctl = checkedSysctls(spec)
  const readonlyPaths = security.readonlyPaths ?? (privileged ? [] : defaultReadonlyPaths)
  return {
    namespaces: namespacesOf(input),
    ...(input.userNamespace === undefined ? {} : { uidMappings: mappingSpec(input.userNamespace.mapping.uids), gidMappings: mappingSpec(input.userNamespace.mapping.gids) }),
    cgroupsPath,
    resources: { ...resourcesOf(spec.resources ?? {}, input.blockIo), devices: deviceRules(input) },
    devices: input.devices.map(({ access, ...device }) => device),
    maskedPaths: masked,
    readonlyPaths,
    ...(Object.keys(sysctl).length === 0 ? {} : { sysctl }),
    ...(seccomp === 'unconfined' || !host.seccomp ? {} : { seccomp }),
    // Where a volume wants to see later mounts of the host, the root must not cut it off.
    ...(input.mounts.some(({ propagation }) => /shared|slave/.test(propagation)) ? { rootfsPropagation: input.mounts.some(({ propagation }) => /shared/.test(propagation)) ? 'rshared' : 'rslave' } : {}),
  }
}

function mappingSpec(ranges: readonly IdRange[]): readonly IdMappingSpec[] {
  return ranges.map(({ containerId, hostId, size }) => ({ containerID: containerId, hostID: hostId, size }))
}

function namespacesOf({ spec, netnsPath, userNamespace, joined, host }: SpecInput): NamespaceSpec[] {
  const namespaces: NamespaceSpec[] = [{ type: 'mount' }]
  if (userNamespace !== undefined) namespaces.push({ type: 'user', path: userNamespace.path })
  if (netnsPath !== undefined) namespaces.push({ type: 'network', path: netnsPath })
  const other = (type: 'pid' | 'ipc' | 'uts', mode: NamespaceMode | 'shareable' | 'none' | undefined, path: string | undefined): void => {
    if (mode === 'host') return
    namespaces.push(path === undefined ? { type } : { type, path })
  }
  other('uts', spec.utsMode, joined.uts)
  other('pid', spec.pidMode, joined.pid)
  other('ipc', spec.ipcMode, joined.ipc)
  if ((spec.cgroupnsMode ?? (host.cgroupMode === 'v2' && spec.security?.privileged !== true ? 'private' : 'host')) === 'private') namespaces.push({ type: 'cgroup' })
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
  return [...defaultDeviceRules, ...devices.map(({ type, major, minor, access }) => ({ allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access })), ...(spec.deviceRules ?? []).map((rule) => ({ allow: true, ...rule }))]
}
