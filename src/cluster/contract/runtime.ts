/**
 * What the node agent asks of whatever runs its pods. Shaped after CRI (kubernetes/cri-api, `runtime.v1`), as plain data and
 * promises: no gRPC. The engine's `pods` folder satisfies it on a real machine and `cluster/node/simulated` in memory;
 * `apps/` injects one of them. The agent needs nothing else to run a pod.
 *
 * The life of a pod, in calls:
 *
 *     const image = await runtime.pull('nginx:1.27', {})                    // once per node
 *     const sandbox = await runtime.runSandbox({ pod, attempt: 0, … })       // network, ipc, uts namespaces and an address
 *     const id = await runtime.createContainer(sandbox.id, { name: 'web', attempt: 0, image: image.id, … })
 *     await runtime.startContainer(id)
 *     for await (const event of runtime.events(signal)) …                    // { kind: 'exited', containerId, … }
 *     await runtime.stopContainer(id, { graceMs: 30_000 })                   // SIGTERM, then SIGKILL after the grace
 *     await runtime.removeContainer(id); await runtime.stopSandbox(sandbox.id); await runtime.removeSandbox(sandbox.id)
 *
 * Rules every implementation keeps (`runtime.suite.ts` checks them):
 * - **Nothing dies with the caller.** Sandboxes and containers outlive the agent's process. After a restart `sandboxes()` and
 *   `containers()` list them all, running or exited, with the labels and annotations they were created with: that, and the
 *   API, is all the agent rebuilds its state from. So an exited container stays listed until `removeContainer`.
 * - **Stop, remove are idempotent.** An id that is unknown or already stopped is success; every other call answers
 *   an unknown id with `notFound`.
 * - **Names are unique**: (pod uid, attempt) for sandboxes, (sandbox, name, attempt) for containers; a second create is `alreadyExists`.
 * - **Events are hints.** They may repeat, and `resync` says that some were lost; the lists are the truth.
 * - Times are milliseconds since the epoch (wall clock), sizes are bytes. Faults come from `base/fault.ts`.
 */
import type { Duplex, Readable, Writable } from 'node:stream'

export interface PodRuntime {
  /** What runs the containers, e.g. `{ name: 'berth', version: '0.1.0' }`. Becomes nodeInfo's `berth://0.1.0`. */
  version(): Promise<{ readonly name: string; readonly version: string }>

  /**
   * Makes the pod's namespaces, gives it an address and publishes its host ports. Nothing runs in it yet.
   * `alreadyExists`: this pod uid has a sandbox of the same attempt. `unavailable`: no address left, or the network is not up.
   */
  runSandbox(config: SandboxConfig): Promise<SandboxStatus>
  /** Kills whatever still runs in it and releases its address. It stays listed as `notReady` until removed. */
  stopSandbox(id: string): Promise<void>
  /** Stops it first if need be and removes its containers too. */
  removeSandbox(id: string): Promise<void>
  sandbox(id: string): Promise<SandboxStatus>
  sandboxes(): Promise<readonly SandboxStatus[]>

  /**
   * Prepares a container (root file system, OCI bundle); nothing of it runs. Answers its id (64 hex digits).
   * `notFound`: the sandbox or the image. `invalidArgument`: no command in the container nor in its image, an unknown user, a mount source missing.
   */
  createContainer(sandboxId: string, config: ContainerConfig): Promise<string>
  /** Starts it. A command that cannot be executed is `invalidArgument`, and the container is then listed as exited with code 127 or 126 (128 when unclear). */
  startContainer(id: string): Promise<void>
  /** Sends the stop signal (the image's, SIGTERM unless it says otherwise), SIGKILL after `graceMs`; resolves when it has exited. `graceMs: 0` kills at once. */
  stopContainer(id: string, options: { readonly graceMs: number }): Promise<void>
  /** Removes an exited or never started container; a running one is killed first. Its log file stays. */
  removeContainer(id: string): Promise<void>
  container(id: string): Promise<ContainerStatus>
  containers(): Promise<readonly ContainerStatus[]>
  /** Changes limits of a running container in place. */
  updateResources(id: string, resources: ContainerResources): Promise<void>
  /** The agent has renamed the container's log file: write to a new one at the same path from now on. */
  reopenLog(id: string): Promise<void>

  /**
   * Runs a command in a running container to its end. Output is cut off at `maxOutputBytes` each (default 1 MiB).
   * `timeout`: it ran longer than `timeoutMs` and was killed. `conflict`: the container does not run. `invalidArgument`: no such command.
   */
  runCommand(id: string, command: readonly string[], options?: { readonly timeoutMs?: number; readonly maxOutputBytes?: number }): Promise<ExecResult>
  /** Starts a command with streams. The same faults as `runCommand`, except that nothing limits its time. */
  exec(id: string, options: ExecOptions): Promise<Session>
  /** Joins the streams of the container's first process. `stdin` needs a container created with `stdin: true`. Closing the session leaves the process alone. */
  attach(id: string, options: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean }): Promise<Session>
  /** A TCP connection to 127.0.0.1:`port` inside the sandbox's network namespace (port-forward). `unavailable`: nothing listens there. */
  dial(sandboxId: string, port: number): Promise<Duplex>

  /** Resolves a reference or an image id among the images on this machine; undefined when it is not there. */
  imageStatus(reference: string): Promise<RuntimeImage | undefined>
  /** Fetches an image. `notFound`: no such image; `permissionDenied`, `unauthenticated`: the registry refuses; `unavailable`: it cannot be reached. */
  pull(reference: string, options: PullOptions): Promise<RuntimeImage>
  images(): Promise<readonly RuntimeImage[]>
  /** Idempotent. `conflict`: a container uses it. */
  removeImage(reference: string): Promise<void>

  /**
   * What happens to containers and sandboxes from the moment of the call, until `signal` aborts (then it ends without a fault).
   * The buffer behind it is bounded: a slow reader gets one `resync` in place of what was dropped.
   */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>
}

/** Which pod something belongs to. `uid` is the API object's, or the hash of the file for a static pod. */
export interface PodIdentity {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface SandboxConfig {
  readonly pod: PodIdentity
  /** 0 for the pod's first sandbox; one more each time it has to be made anew. */
  readonly attempt: number
  readonly hostname: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** The pod uses the node's own namespace of this kind. With `hostNetwork` the sandbox has the node's address. */
  readonly hostNetwork: boolean
  readonly hostPid: boolean
  readonly hostIpc: boolean
  /** All containers see each other's processes. */
  readonly shareProcessNamespace: boolean
  /** Contents of `/etc/resolv.conf` in every container. Undefined: a copy of the node's. */
  readonly dns?: DnsConfig
  /** Kernel parameters, e.g. `net.ipv4.ip_unprivileged_port_start`. */
  readonly sysctls: Readonly<Record<string, string>>
  /** Absolute; containers log to `logDirectory/logPath`. Upstream's layout: `…/pods/NAMESPACE_NAME_UID`. The agent makes it. */
  readonly logDirectory: string
  /** Cgroup under which the containers stand, relative to the instance's own, e.g. `kubepods/burstable/pod<uid>`. */
  readonly cgroupParent: string
  readonly hostPorts: readonly HostPort[]
}

export interface DnsConfig {
  readonly nameservers: readonly string[]
  readonly searches: readonly string[]
  /** As written in resolv.conf: `ndots:5`. */
  readonly options: readonly string[]
}

export interface HostPort {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  /** Undefined: every address of the node. */
  readonly hostIp?: string
}

export interface SandboxStatus {
  readonly id: string
  readonly pod: PodIdentity
  readonly attempt: number
  /** `notReady`: stopped, or its namespaces are gone (the machine was restarted). */
  readonly state: 'ready' | 'notReady'
  readonly createdAtMs: number
  /** The pod's addresses, the primary one first. Empty with `hostNetwork` (the agent knows the node's) and once stopped. */
  readonly ips: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface ContainerConfig {
  readonly name: string
  /** How often a container of this name has been made before in this pod: 0, 1, … Names its log file too. */
  readonly attempt: number
  /** Image id (as `RuntimeImage.id`) or a reference that is on this machine. */
  readonly image: string
  /** The reference as the pod names it; answered in `ContainerStatus.imageReference`. */
  readonly imageReference: string
  /** Replaces the image's ENTRYPOINT (and drops its CMD). Undefined: the image's. */
  readonly command?: readonly string[]
  /** Replaces the image's CMD. Undefined: the image's, unless `command` is given. */
  readonly args?: readonly string[]
  /** Undefined: the image's, or `/`. It is made when missing. */
  readonly workingDir?: string
  /** Added to the image's environment, replacing equal names. A later entry wins over an earlier one of the same name. */
  readonly env: readonly { readonly name: string; readonly value: string }[]
  readonly mounts: readonly ContainerMount[]
  readonly resources: ContainerResources
  readonly security: ContainerSecurity
  readonly tty: boolean
  /** Keeps standard input open; otherwise it is /dev/null. */
  readonly stdin: boolean
  /** Closes standard input when the first attached client leaves. */
  readonly stdinOnce: boolean
  /** Relative to the sandbox's `logDirectory`: `web/0.log`. CRI log format (`TIME stdout F TEXT`); its folder is made by the runtime. */
  readonly logPath: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** `SIGUSR1` …; undefined: the image's, or SIGTERM. */
  readonly stopSignal?: string
}

/** A bind mount. The agent has prepared `hostPath`; a file is mounted onto a file. `containerPath` is made when missing, links in it stay inside the root. */
export interface ContainerMount {
  readonly hostPath: string
  readonly containerPath: string
  readonly readOnly: boolean
  readonly propagation: 'private' | 'hostToContainer' | 'bidirectional'
}

/** Undefined or 0 means unlimited (default for `cpuShares`: 2). */
export interface ContainerResources {
  /** Relative weight from the CPU request: 1024 per core, at least 2 (cgroup v1 `cpu.shares`; translated for v2). */
  readonly cpuShares?: number
  /** CPU time per period from the CPU limit, in microseconds. */
  readonly cpuQuotaUs?: number
  readonly cpuPeriodUs?: number
  readonly memoryLimitBytes?: number
  readonly oomScoreAdj?: number
  readonly pidsLimit?: number
}

export interface ContainerSecurity {
  readonly privileged: boolean
  readonly readOnlyRootFilesystem: boolean
  /** `no_new_privs`. */
  readonly noNewPrivileges: boolean
  /** Undefined: the image's USER. */
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly supplementalGroups: readonly number[]
  /** Added to and taken from the default set; names without `CAP_`, or `ALL`. */
  readonly capabilities: { readonly add: readonly string[]; readonly drop: readonly string[] }
  readonly seccomp: { readonly type: 'RuntimeDefault' | 'Unconfined' } | { readonly type: 'Localhost'; readonly path: string }
  /** `/proc` paths are not masked (`procMount: Unmasked`). */
  readonly unmaskedProc: boolean
}

export interface ContainerStatus {
  readonly id: string
  readonly sandboxId: string
  readonly pod: PodIdentity
  readonly name: string
  readonly attempt: number
  /** `unknown`: it was running and nobody can say any more (its conmon died). The agent kills and replaces it. */
  readonly state: 'created' | 'running' | 'exited' | 'unknown'
  readonly createdAtMs: number
  /** Undefined until started. */
  readonly startedAtMs?: number
  /** The three of an exited container. `exitCode` is 128 + n when signal n ended it. */
  readonly finishedAtMs?: number
  readonly exitCode?: number
  readonly oomKilled?: boolean
  /** Why it could not be started, for people. */
  readonly message?: string
  readonly imageId: string
  readonly imageReference: string
  /** Absolute path of its log file. */
  readonly logPath: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface ExecResult {
  readonly exitCode: number
  readonly stdout: Buffer
  readonly stderr: Buffer
}

export interface ExecOptions {
  readonly command: readonly string[]
  /** With a terminal there is no separate stderr. */
  readonly tty: boolean
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
}

/** A process's streams. A stream that was not asked for is undefined. All are flow-controlled and bounded. */
export interface Session {
  /** Ending it closes the process's standard input. */
  readonly stdin?: Writable
  readonly stdout?: Readable
  readonly stderr?: Readable
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void>
  /** Exit code; 128 + n for signal n. Settles after stdout and stderr have ended. For `attach`: of the container. */
  readonly exit: Promise<number>
  /** Leaves: ends all streams; a command started by `exec` is killed. */
  close(): void
}

export interface RuntimeImage {
  /** `sha256:…` of the image configuration. */
  readonly id: string
  readonly repoTags: readonly string[]
  readonly repoDigests: readonly string[]
  readonly sizeBytes: number
  /** USER of the image: a number, a name, or undefined for root. The agent checks `runAsNonRoot` with it. */
  readonly user?: { readonly uid: number } | { readonly name: string }
}

export interface PullOptions {
  /** From the pod's image pull secrets. */
  readonly auth?: { readonly username: string; readonly password: string }
  readonly signal?: AbortSignal
}

export type RuntimeEvent =
  | { readonly kind: 'started' | 'exited' | 'removed'; readonly podUid: string; readonly sandboxId: string; readonly containerId: string }
  | { readonly kind: 'sandboxStopped'; readonly podUid: string; readonly sandboxId: string }
  | { readonly kind: 'resync' }
