/**
 * `Containers`: containers with names, life cycles, restart policies, logs, exec and attach. Docker's HTTP room and the pods are
 * both callers; they translate their own words into `ContainerSpec` and back.
 *
 *     const { id } = await containers.create({ namespace: 'docker', name: 'web', image: 'busybox', process: { command: ['httpd', '-f'] } })
 *     const waiting = await containers.wait(id, 'next-exit')      // registered before the start: an instant exit is not missed
 *     const session = await containers.attach(id, { stdin: true, stdout: true, stderr: true, stream: true, logs: false })
 *     await containers.start(id)
 *     for await (const { channel, data } of session.output) …      // ends when the container does
 *     const { exitCode } = await waiting.result
 *     await containers.remove(id)
 *
 * Every method that takes a `ref` accepts an id, a unique id prefix, or a name (with or without a leading slash) and looks in
 * `docker` and `k8s` alike; lists show one namespace. Commands on one container run one after another.
 *
 * Faults: `notFound` (`No such container: REF`), `conflict` (`You cannot …: Container ID is not running`; a name in use),
 * `invalidArgument` (spec), and what `Images`, `Networks`, `Volumes`, `Runtime` refuse. A start that the runtime refused has
 * `details.exitCode` 126 or 127 and Docker's words in its message, because the docker CLI reads them.
 */
import type { Readable, Writable } from 'node:stream'
import type { HealthcheckConfig, ImageId } from './images.ts'
import type { Endpoint, EndpointSpec, PortBinding } from './networks.ts'
import type { SeccompSpec } from './runtime-spec.ts'
import type { OutputChannel, RuntimeStats, TerminalSize } from './runtime.ts'
import type { PathStat, SnapshotChange } from './snapshots.ts'

/** 64 hex digits. */
export type ContainerId = string
export type ContainerNamespace = 'docker' | 'k8s'

// ---- what is asked for ---------------------------------------------------------------------------------------------

/** A container as its creator wants it. Everything optional has the default that `docker run IMAGE` has. */
export interface ContainerSpec {
  readonly namespace: ContainerNamespace
  /** Generated when absent. `[a-zA-Z0-9][a-zA-Z0-9_.-]+`. */
  readonly name?: string
  /** As the user wrote it; resolved once, at creation. */
  readonly image: string
  readonly platform?: string
  readonly process?: ContainerProcess
  readonly hostname?: string
  readonly domainname?: string
  readonly labels?: Readonly<Record<string, string>>
  /** `80/tcp`; the image's are added. */
  readonly exposedPorts?: readonly string[]
  readonly mounts?: readonly ContainerMount[]
  readonly network?: ContainerNetworking
  readonly restart?: RestartPolicy
  readonly autoRemove?: boolean
  /** A name (`SIGTERM`, `TERM`) or number. Default: the image's, else SIGTERM. */
  readonly stopSignal?: string
  readonly stopTimeoutSeconds?: number
  readonly resources?: ContainerResources
  readonly security?: ContainerSecurity
  /** Runs a small init as pid 1 that reaps and forwards signals. */
  readonly init?: boolean
  readonly pidMode?: NamespaceMode
  readonly ipcMode?: IpcMode
  readonly utsMode?: NamespaceMode
  /** `host`: its ids are the machine's, also where the engine remaps those of others. */
  readonly usernsMode?: 'host'
  /** Absent: private on cgroup v2, the host's otherwise. */
  readonly cgroupnsMode?: 'private' | 'host'
  readonly shmSizeBytes?: number
  readonly sysctls?: Readonly<Record<string, string>>
  readonly devices?: readonly { readonly hostPath: string; readonly containerPath: string; readonly permissions: string }[]
  /** Beyond the devices themselves: `c 42:* rwm`. */
  readonly deviceRules?: readonly DeviceRule[]
  /** `--gpus`: no driver is known, so a start refuses them. */
  readonly deviceRequests?: readonly { readonly driver: string; readonly capabilities: readonly (readonly string[])[] }[]
  /** Told to the OCI runtime. */
  readonly annotations?: Readonly<Record<string, string>>
  /** Lines for /etc/hosts: `name:address`. */
  readonly extraHosts?: readonly string[]
  readonly dns?: { readonly servers?: readonly string[]; readonly search?: readonly string[]; readonly options?: readonly string[] }
  readonly healthcheck?: HealthcheckConfig
  /** What becomes of it when its health fails (docs/decisions/0007). Default: nothing. */
  readonly healthOnFailure?: HealthFailureAction
  readonly log?: { readonly driver: LogDriver; readonly options?: Readonly<Record<string, string>> }
  /** Where the CRI log goes instead of the container's own folder (pods: /var/log/pods/…). */
  readonly logPath?: string
  /** Path below the instance's cgroup root, e.g. `kubepods/burstable/pod<uid>`; default `docker`. */
  readonly cgroupParent?: string
  /** The creator's own JSON, persisted and given back untouched (Docker keeps Config and HostConfig here). */
  readonly extension?: Readonly<Record<string, unknown>>
}

export interface ContainerProcess {
  /** Absent: the image's. Empty: none. */
  readonly entrypoint?: readonly string[]
  /** Absent: the image's, unless `entrypoint` is given. */
  readonly command?: readonly string[]
  /** `KEY=value`; on top of the image's. A `KEY` alone removes the image's. */
  readonly env?: readonly string[]
  readonly workingDir?: string
  /** `user`, `uid`, `user:group`, `uid:gid`; names are looked up in the container's own /etc/passwd and /etc/group. */
  readonly user?: string
  readonly tty?: boolean
  readonly stdin?: 'none' | 'once' | 'open'
  readonly consoleSize?: TerminalSize
}

export type LogDriver = 'json-file' | 'local' | 'none' | 'syslog' | 'journald'

export type ContainerMount =
  | {
      readonly type: 'bind'
      readonly source: string
      readonly target: string
      readonly readonly?: boolean
      readonly propagation?: string
      /** `-v` makes a missing source; `--mount` refuses. */
      readonly createSource?: boolean
      readonly nonRecursive?: boolean
      readonly readonlyDepth?: ReadonlyDepth
      /** The options as `-v` was given them, to be shown again. */
      readonly mode?: string
    }
  | {
      readonly type: 'volume'
      /** Absent: an anonymous volume. */
      readonly name?: string
      readonly target: string
      readonly readonly?: boolean
      readonly noCopy?: boolean
      readonly driver?: string
      readonly driverOptions?: Readonly<Record<string, string>>
      readonly labels?: Readonly<Record<string, string>>
      /** A folder or file of the volume instead of the whole; links never lead out of the volume. */
      readonly subpath?: string
      readonly readonlyDepth?: ReadonlyDepth
      readonly mode?: string
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly options?: readonly string[] }
  /** Another image's files, or a folder or file of them (`subpath`), always read-only. */
  | { readonly type: 'image'; readonly source: string; readonly target: string; readonly subpath?: string }

export type ContainerNetworking =
  /** Docker networks by name or id; the first is the primary one, whose endpoint publishes `ports`. `default` is `bridge`. */
  | { readonly mode: 'networks'; readonly endpoints: readonly { readonly network: string; readonly spec?: EndpointSpec }[]; readonly ports?: readonly PortBinding[]; readonly publishAll?: boolean; /** Containers of the default bridge whose address and environment this one is told. */ readonly links?: readonly ContainerLink[] }
  | { readonly mode: 'none' }
  | { readonly mode: 'host' }
  /** Shares another container's network namespace, hosts and resolv.conf. */
  | { readonly mode: 'container'; readonly ref: string }
  /** Joins namespaces that the caller owns (a pod's); `netnsPath` 'host' is the machine's own. Files, where given, are bound over /etc/hosts, /etc/resolv.conf, /etc/hostname. */
  | { readonly mode: 'sandbox'; readonly netnsPath: string; readonly hostsPath?: string; readonly resolvConfPath?: string; readonly hostnamePath?: string }

/** What `ro` covers (absent: `top`): also the mounts below (`recursive`, where the kernel can), nothing less than them (`strict`), or the top one alone. */
export type ReadonlyDepth = 'recursive' | 'strict' | 'top'

export interface ContainerLink {
  readonly containerId: ContainerId
  readonly name: string
  readonly alias: string
}

/** `{ path }` joins a pinned namespace. */
export type NamespaceMode = 'private' | 'host' | { readonly container: string } | { readonly path: string }

/** `shareable`: others may join it and its /dev/shm. `none`: private and without /dev/shm. */
export type IpcMode = NamespaceMode | 'shareable' | 'none'

export interface DeviceRule {
  readonly type: 'a' | 'b' | 'c'
  /** Absent: every number. */
  readonly major?: number
  readonly minor?: number
  readonly access: string
}

/** A device of the host by its path. */
export interface DeviceRate {
  readonly path: string
  /** Bytes or operations per second. */
  readonly rate: number
}

export type HealthFailureAction = 'none' | 'kill' | 'restart' | 'stop'

export type RestartPolicy =
  | { readonly name: 'no' }
  | { readonly name: 'always' }
  | { readonly name: 'unless-stopped' }
  /** 0: without limit. */
  | { readonly name: 'on-failure'; readonly maximumRetryCount: number }

export interface ContainerResources {
  readonly memoryBytes?: number
  readonly memoryReservationBytes?: number
  /** Memory plus swap; -1: without limit. */
  readonly memorySwapBytes?: number
  readonly memorySwappiness?: number
  readonly oomKillDisable?: boolean
  /** 1.5 CPUs = 1_500_000_000. Excludes quota and period. */
  readonly nanoCpus?: number
  readonly cpuShares?: number
  readonly cpuQuotaUs?: number
  readonly cpuPeriodUs?: number
  readonly cpusetCpus?: string
  readonly cpusetMems?: string
  /** -1 or 0: without limit. */
  readonly pidsLimit?: number
  readonly cpuRealtimeRuntimeUs?: number
  readonly cpuRealtimePeriodUs?: number
  /** 10 to 1000. */
  readonly blkioWeight?: number
  readonly blkioWeightDevices?: readonly { readonly path: string; readonly weight: number }[]
  readonly blkioReadBps?: readonly DeviceRate[]
  readonly blkioWriteBps?: readonly DeviceRate[]
  readonly blkioReadIops?: readonly DeviceRate[]
  readonly blkioWriteIops?: readonly DeviceRate[]
  readonly oomScoreAdj?: number
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
}

export interface ContainerSecurity {
  readonly privileged?: boolean
  /** Absent: as `privileged`. */
  readonly writableCgroups?: boolean
  /** Names with or without CAP_, or ALL. */
  readonly capAdd?: readonly string[]
  readonly capDrop?: readonly string[]
  readonly readonlyRootfs?: boolean
  readonly noNewPrivileges?: boolean
  /** Absent: Docker's default profile (privileged: none). */
  readonly seccomp?: 'unconfined' | SeccompSpec
  readonly groupAdd?: readonly string[]
  /** Absent: Docker's defaults. Empty: none. */
  readonly maskedPaths?: readonly string[]
  readonly readonlyPaths?: readonly string[]
}

// ---- what is ---------------------------------------------------------------------------------------------------------

export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'

/** Frozen: a later change gives a new view. */
export interface Container {
  readonly id: ContainerId
  /** Without slash. */
  readonly name: string
  readonly spec: ContainerSpec
  readonly imageId: ImageId
  readonly createdAtNs: bigint
  readonly state: ContainerState
  /** What really runs: entrypoint and command of spec and image joined. */
  readonly effective: { readonly args: readonly string[]; /** Null: none. */ readonly entrypoint: readonly string[] | null; readonly command: readonly string[] | null; readonly env: readonly string[]; /** Empty: the root. */ readonly workingDir: string; readonly user: string; readonly tty: boolean; readonly labels: Readonly<Record<string, string>>; readonly hostname: string; readonly stopSignal: string; readonly exposedPorts: readonly string[] }
  /** Volumes with their names, binds with their sources, as mounted or to be mounted. */
  readonly mounts: readonly ResolvedMount[]
  readonly endpoints: readonly Endpoint[]
  readonly netnsPath: string | undefined
  readonly execIds: readonly string[]
  readonly paths: { readonly log: string; /** Holds its root while it runs. */ readonly rootfs: string; readonly hosts: string; readonly hostname: string; readonly resolvConf: string }
}

export interface ResolvedMount {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'image'
  /** A volume's, or the image's as it was asked for. */
  readonly name?: string
  /** Of an image. */
  readonly imageId?: ImageId
  readonly source: string
  readonly target: string
  readonly driver?: string
  readonly readonly: boolean
  readonly propagation: string
  /** As `-v` was given it. */
  readonly mode?: string
}

export interface ContainerState {
  readonly status: ContainerStatus
  readonly pid: number
  readonly exitCode: number
  readonly oomKilled: boolean
  /** Why the last start failed, in Docker's words. */
  readonly error: string
  /** 0n: never. */
  readonly startedAtNs: bigint
  readonly finishedAtNs: bigint
  readonly restartCount: number
  readonly health?: ContainerHealth
}

export interface ContainerHealth {
  readonly status: 'starting' | 'healthy' | 'unhealthy'
  readonly failingStreak: number
  readonly log: readonly { readonly startedAtNs: bigint; readonly endedAtNs: bigint; readonly exitCode: number; readonly output: string }[]
}

// ---- capabilities ------------------------------------------------------------------------------------------------------

export interface ContainerCatalog {
  inspect(ref: string): Promise<Container>
  /** Newest first. `namespace`: `docker` unless told otherwise. */
  list(query?: { readonly namespace?: ContainerNamespace | 'all' }): readonly Container[]
}

export interface ContainerLifecycle {
  create(spec: ContainerSpec): Promise<{ readonly id: ContainerId; readonly warnings: readonly string[] }>
  /** `'already'`: it was running (Docker's 304). */
  start(ref: string): Promise<'started' | 'already'>
  /** Stop signal, then SIGKILL when the grace has passed (-1: never). Default grace: the spec's, else 10 s. `'already'`: was not running. */
  stop(ref: string, options?: { readonly signal?: string; readonly graceSeconds?: number }): Promise<'stopped' | 'already'>
  restart(ref: string, options?: { readonly signal?: string; readonly graceSeconds?: number }): Promise<void>
  kill(ref: string, signal: string): Promise<void>
  pause(ref: string): Promise<void>
  unpause(ref: string): Promise<void>
  rename(ref: string, name: string): Promise<void>
  /** Takes the link `PARENT/ALIAS` away; both containers stay. */
  unlink(ref: string): Promise<void>
  update(ref: string, change: { readonly resources?: ContainerResources; readonly restart?: RestartPolicy }): Promise<{ readonly warnings: readonly string[] }>
  /** `force` kills; `volumes` removes its anonymous volumes. */
  remove(ref: string, options?: { readonly force?: boolean; readonly volumes?: boolean }): Promise<void>
  connectNetwork(ref: string, network: string, spec?: EndpointSpec): Promise<void>
  disconnectNetwork(ref: string, network: string, options?: { readonly force?: boolean }): Promise<void>
}

export type WaitCondition = 'not-running' | 'next-exit' | 'removed'

export interface ContainerWaiter {
  /** Registered when the call resolves; `result` then survives the container's removal. `signal` gives up. */
  wait(ref: string, condition: WaitCondition, signal?: AbortSignal): Promise<{ readonly result: Promise<WaitResult> }>
}

export interface WaitResult {
  readonly exitCode: number
  /** Why it could not be started or removed. */
  readonly error?: string
}

export interface OutputChunk {
  readonly channel: OutputChannel
  readonly data: Buffer
}

export interface StreamSession extends Disposable {
  /** Ends after the last byte. Must be read: who reads nothing for 30 s is cut off with `resourceExhausted`. */
  readonly output: AsyncIterable<OutputChunk>
  /** `end()` half-closes. Undefined when no stdin was asked for or the container has none. */
  readonly stdin: Writable | undefined
  /** Leaves; the container runs on. */
  close(): void
}

export interface ContainerStreams {
  /** `stream`: what comes; `logs`: what was. Allowed before the start and while it runs. */
  attach(ref: string, options: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean; readonly stream: boolean; readonly logs: boolean }): Promise<StreamSession>
  resize(ref: string, size: TerminalSize): Promise<void>
  logs(ref: string, query: LogQuery): Promise<AsyncIterable<LogEntry>>
}

export interface LogQuery {
  readonly stdout: boolean
  readonly stderr: boolean
  readonly follow: boolean
  /** Last lines only; absent: all. */
  readonly tail?: number
  readonly sinceNs?: bigint
  readonly untilNs?: bigint
  readonly signal: AbortSignal
}

/** One line with its line feed (a partial line without). */
export interface LogEntry {
  readonly channel: OutputChannel
  readonly timeNs: bigint
  readonly data: Buffer
}

export interface ExecSpec {
  readonly command: readonly string[]
  readonly env?: readonly string[]
  readonly workingDir?: string
  readonly user?: string
  readonly privileged?: boolean
  readonly tty?: boolean
  readonly stdin?: boolean
  /** False: output is discarded (`docker exec -d`). */
  readonly attachOutput?: boolean
  /** Of the output only this; both unless told otherwise. */
  readonly channels?: readonly OutputChannel[]
  readonly consoleSize?: TerminalSize
  /** e.g. `ctrl-p,ctrl-q`, which also holds without. */
  readonly detachKeys?: string
}

export interface ExecState {
  readonly id: string
  readonly containerId: ContainerId
  readonly spec: ExecSpec
  readonly running: boolean
  readonly pid: number
  /** Undefined until it ended. */
  readonly exitCode: number | undefined
}

export interface ContainerExecs {
  createExec(ref: string, spec: ExecSpec): Promise<{ readonly execId: string }>
  /** Refuses, without side effects, what `startExec` would refuse by state: asked before a connection is taken over for streams. */
  requireStartableExec(execId: string): ExecState
  /** Resolves when it runs. A session when output or stdin is attached. */
  startExec(execId: string): Promise<{ readonly session: StreamSession | undefined; readonly exited: Promise<number> }>
  resizeExec(execId: string, size: TerminalSize): Promise<void>
  /** Kept for five minutes after it ended. */
  inspectExec(execId: string): ExecState
}

export interface ContainerInsight {
  /** One sample now. A stopped container gives undefined. */
  stats(ref: string): Promise<RuntimeStats | undefined>
  /** Process table as `ps` prints it inside, with the host's pids. Arguments are those of `ps`. */
  top(ref: string, psArgs: string): Promise<{ readonly titles: readonly string[]; readonly processes: readonly (readonly string[])[] }>
  changes(ref: string): Promise<readonly SnapshotChange[]>
  sizes(ref: string): Promise<{ readonly writableBytes: number; readonly totalBytes: number }>
}

export interface ArchiveWrite {
  readonly noOverwriteDirNonDir?: boolean
  readonly copyUidGid?: boolean
  readonly signal?: AbortSignal
}

export interface ContainerFiles {
  statPath(ref: string, path: string): Promise<PathStat>
  readArchive(ref: string, path: string, options?: { readonly signal?: AbortSignal }): Promise<{ readonly stat: PathStat; readonly tar: Readable }>
  /** `copyUidGid`: everything belongs to the container's user afterwards. */
  writeArchive(ref: string, path: string, tar: Readable, options?: ArchiveWrite): Promise<void>
  exportRoot(ref: string, options?: { readonly signal?: AbortSignal }): Promise<Readable>
}

/** Told of every change of every container, in order, after it was stored. Level-triggered readers need only the id. */
export interface ContainerObserver {
  onChange(listener: (container: Container, cause: 'created' | 'started' | 'exited' | 'removed' | 'changed') => void): Disposable
}

export interface Containers extends ContainerCatalog, ContainerLifecycle, ContainerWaiter, ContainerStreams, ContainerExecs, ContainerInsight, ContainerFiles, ContainerObserver {}
