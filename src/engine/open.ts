/**
 * Puts the engine together: kernel, blobs and options in; containers, images, networks, volumes, builder and the Docker API's
 * backend out. Only this file knows which implementation stands behind which contract.
 *
 *     await using engine = await openEngine({ kernel, blobs, paths, names, networks, clock, random, log })
 *     const handler = engineHandler(engine)
 *     const server = createServer(handler.request).on('upgrade', handler.upgrade)
 */
import { createHash } from 'node:crypto'
import { access, constants, mkdir, statfs } from 'node:fs/promises'
import { hostname } from 'node:os'
import type { Clock } from '#base/clock.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { Kernel, KernelFacts } from '#linux/contract/kernel.ts'
import { BlobLeases, type BlobRoots } from '#oci/blobs/collect.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import type { RegistryHostsOptions } from '#oci/client/registry-hosts.ts'
import { parseDigest } from '#oci/digest.ts'
import { openBuilder } from './build/builder.ts'
import { openBuildCache } from './build/cache.ts'
import { createCommitter } from './containers/commit.ts'
import { readHostFacts, type HostFacts } from './containers/host.ts'
import { openContainers } from './containers/manager.ts'
import type { Containers } from './contract/containers.ts'
import type { Events } from './contract/events.ts'
import type { Images } from './contract/images.ts'
import type { Networks } from './contract/networks.ts'
import type { Runtime } from './contract/runtime.ts'
import type { Snapshots } from './contract/snapshots.ts'
import type { Volumes } from './contract/volumes.ts'
import { createEventBus } from './events/event-bus.ts'
import type { EngineBackend, EngineSystem } from './http/backend.ts'
import { collectRegularly, sparedMs } from './images/collector.ts'
import { openImages } from './images/open-images.ts'
import { openNetworks } from './networks/networks.ts'
import { openRuntime } from './runtime/conmon-runtime.ts'
import { Sessions } from './session/sessions.ts'
import type { LayerForm } from './snapshots/layer-store.ts'
import { openOverlaySnapshots } from './snapshots/overlay-snapshots.ts'
import { openRemap, type Remap } from './userns/remap.ts'
import { openVolumes } from './volumes/volumes.ts'

export interface EngineOptions {
  readonly kernel: Kernel
  /** One driver under engine and registry. */
  readonly blobs: Blobs
  /** Shared with the registry: blobs that work in progress holds, and blobs that the registry names. */
  readonly leases?: BlobLeases
  readonly otherBlobRoots?: readonly BlobRoots[]
  /** Mirrors, certificates and insecure registries; `localhost` and 127.0.0.0/8 always are insecure. */
  readonly registries?: RegistryHostsOptions
  /** The registry of this machine, by every host name it goes by: it shares our blobs, so that a push copies none. */
  readonly localRegistry?: { readonly hosts: readonly string[]; readonly credentials: { readonly username: string; readonly password: string } }
  readonly paths: {
    /** Survives a restart of the machine, e.g. `/var/lib/berth/engine`; on a file system that can be overlayfs's upper. */
    readonly state: string
    /** Lost with the machine's uptime, e.g. `/run/berth`; short, for it holds sockets. */
    readonly run: string
  }
  readonly names: {
    /** The instance's cgroup, e.g. `berth`. */
    readonly cgroup: string
    /** The nftables table, e.g. `berth`. */
    readonly table: string
    /** The bridge interface of the network `bridge`, e.g. `berth0`. */
    readonly bridge: string
  }
  readonly networks: {
    /** e.g. `172.29.0.0/16`. */
    readonly bridgeSubnet: string
    /** Where user-defined networks are cut from. */
    readonly addressPools?: readonly { readonly base: string; readonly length: number }[]
  }
  /** What fetched layers become; left out: EROFS images where the kernel mounts them, folders elsewhere. */
  readonly layerForm?: LayerForm
  /** `--userns-remap`: containers' ids stand for these of the machine (docs/decisions/0012). Absent: they are the machine's. */
  readonly usernsMapping?: IdMapping
  readonly version?: { readonly version: string; readonly gitCommit: string; readonly buildTime: string }
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface Engine extends EngineBackend, AsyncDisposable {
  readonly containers: Containers
  readonly images: Images
  readonly snapshots: Snapshots
  readonly networks: Networks
  readonly volumes: Volumes
  readonly events: Events
  readonly runtime: Runtime
  readonly host: HostFacts
  /** Path of the instance's cgroups, e.g. `/berth`. */
  readonly cgroupRoot: string
  readonly leases: BlobLeases
}

const defaultPools = [{ base: '10.89.0.0/16', length: 24 }]

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { kernel, blobs, paths, names, clock, random, log } = options
  const facts = await kernel.probe()
  requireAbilities(facts)
  const leases = options.leases ?? new BlobLeases()
  await mkdir(paths.state, { recursive: true, mode: 0o711 })
  await mkdir(paths.run, { recursive: true, mode: 0o711 })
  await using opened = new AsyncDisposableStack()
  const events = createEventBus({ clock })
  const cgroupRoot = `/${names.cgroup}`
  const remap = options.usernsMapping === undefined ? undefined : await openRemap({ mapping: options.usernsMapping, namespaces: kernel.namespaces, folder: `${paths.run}/userns`, roots: [paths.state, paths.run] })
  if (remap !== undefined) opened.use(remap)
  const [host, runtime, snapshots, networks, volumes] = await Promise.all([
    readHostFacts(facts),
    openRuntime({ kernel, facts, runFolder: `${paths.run}/rt`, cgroup: names.cgroup, clock, log: log.child({ room: 'runtime' }) }),
    openOverlaySnapshots({ root: `${paths.state}/snapshots`, mounts: kernel.mounts, confined: kernel.confined, blobs, ...(options.layerForm === undefined ? {} : { layerForm: options.layerForm }), logger: log.child({ room: 'snapshots' }), shift: { folder: `${paths.run}/shifted`, ...(remap === undefined ? {} : { remap }) } }),
    openNetworks({
      links: kernel.links, namespaces: kernel.namespaces, nftables: kernel.nftables, sockets: kernel.poller, processes: kernel.processes, clock, random, events, logger: log.child({ room: 'networks' }),
      stateDir: `${paths.state}/networks`, runDir: `${paths.run}/net`, table: names.table,
      defaultBridge: { name: names.bridge, subnet: options.networks.bridgeSubnet }, addressPools: options.networks.addressPools ?? defaultPools,
    }),
    openVolumes({ mounts: kernel.mounts, processes: kernel.processes, clock, random, events, log: log.child({ room: 'volumes' }), root: `${paths.state}/volumes` }),
  ])
  opened.use(snapshots)
  opened.use(runtime)
  opened.use(networks)
  // The builder needs images, and images spare what the builder's cache holds: it is opened first, and asked only when something is collected.
  const buildCache = await openBuildCache(`${paths.state}/build`, clock)
  const images = await openImages({ root: `${paths.state}/images`, blobs, leases, snapshots, otherRoots: [...(options.otherBlobRoots ?? []), () => buildCache.diffIds().map((diffId) => parseDigest(diffId))], otherChains: () => buildCache.chainIds(), ...(options.registries === undefined ? {} : { registries: options.registries }), ...(options.localRegistry === undefined ? {} : { localRegistry: options.localRegistry }), clock, logger: log.child({ room: 'images' }) })
  opened.use(collectRegularly({ clock, logger: log.child({ room: 'images' }), collect: () => images.collect({ sparedMs }) }))
  const initPath = await findInit()
  const containers = await openContainers({
    runtime, images, snapshots, networks, volumes, mounts: kernel.mounts, sockets: kernel.poller, events, clock, random, host, cgroupRoot, log: log.child({ room: 'containers' }),
    stateDir: paths.state, runDir: paths.run, initPath, remap, ps: (args) => listProcesses(kernel, args),
  })
  opened.use(containers)
  const builder = await openBuilder({
    images, snapshots, blobs: options.blobs, registries: images, runtime, networks, host, cgroupRoot, clock, random, log: log.child({ room: 'build' }), confined: kernel.confined, processes: kernel.processes, mounts: kernel.mounts,
    remap, cache: buildCache, stateDir: `${paths.state}/build`, platform: `linux/${host.architecture}`,
  })
  const committer = createCommitter({ containers, images, snapshots, events, clock })
  const system = await systemOf(options, { facts, host, runtime, initPath, remap })
  const owned = opened.move()
  return { containers, images, snapshots, networks, volumes, events, sessions: new Sessions(clock), runtime, host, cgroupRoot, leases, builder, committer, system, clock, log, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function requireAbilities(facts: KernelFacts): void {
  if (!facts.overlay) throw new Fault('unavailable', 'this kernel has no overlayfs, which holds container file systems: load the module (modprobe overlay)')
}

async function listProcesses({ processes }: Kernel, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await processes.run(['ps', ...args], { timeoutMs: 10_000 })
  // dockerd answers 500 to arguments that ps does not know, and tells the first line of its complaint.
  if (exitCode !== 0) throw new Fault('internal', `ps: ${stderr.toString().split('\n', 1)[0] || `exit status ${exitCode}`}`)
  return stdout.toString()
}

async function systemOf({ names, paths, version, registries }: EngineOptions, { facts, host, runtime, initPath, remap }: { readonly facts: KernelFacts; readonly host: HostFacts; readonly runtime: Runtime; readonly initPath: string | undefined; readonly remap: Remap | undefined }): Promise<EngineSystem> {
  const { name, version: runtimeVersion, path, conmonVersion } = await runtime.info()
  return {
    engineVersion: version?.version ?? '0.1.0',
    gitCommit: version?.gitCommit ?? '',
    buildTime: version?.buildTime ?? '',
    id: createHash('sha256').update(`${hostname()} ${names.cgroup} ${paths.state}`).digest('hex').slice(0, 32),
    hostname: host.hostname,
    kernelVersion: facts.kernelRelease,
    ...(await operatingSystemOf()),
    fileSystem: await fileSystemName(paths.state),
    initBinary: initPath ?? '',
    architecture: host.architecture,
    cpus: host.cpus,
    memoryBytes: host.memoryBytes,
    cgroupMode: host.cgroupMode,
    seccomp: host.seccomp,
    remapsUsers: remap !== undefined,
    rootDir: paths.state,
    runtime: { name, version: runtimeVersion, path, conmonVersion },
    registryMirrors: registries?.mirrors ?? [],
    insecureRegistries: registries?.insecure ?? [],
  }
}

/** A static init for `--init`, as distributions install it. */
async function findInit(): Promise<string | undefined> {
  for (const path of ['/usr/bin/tini-static', '/usr/bin/docker-init', '/usr/libexec/docker/docker-init', '/usr/libexec/podman/catatonit', '/usr/bin/catatonit']) {
    try {
      await access(path, constants.X_OK)
      return path
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
    }
  }
  return undefined
}

/** os-release(5). */
async function operatingSystemOf(): Promise<{ readonly operatingSystem: string; readonly operatingSystemVersion: string }> {
  const text = (await readTextIfThere('/etc/os-release')) ?? ''
  const word = (name: string): string | undefined => new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1]
  return { operatingSystem: word('PRETTY_NAME') ?? 'Linux', operatingSystemVersion: word('VERSION_ID') ?? '' }
}

/** The magic numbers of statfs(2), by the names that Docker gives them. */
const fileSystems: ReadonlyMap<number, string> = new Map([
  [0xef53, 'extfs'], [0x58465342, 'xfs'], [0x9123683e, 'btrfs'], [0x2fc12fc1, 'zfs'], [0x01021994, 'tmpfs'], [0x794c7630, 'overlayfs'], [0xf2f52010, 'f2fs'], [0xca451a4e, 'bcachefs'],
])

async function fileSystemName(path: string): Promise<string> {
  return fileSystems.get((await statfs(path)).type) ?? '<unknown>'
}
