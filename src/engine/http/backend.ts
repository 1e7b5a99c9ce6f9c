/**
 * What the Docker Engine API needs of the engine: the consumer owns the interface. `openEngine` fulfils it; tests fulfil it with fakes.
 */
import type { Duplex, Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { TreeEntry } from '../build/tree.ts'
import type { BuildCall, BuildContext, BuildDialect, BuildEntitlement, BuildMessage, BuildOrigin, BuildResult, CacheExport, CacheImport, NamedContext } from '../contract/builds.ts'
import type { Containers } from '../contract/containers.ts'
import type { Events } from '../contract/events.ts'
import type { ContainerDefaults, Images, RegistryAuth } from '../contract/images.ts'
import type { NetworkCatalog } from '../contract/networks.ts'
import type { Runtime } from '../contract/runtime.ts'
import type { SnapshotReader } from '../contract/snapshots.ts'
import type { VolumeCatalog } from '../contract/volumes.ts'
import type { Sessions } from '../session/sessions.ts'

export interface EngineBackend {
  readonly containers: Containers
  readonly images: Images
  readonly networks: NetworkCatalog
  readonly volumes: VolumeCatalog & { users(name: string): readonly string[] }
  readonly snapshots: Pick<SnapshotReader, 'folders'>
  readonly events: Events
  /** What clients of BuildKit's kind offer to their builds. */
  readonly sessions: Sessions
  /** Undefined: `docker build` is refused. */
  readonly builder: ImageBuilder | undefined
  /** `docker commit`. */
  readonly committer: ContainerCommitter | undefined
  /** Told when a client shows up that is about to ask for something. */
  readonly runtime: Pick<Runtime, 'expect'>
  readonly system: EngineSystem
  readonly clock: Clock
  readonly log: Logger
}

/** Facts for `docker version` and `docker info` that do not change while the engine runs. */
export interface EngineSystem {
  readonly engineVersion: string
  readonly gitCommit: string
  readonly buildTime: string
  /** `instance` or a stable random id of this engine. */
  readonly id: string
  readonly hostname: string
  readonly kernelVersion: string
  readonly operatingSystem: string
  /** As os-release(5) has it, e.g. `12`; empty where it does not say. */
  readonly operatingSystemVersion: string
  /** What holds the state, e.g. `extfs`. */
  readonly fileSystem: string
  /** For `--init`; empty where none is installed. */
  readonly initBinary: string
  /** `amd64`, `arm64`. */
  readonly architecture: 'amd64' | 'arm64'
  readonly cpus: number
  readonly memoryBytes: number
  readonly cgroupMode: 'v1' | 'hybrid' | 'v2'
  readonly seccomp: boolean
  /** Containers have ids of their own, unless they ask for the machine's. */
  readonly remapsUsers: boolean
  readonly rootDir: string
  readonly runtime: { readonly name: string; readonly version: string; readonly path: string; readonly conmonVersion: string }
  /** Addresses asked before Docker Hub. */
  readonly registryMirrors: readonly string[]
  /** Hosts and address ranges. */
  readonly insecureRegistries: readonly string[]
}

/** `POST /build`: implemented by `engine/build`. */
export interface ImageBuilder {
  /**
   * Builds, or answers what is asked of the Dockerfile. A refusal is a Fault whose message names `Dockerfile:line` where there is one. What
   * is not built yet is refused with `unimplemented`.
   */
  build(request: BuildRequest): Promise<BuildResult>
  readonly cacheMounts: BuildCacheMounts
  /** The cached steps and the folders kept for builds to come, for `docker system df`. */
  diskUsage(): Promise<readonly BuildCacheEntry[]>
  /** `docker builder prune`: forgets cached steps and kept folders, the least used first, and frees the layers of steps where no image has them. */
  prune(options: BuildPruneOptions): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }>
}

/** The folders behind `RUN --mount=type=cache`, by the mount's id. */
export interface BuildCacheMounts {
  list(): Promise<readonly { readonly id: string }[]>
  /** Its files as a tar; `notFound` for one that no build has used. */
  export(id: string, signal: AbortSignal): Promise<Readable>
  /** Puts the files of a tar (gzip or zstd or not) into it; made where it is missing. */
  import(id: string, tar: Readable, signal: AbortSignal): Promise<void>
}

/** One cached step of a build, or a folder kept for builds to come: of a cache mount, of a client's context. */
export interface BuildCacheEntry {
  readonly id: string
  /** The step whose layer it lies on; empty where the cache has none. */
  readonly parentId: string
  readonly type: 'regular' | 'exec.cachemount' | 'source.local'
  readonly description: string
  readonly sizeBytes: number
  readonly createdAtNs: bigint
  readonly lastUsedAtNs: bigint
  readonly usageCount: number
  /** A build under way needs it. */
  readonly inUse: boolean
  /** An image has its layer, too. */
  readonly shared: boolean
}

/** Without bounds everything goes that is selected. What a build under way needs stays. */
export interface BuildPruneOptions {
  /** Also what images have. */
  readonly all: boolean
  /** Only these. */
  readonly matches?: (entry: BuildCacheEntry) => boolean
  /** The cache may keep so much whatever else is asked. */
  readonly reservedBytes?: number
  /** The cache may keep no more. */
  readonly maxUsedBytes?: number
  /** So much shall be free on the disk. */
  readonly minFreeBytes?: number
  /** Only what was of no use for so long. */
  readonly unusedForMs?: number
}

export interface BuildRequest {
  readonly context: BuildContext
  /** By lower-case name, `NAME::PLATFORM` where one platform alone is meant; absent: none. */
  readonly namedContexts?: ReadonlyMap<string, NamedContext>
  /** Absent: `build`. */
  readonly call?: BuildCall
  /** Path of the Dockerfile in the context; with `definition` the name it goes by. */
  readonly dockerfile: string
  /** The Dockerfile's text, where it comes apart from the context; that is without what is ignored then. */
  readonly definition?: string
  /** What else the client lends to the build; undefined: it was not asked, or lends nothing. */
  readonly loans?: BuildLoans
  /** Full names with tag. */
  readonly tags: readonly string[]
  readonly buildArgs: Readonly<Record<string, string | null>>
  readonly labels: Readonly<Record<string, string>>
  readonly target: string
  /** True: no step is known before; names of stages: none of theirs. */
  readonly noCache: boolean | readonly string[]
  readonly pull: boolean
  readonly quiet: boolean
  readonly squash: boolean
  /** Removes intermediate containers (always, with `forceRemove` also after a failure). */
  readonly remove: boolean
  readonly forceRemove: boolean
  /** What is built for, as `linux/arm64/v8`; each comes to a result of its own. Empty: the machine's. */
  readonly platforms: readonly string[]
  /** `default`, `none`, `host`, `container:ID`, a network's name. */
  readonly networkMode: string
  readonly extraHosts: readonly string[]
  readonly cacheFrom: readonly CacheImport[]
  readonly cacheTo?: readonly CacheExport[]
  readonly entitlements?: readonly BuildEntitlement[]
  /** Absent: the classic builder's. */
  readonly dialect?: BuildDialect
  /** The root file system of a RUN that fails becomes an image, which is told before the failure. */
  readonly keepFailedRoot?: boolean
  /**
   * Seconds since 1970 that the image and its history bear as their time. Absent: what the build argument `SOURCE_DATE_EPOCH` says, else now.
   */
  readonly sourceDateEpochS?: number
  /** Times of files later than `sourceDateEpochS` become that (`rewrite-timestamp` of BuildKit's exporters). */
  readonly rewriteTimestamps?: boolean
  /** Of the machine that commands see, for BuildKit's clients; absent: `buildkitsandbox`. */
  readonly hostname?: string
  /** Where commands' cgroups stand, below the instance's own; absent: at a place of the builder's. */
  readonly cgroupParent?: string
  readonly shmSizeBytes: number | undefined
  readonly memoryBytes: number | undefined
  readonly cpuShares: number | undefined
  readonly cpuQuotaUs: number | undefined
  readonly cpuPeriodUs: number | undefined
  readonly cpusetCpus: string | undefined
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  /** Takes what was built, in the order of the platforms; it becomes no image then. Undefined: it becomes one. */
  readonly output?: (built: readonly BuiltRoot[]) => Promise<void>
  /** For FROM. `host` is a registry's, or `https://index.docker.io/v1/`. */
  readonly credentials: (host: string) => Promise<RegistryAuth | undefined>
  readonly onMessage: (message: BuildMessage) => void
  readonly signal: AbortSignal
}

/** The root file system of the target stage for one platform, for as long as the output takes. */
export interface BuiltRoot extends BuildOrigin {
  readonly platform: string
  tar(): Promise<Readable>
  /** Parents first, in the order of their paths; the root itself is not among them. */
  files(): Promise<{ readonly entries: Iterable<TreeEntry>; readonly content: (entry: TreeEntry) => Readable }>
}

/** `RUN --mount=type=secret` and `type=ssh`: what stays on the client's machine and out of the image. */
export interface BuildLoans {
  /** Undefined: there is none of that id. */
  secret(id: string): Promise<Buffer | undefined>
  /** Whether an agent of that id may be used. */
  hasAgent(id: string): Promise<boolean>
  /** Joins a connection to the agent; resolves when it has ended. */
  forwardAgent(id: string, connection: Duplex): Promise<void>
}

export interface ContainerCommitter {
  commit(request: {
    readonly container: string
    readonly name: string | undefined
    readonly comment: string
    readonly author: string
    readonly pause: boolean
    /** Dockerfile lines (`CMD …`, `ENV …`). */
    readonly changes: readonly string[]
    /** Stands before what the container was run with. */
    readonly config: ContainerDefaults | undefined
  }): Promise<{ readonly imageId: string }>
}
