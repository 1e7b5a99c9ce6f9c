/** `_ping`, `version`, `info`, `events`, `system/df`, `auth`. */
import { logDrivers } from '../../containers/log-options.ts'
import { rfc3339Nano } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { sendBytes, sendJson } from '#base/http.ts'
import { jsonText } from '#base/json.ts'
import { drained } from '#base/streams.ts'
import type { EngineEvent } from '../../contract/events.ts'
import type { EngineSystem } from '../backend.ts'
import { jsonBody, type Exchange, type Handler } from '../exchange.ts'
import { parseFilters } from '../filters.ts'
import { JsonInput, queryTimeNs } from '../json-input.ts'
import { writeMessage } from '../progress.ts'
import { authOf } from '../registry-auth.ts'
import { shaped } from '../version-shape.ts'
import { latestVersion, oldestVersion } from '../version.ts'

async function ping({ req, res, backend }: Exchange): Promise<void> {
  // So Docker's clients begin each command. What starts a container or an exec first waits in the kernel; most of that is over by the time it comes.
  if (req.method === 'HEAD') backend.runtime.expect()
  // No BuildKit: clients then use the classic builder without asking.
  sendBytes(res, Buffer.from('OK'), { contentType: 'text/plain; charset=utf-8', headers: { 'Builder-Version': '1', 'Cache-Control': 'no-cache, no-store, must-revalidate', Pragma: 'no-cache', Swarm: 'inactive' } })
}

async function version({ res, backend }: Exchange): Promise<void> {
  const { engineVersion, gitCommit, buildTime, kernelVersion, architecture, runtime } = backend.system
  const engine = { ApiVersion: `1.${latestVersion}`, Arch: architecture, BuildTime: buildTime, Experimental: 'false', GitCommit: gitCommit, GoVersion: 'none', KernelVersion: kernelVersion, MinAPIVersion: `1.${oldestVersion}`, Os: 'linux' }
  sendJson(res, {
    Platform: { Name: 'Berth' },
    Components: [
      { Name: 'Engine', Version: engineVersion, Details: engine },
      { Name: runtime.name, Version: runtime.version, Details: { GitCommit: '', Path: runtime.path } },
      { Name: 'conmon', Version: runtime.conmonVersion, Details: { GitCommit: '' } },
    ],
    Version: engineVersion,
    ApiVersion: engine.ApiVersion,
    MinAPIVersion: engine.MinAPIVersion,
    GitCommit: gitCommit,
    GoVersion: 'none',
    Os: 'linux',
    Arch: architecture,
    KernelVersion: kernelVersion,
    BuildTime: buildTime,
  })
}

/** Clients up to 1.24 are told names only. */
function securityOptions({ seccomp, remapsUsers }: EngineSystem, minorVersion: number): string[] {
  const options = [...(seccomp ? ['name=seccomp,profile=default'] : []), ...(remapsUsers ? ['name=userns'] : [])]
  return minorVersion < 25 ? options.map((option) => option.replace(/^name=|,.*$/g, '')) : options
}

/** By it clients know an image store that keeps indexes and loads OCI archives (docker/buildx `util/dockerutil`, `OCIImporter`). */
const ociImports = ['driver-type', 'io.containerd.snapshotter.v1']

async function info({ res, backend, minorVersion }: Exchange): Promise<void> {
  const { system, containers, images, clock } = backend
  const all = containers.list()
  const count = (...statuses: string[]): number => all.filter(({ state }) => statuses.includes(state.status)).length
  const running = count('running')
  const paused = count('paused')
  const imageCount = (await images.list({ all: true })).length
  const answer = {
    ID: system.id,
    Containers: all.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: all.length - running - paused,
    Images: imageCount,
    Driver: 'overlay2',
    DriverStatus: [['Backing Filesystem', system.fileSystem], ['Supports d_type', 'true'], ['Native Overlay Diff', 'true'], ['userxattr', 'false'], ociImports],
    Plugins: { Volume: ['local'], Network: ['bridge', 'host', 'macvlan', 'null'], Authorization: null, Log: logDrivers.filter((driver) => driver !== 'none').toSorted() },
    MemoryLimit: true,
    SwapLimit: true,
    // No limit of the kernel's own memory is set, whatever this kernel could do.
    KernelMemory: false,
    KernelMemoryTCP: false,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: true,
    IPv4Forwarding: true,
    BridgeNfIptables: false,
    BridgeNfIp6tables: false,
    Debug: false,
    NFd: 0,
    OomKillDisable: system.cgroupMode !== 'v2',
    NGoroutines: 0,
    SystemTime: rfc3339Nano(clock.nowNs()),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: system.cgroupMode === 'v2' ? '2' : '1',
    NEventsListener: 0,
    KernelVersion: system.kernelVersion,
    OperatingSystem: system.operatingSystem,
    OSVersion: system.operatingSystemVersion,
    OSType: 'linux',
    Architecture: system.architecture === 'arm64' ? 'aarch64' : 'x86_64',
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      AllowNondistributableArtifactsCIDRs: [],
      AllowNondistributableArtifactsHostnames: [],
      InsecureRegistryCIDRs: [...system.insecureRegistries.filter((entry) => entry.includes('/')), '127.0.0.0/8'],
      IndexConfigs: { 'docker.io': { Name: 'docker.io', Mirrors: system.registryMirrors, Secure: true, Official: true }, ...Object.fromEntries(system.insecureRegistries.filter((entry) => !entry.includes('/')).map((name) => [name, { Name: name, Mirrors: [], Secure: false, Official: false }])) },
      Mirrors: system.registryMirrors,
    },
    NCPU: system.cpus,
    MemTotal: system.memoryBytes,
    GenericResources: null,
    DockerRootDir: system.rootDir,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: system.hostname,
    Labels: [],
    ExperimentalBuild: false,
    ServerVersion: system.engineVersion,
    Runtimes: { [system.runtime.name]: { path: system.runtime.path, status: {} } },
    DefaultRuntime: system.runtime.name,
    Swarm: { NodeID: '', NodeAddr: '', LocalNodeState: 'inactive', ControlAvailable: false, Error: '', RemoteManagers: null },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: system.initBinary,
    ContainerdCommit: { ID: '', Expected: '' },
    RuncCommit: { ID: system.runtime.version, Expected: system.runtime.version },
    InitCommit: { ID: '', Expected: '' },
    SecurityOptions: securityOptions(system, minorVersion),
    FirewallBackend: { Driver: 'nftables' },
    CDISpecDirs: [],
    Warnings: null,
  }
  sendJson(res, shaped('info', answer, minorVersion))
}

function eventJson(event: EngineEvent): object {
  const { type, action, actor, scope, timeNs } = event
  // Containers and images carry the fields of the first event format too.
  const old = type === 'container' ? { status: action, id: actor.id, from: actor.attributes['image'] ?? '' } : type === 'image' ? { status: action, id: actor.id } : {}
  return { ...old, Type: type, Action: action, Actor: { ID: actor.id, Attributes: actor.attributes }, scope, time: Number(timeNs / 1_000_000_000n), timeNano: timeNs }
}

async function events({ res, backend, query, signal }: Exchange): Promise<void> {
  const filters = parseFilters(query, undefined)
  const sinceNs = queryTimeNs(query, 'since') ?? (query.get('since') === '0' ? 0n : undefined)
  const untilNs = queryTimeNs(query, 'until')
  if (sinceNs !== undefined && untilNs !== undefined && untilNs < sinceNs) throw new Fault('invalidArgument', `\`since\` time (${query.get('since')}) cannot be after \`until\` time (${query.get('until')})`)
  const stream = backend.events.subscribe({ filters, signal, ...(sinceNs === undefined ? {} : { sinceNs }), ...(untilNs === undefined ? {} : { untilNs }) })
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
  for await (const event of stream) {
    if (!writeMessage(res, `${jsonText(eventJson(event))}\n`)) await drained(res)
  }
  res.end()
}

async function auth(exchange: Exchange): Promise<void> {
  const credentials = authOf(JsonInput.of(await jsonBody(exchange), ''))
  const { identityToken } = await exchange.backend.images.authenticate(credentials)
  sendJson(exchange.res, { IdentityToken: identityToken ?? '', Status: 'Login Succeeded' })
}

export const systemRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/_ping', ping],
  ['GET', '/version', version],
  ['GET', '/info', info],
  ['GET', '/events', events],
  ['POST', '/auth', auth],
]
