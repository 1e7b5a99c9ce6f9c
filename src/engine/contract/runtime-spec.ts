/**
 * The part of the OCI runtime specification (opencontainers/runtime-spec 1.1, `config.md` and `config-linux.md`) that the
 * engine writes. Plain JSON: what is typed here is serialised unchanged to the bundle's `config.json`. Sizes are bytes,
 * times microseconds, as in the specification; a field that is absent is left to the runtime's default.
 */

export interface RuntimeSpec {
  readonly ociVersion: string
  readonly process: ProcessSpec
  readonly root: { readonly path: string; readonly readonly?: boolean }
  readonly hostname?: string
  readonly mounts: readonly MountSpec[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly linux: LinuxSpec
}

export interface ProcessSpec {
  readonly terminal?: boolean
  readonly consoleSize?: { readonly height: number; readonly width: number }
  readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids?: readonly number[]; readonly umask?: number }
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly cwd: string
  readonly capabilities?: CapabilitiesSpec
  readonly rlimits?: readonly { readonly type: string; readonly soft: number; readonly hard: number }[]
  readonly noNewPrivileges?: boolean
  readonly apparmorProfile?: string
  readonly oomScoreAdj?: number
}

export interface CapabilitiesSpec {
  readonly bounding: readonly string[]
  readonly effective: readonly string[]
  readonly permitted: readonly string[]
  readonly inheritable?: readonly string[]
  readonly ambient?: readonly string[]
}

export interface MountSpec {
  /** Absolute path inside the container. */
  readonly destination: string
  readonly type?: string
  readonly source?: string
  readonly options?: readonly string[]
}

export interface NamespaceSpec {
  readonly type: 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup'
  /** Joins the namespace pinned at this path; absent: a new one. The host's is expressed by leaving the entry out. */
  readonly path?: string
}

export interface IdMappingSpec {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

export interface LinuxSpec {
  readonly namespaces: readonly NamespaceSpec[]
  /** Of the user namespace; also where that is given by its path, and the same as there: runc 1.1 and crun 1.8 look here alone. */
  readonly uidMappings?: readonly IdMappingSpec[]
  readonly gidMappings?: readonly IdMappingSpec[]
  readonly devices?: readonly DeviceSpec[]
  readonly cgroupsPath?: string
  readonly resources?: ResourcesSpec
  readonly rootfsPropagation?: string
  readonly seccomp?: SeccompSpec
  readonly sysctl?: Readonly<Record<string, string>>
  readonly maskedPaths?: readonly string[]
  readonly readonlyPaths?: readonly string[]
}

export interface DeviceSpec {
  readonly type: 'c' | 'b' | 'u' | 'p'
  readonly path: string
  readonly major: number
  readonly minor: number
  readonly fileMode?: number
  readonly uid?: number
  readonly gid?: number
}

/** Runtimes translate these v1-shaped resources to cgroup v2 themselves; `unified` is for v2 only. */
export interface ResourcesSpec {
  readonly devices?: readonly { readonly allow: boolean; readonly type?: string; readonly major?: number; readonly minor?: number; readonly access?: string }[]
  readonly memory?: {
    readonly limit?: number
    readonly reservation?: number
    readonly swap?: number
    readonly kernel?: number
    readonly swappiness?: number
    readonly disableOOMKiller?: boolean
  }
  readonly cpu?: {
    readonly shares?: number
    readonly quota?: number
    readonly period?: number
    readonly realtimeRuntime?: number
    readonly realtimePeriod?: number
    readonly cpus?: string
    readonly mems?: string
  }
  readonly pids?: { readonly limit: number }
  readonly blockIO?: {
    readonly weight?: number
    readonly weightDevice?: readonly { readonly major: number; readonly minor: number; readonly weight: number }[]
    readonly throttleReadBpsDevice?: readonly ThrottleSpec[]
    readonly throttleWriteBpsDevice?: readonly ThrottleSpec[]
    readonly throttleReadIOPSDevice?: readonly ThrottleSpec[]
    readonly throttleWriteIOPSDevice?: readonly ThrottleSpec[]
  }
  readonly unified?: Readonly<Record<string, string>>
}

export interface ThrottleSpec {
  readonly major: number
  readonly minor: number
  readonly rate: number
}

export interface SeccompSpec {
  readonly defaultAction: string
  readonly defaultErrnoRet?: number
  readonly architectures?: readonly string[]
  readonly flags?: readonly string[]
  readonly listenerPath?: string
  readonly listenerMetadata?: string
  readonly syscalls?: readonly {
    readonly names: readonly string[]
    readonly action: string
    readonly errnoRet?: number
    readonly args?: readonly { readonly index: number; readonly value: number; readonly valueTwo?: number; readonly op: string }[]
  }[]
}
