/** `_ping`, `version`, `info`, `events`, `system/df`, `auth`. */
import { rfc3339Nano } from '#base/clock.ts'
import { sendBytes, sendEmpty, sendJson } from '#base/http.ts'
import { jsonText } from '#base/json.ts'
import type { EngineEvent } from '../../contract/events.ts'
import { summaryJson } from '../container-json.ts'
import { jsonBody, type Exchange, type Handler } from '../exchange.ts'
import { parseFilters } from '../filters.ts'
import { JsonInput, queryTimeNs } from '../json-input.ts'
import { authOf } from '../registry-auth.ts'
import { latestVersion, oldestVersion } from '../version.ts'
import { eventFilterKeys } from '../../events/event-filters.ts'
import { networkIdsOf } from './containers.ts'
import { imageSummaryJson } from './images.ts'
import { volumeJson } from './volumes.ts'

async function ping({ res }: Exchange): Promise<void> {
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

async function info({ res, backend }: Exchange): Promise<void> {
  const { system, containers, images, clock } = backend
  const all = containers.list()
  const count = (...statuses: string[]): number => all.filter(({ state }) => statuses.includes(state.status)).length
  const running = count('running')
  const paused = count('paused')
  const imageCount = (await images.list({ all: true })).length
  sendJson(res, {
    ID: system.id,
    Containers: all.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: all.length - running - paused,
    Images: imageCount,
    Driver: 'overlay2',
    DriverStatus: [['Supports d_type', 'true']],
    Plugins: { Volume: ['local'], Network: ['bridge', 'host', 'macvlan', 'null'], Authorization: null, Log: ['json-file', 'local'] },
    MemoryLimit: true,
    SwapLimit: true,
    KernelMemory: false,
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
    OSVersion: '',
    OSType: 'linux',
    Architecture: system.architecture === 'arm64' ? 'aarch64' : 'x86_64',
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      AllowNondistributableArtifactsCIDRs: [],
      AllowNondistributableArtifactsHostnames: [],
      InsecureRegistryCIDRs: ['127.0.0.0/8'],
      IndexConfigs: { 'docker.io': { Name: 'docker.io', Mirrors: [], Secure: true, Official: true }, ...Object.fromEntries(system.insecureRegistries.map((name) => [name, { Name: name, Mirrors: [], Secure: false, Official: false }])) },
      Mirrors: [],
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
    Runtimes: { [system.runtime.name]: { path: system.runtime.path } },
    DefaultRuntime: system.runtime.name,
    Swarm: { NodeID: '', NodeAddr: '', LocalNodeState: 'inactive', ControlAvailable: false, Error: '', RemoteManagers: null },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: { ID: '', Expected: '' },
    RuncCommit: { ID: system.runtime.version, Expected: system.runtime.version },
    InitCommit: { ID: '', Expected: '' },
    SecurityOptions: system.seccomp ? ['name=seccomp,profile=default'] : [],
    Warnings: null,
  })
}

function eventJson(event: EngineEvent): object {
  const { type, action, actor, scope, timeNs } = event
  // Containers and images carry the fields of the first event format too.
  const old = type === 'container' ? { status: action, id: actor.id, from: actor.attributes['image'] ?? '' } : type === 'image' ? { status: action, id: actor.id } : {}
  return { ...old, Type: type, Action: action, Actor: { ID: actor.id, Attributes: actor.attributes }, scope, time: Number(timeNs / 1_000_000_000n), timeNano: timeNs }
}

async function events({ res, backend, query, signal }: Exchange): Promise<void> {
  const filters = parseFilters(query, eventFilterKeys)
  const sinceNs = queryTimeNs(query, 'since') ?? (query.get('since') === '0' ? 0n : undefined)
  const untilNs = queryTimeNs(query, 'until')
  const stream = backend.events.subscribe({ filters, signal, ...(sinceNs === undefined ? {} : { sinceNs }), ...(untilNs === undefined ? {} : { untilNs }) })
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.flushHeaders()
  for await (const event of stream) {
    if (!res.write(`${jsonText(eventJson(event))}\n`)) await new Promise<void>((resolve) => res.once('drain', resolve).once('close', resolve))
  }
  res.end()
}

async function auth(exchange: Exchange): Promise<void> {
  const credentials = authOf(JsonInput.of(await jsonBody(exchange), ''))
  const { identityToken } = await exchange.backend.images.authenticate(credentials)
  sendJson(exchange.res, { Status: 'Login Succeeded', ...(identityToken === undefined ? {} : { IdentityToken: identityToken }) })
}

async function df({ res, backend, minorVersion }: Exchange): Promise<void> {
  const { containers, images, volumes, clock } = backend
  const all = containers.list()
  const list = await images.list()
  const users = (id: string): number => all.filter(({ imageId }) => imageId === id).length
  const layers = new Map(list.map(({ topLayer, sizeBytes }) => [topLayer, sizeBytes]))
  const networkIds = await networkIdsOf(backend)
  const volumeRows = await Promise.all(
    (await volumes.list()).map(async (volume) => {
      const { sizeBytes, references } = await volumes.usage(volume.name)
      return { ...volumeJson(volume, minorVersion), UsageData: { RefCount: references, Size: sizeBytes } }
    }),
  )
  sendJson(res, {
    LayersSize: [...layers.values()].reduce((sum, size) => sum + size, 0),
    Images: list.map((image) => ({ ...imageSummaryJson(image, minorVersion), Containers: users(image.id), SharedSize: 0 })),
    Containers: await Promise.all(all.map(async (container) => summaryJson(container, { nowNs: clock.nowNs(), minorVersion, networkIds, imageName: container.spec.image, sizes: await containers.sizes(container.id) }))),
    Volumes: volumeRows,
    BuildCache: [],
    BuilderSize: 0,
  })
}

/** No swarm here; clients ask all the same. */
async function noSwarm({ res }: Exchange): Promise<void> {
  sendJson(res, { message: 'This node is not part of a swarm. Berth schedules with Kubernetes: use kubectl.' }, { status: 503 })
}

async function noPlugins({ res }: Exchange): Promise<void> {
  sendJson(res, [])
}

async function noSession({ res }: Exchange): Promise<void> {
  sendEmpty(res, { status: 404 })
}


export const systemRoutes: readonly (readonly [string, string, Handler])[] = [
  ['GET', '/_ping', ping],
  ['GET', '/version', version],
  ['GET', '/info', info],
  ['GET', '/events', events],
  ['GET', '/system/df', df],
  ['POST', '/auth', auth],
  ['GET', '/swarm', noSwarm],
  ['GET', '/services', noSwarm],
  ['GET', '/nodes', noSwarm],
  ['GET', '/tasks', noSwarm],
  ['GET', '/secrets', noSwarm],
  ['GET', '/configs', noSwarm],
  ['POST', '/swarm/init', noSwarm],
  ['POST', '/swarm/join', noSwarm],
  ['POST', '/swarm/leave', noSwarm],
  ['POST', '/services/create', noSwarm],
  ['POST', '/secrets/create', noSwarm],
  ['POST', '/configs/create', noSwarm],
  ['GET', '/plugins', noPlugins],
  ['POST', '/session', noSession],
]
