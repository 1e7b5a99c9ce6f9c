/** Containers as the Engine API shows them: `ContainerInspect` and `ContainerSummary`, shaped by the client's version. */
import { createHash } from 'node:crypto'
import { rfc3339Nano } from '#base/clock.ts'
import type { Container, ContainerResources, ResolvedMount } from '../contract/containers.ts'
import type { Endpoint, PortBinding } from '../contract/networks.ts'
import type { SnapshotFolders } from '../contract/snapshots.ts'
import { defaultMaskedPaths, defaultReadonlyPaths } from '../containers/spec.ts'
import { humanDuration } from '#base/human.ts'
import { shaped } from './version-shape.ts'

const zeroTime = '0001-01-01T00:00:00Z'

function timeText(ns: bigint): string {
  // Go leaves trailing zeros away.
  return ns === 0n ? zeroTime : rfc3339Nano(ns).replace(/\.?0+Z$/, 'Z')
}

export interface DockerExtension {
  readonly config: Readonly<Record<string, unknown>>
  readonly hostConfig: Readonly<Record<string, unknown>>
}

/** What the creation's request said, as it said it. */
export function extensionOf(container: Container): DockerExtension {
  const docker = container.spec.extension?.['docker']
  const part = (name: string): Readonly<Record<string, unknown>> => {
    if (typeof docker !== 'object' || docker === null) return {}
    const value: unknown = Reflect.get(docker, name)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  }
  return { config: part('config'), hostConfig: part('hostConfig') }
}

export function inspectJson(container: Container, view: NetworksView & { readonly rootDir: string; readonly folders: SnapshotFolders; readonly imageVolumes?: readonly string[]; readonly sizes?: { readonly writableBytes: number; readonly totalBytes: number } }): object {
  const { state, effective, paths } = container
  const running = state.status === 'running' || state.status === 'paused'
  return shaped('containerInspect', {
    Id: container.id,
    Created: timeText(container.createdAtNs),
    Path: effective.args[0] ?? '',
    Args: effective.args.slice(1),
    State: {
      Status: state.status,
      // As dockerd counts: it is about to run again.
      Running: running || state.status === 'restarting',
      Paused: state.status === 'paused',
      Restarting: state.status === 'restarting',
      OOMKilled: state.oomKilled,
      Dead: state.status === 'dead',
      Pid: state.pid,
      ExitCode: state.exitCode,
      Error: state.error,
      StartedAt: timeText(state.startedAtNs),
      FinishedAt: timeText(state.finishedAtNs),
      ...(state.health === undefined
        ? {}
        : { Health: { Status: state.health.status, FailingStreak: state.health.failingStreak, Log: state.health.log.map((entry) => ({ Start: timeText(entry.startedAtNs), End: timeText(entry.endedAtNs), ExitCode: entry.exitCode, Output: entry.output })) } }),
    },
    Image: container.imageId,
    ResolvConfPath: paths.resolvConf,
    HostnamePath: paths.hostname,
    HostsPath: paths.hosts,
    // Set by the first start, and only for files of this name.
    LogPath: state.startedAtNs === 0n || (container.spec.log?.driver ?? 'json-file') !== 'json-file' ? '' : paths.log,
    Name: `/${container.name}`,
    RestartCount: state.restartCount,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: container.execIds.length === 0 ? null : container.execIds,
    HostConfig: hostConfigJson(container),
    GraphDriver: graphDriverJson(view.folders, container.paths.rootfs),
    ...(view.sizes === undefined ? {} : { SizeRw: view.sizes.writableBytes, SizeRootFs: view.sizes.totalBytes }),
    Mounts: shownMounts(container),
    Config: configJson(container, view.imageVolumes ?? []),
    NetworkSettings: networkSettingsJson(container, view),
  }, view.minorVersion)
}

/** `mergedPath`: where a container sees it all, while it runs. */
export function graphDriverJson({ lower, upper, work }: SnapshotFolders, mergedPath?: string): object {
  const data = { ...(lower.length === 0 ? {} : { LowerDir: lower.join(':') }), ...(mergedPath === undefined ? {} : { MergedDir: mergedPath }), UpperDir: upper, ...(work === undefined ? {} : { WorkDir: work }) }
  return { Data: data, Name: 'overlay2' }
}

/** A tmpfs of `Mounts` is one of them; one of `Tmpfs` is not. */
function shownMounts(container: Container): object[] {
  const asked = extensionOf(container).hostConfig['Mounts']
  const targets = new Set(Array.isArray(asked) ? asked.map((mount: unknown) => (typeof mount === 'object' && mount !== null ? Reflect.get(mount, 'Target') : undefined)) : [])
  return container.mounts.filter(({ type, target }) => type !== 'tmpfs' || targets.has(target)).map(mountJson)
}

function mountJson(mount: ResolvedMount): object {
  return {
    Type: mount.type,
    ...(mount.name === undefined ? {} : { Name: mount.name }),
    Source: mount.source,
    Destination: mount.target,
    ...(mount.driver === undefined ? {} : { Driver: mount.driver }),
    // Volumes that only the image or `Volumes` asks for have an empty mode, those of `Mounts` none.
    Mode: mount.mode ?? (mount.type === 'volume' ? 'z' : ''),
    RW: !mount.readonly,
    Propagation: mount.propagation,
  }
}

const hostConfigDefaults = {
  Binds: null, ContainerIDFile: '', LogConfig: { Type: 'json-file', Config: {} }, NetworkMode: 'default', PortBindings: null, RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
  AutoRemove: false, VolumeDriver: '', VolumesFrom: null, CapAdd: null, CapDrop: null, CgroupnsMode: 'host', Dns: null, DnsOptions: null, DnsSearch: null, ExtraHosts: null, GroupAdd: null,
  IpcMode: 'private', Cgroup: '', Links: null, OomScoreAdj: 0, PidMode: '', Privileged: false, PublishAllPorts: false, ReadonlyRootfs: false, SecurityOpt: null, UTSMode: '',
  UsernsMode: '', ShmSize: 67108864, Runtime: 'runc', ConsoleSize: [0, 0], Isolation: '', CpuShares: 0, Memory: 0, NanoCpus: 0, CgroupParent: '', BlkioWeight: 0, BlkioWeightDevice: null,
  BlkioDeviceReadBps: null, BlkioDeviceWriteBps: null, BlkioDeviceReadIOps: null, BlkioDeviceWriteIOps: null, CpuPeriod: 0, CpuQuota: 0, CpuRealtimePeriod: 0, CpuRealtimeRuntime: 0,
  CpusetCpus: '', CpusetMems: '', Devices: null, DeviceCgroupRules: null, DeviceRequests: null, KernelMemory: 0, KernelMemoryTCP: 0, MemoryReservation: 0, MemorySwap: 0, MemorySwappiness: null, OomKillDisable: false,
  PidsLimit: null, Ulimits: null, CpuCount: 0, CpuPercent: 0, IOMaximumIOps: 0, IOMaximumBandwidth: 0, MaskedPaths: defaultMaskedPaths, ReadonlyPaths: defaultReadonlyPaths,
}

function hostConfigJson(container: Container): object {
  const { spec } = container
  const given = Object.fromEntries(Object.entries(extensionOf(container).hostConfig).filter(([key, value]) => !(value === null && key in hostConfigDefaults)))
  const restart = spec.restart ?? { name: 'no' }
  const { resources = {} } = spec
  return {
    ...hostConfigDefaults,
    ...given,
    // What `update` may have changed, and what an empty word stands for.
    RestartPolicy: { Name: restart.name, MaximumRetryCount: restart.name === 'on-failure' ? restart.maximumRetryCount : 0 },
    Memory: resources.memoryBytes ?? 0,
    MemorySwap: resources.memorySwapBytes ?? (resources.memoryBytes ?? 0) * 2,
    MemoryReservation: resources.memoryReservationBytes ?? 0,
    NanoCpus: resources.nanoCpus ?? 0,
    CpuShares: resources.cpuShares ?? 0,
    CpuQuota: resources.cpuQuotaUs ?? 0,
    CpuPeriod: resources.cpuPeriodUs ?? 0,
    CpusetCpus: resources.cpusetCpus ?? '',
    CpusetMems: resources.cpusetMems ?? '',
    PidsLimit: resources.pidsLimit ?? null,
    BlkioWeight: resources.blkioWeight ?? 0,
    CpuRealtimePeriod: resources.cpuRealtimePeriodUs ?? 0,
    CpuRealtimeRuntime: resources.cpuRealtimeRuntimeUs ?? 0,
    MemorySwappiness: resources.memorySwappiness === -1 ? null : (resources.memorySwappiness ?? null),
    Links: linksJson(container),
    ...withoutDiscarded(given, resources),
    ShmSize: spec.shmSizeBytes ?? hostConfigDefaults.ShmSize,
    LogConfig: { Type: spec.log?.driver ?? 'json-file', Config: spec.log?.options ?? {} },
    IpcMode: given['IpcMode'] || 'private',
    Runtime: given['Runtime'] || 'runc',
    CgroupnsMode: given['CgroupnsMode'] || 'host',
    SecurityOpt: securityOptJson(container, given['SecurityOpt']),
    ...(spec.security?.privileged === true ? { MaskedPaths: null, ReadonlyPaths: null } : {}),
  }
}

/** Lists of devices whose limits this machine cannot give are shown empty. */
function withoutDiscarded(given: Readonly<Record<string, unknown>>, resources: ContainerResources): Readonly<Record<string, readonly never[]>> {
  const lists = { BlkioWeightDevice: resources.blkioWeightDevices, BlkioDeviceReadBps: resources.blkioReadBps, BlkioDeviceWriteBps: resources.blkioWriteBps, BlkioDeviceReadIOps: resources.blkioReadIops, BlkioDeviceWriteIOps: resources.blkioWriteIops }
  return Object.fromEntries(Object.entries(lists).filter(([field, kept]) => field in given && kept === undefined).map(([field]) => [field, []]))
}

/** Who sees the host's processes is not labelled apart from them, and dockerd says so unless a label was asked for. */
function securityOptJson({ spec }: Container, given: unknown): unknown {
  const options: unknown[] = Array.isArray(given) ? given : []
  const isUnlabelled = spec.security?.privileged === true || spec.ipcMode === 'host' || spec.pidMode === 'host'
  if (!isUnlabelled || options.some((option) => /^label[=:]/.test(String(option)))) return given ?? null
  return [...options, 'label=disable']
}

function configJson(container: Container, imageVolumes: readonly string[]): object {
  const { effective, spec } = container
  const { config } = extensionOf(container)
  const macAddress = spec.network?.mode === 'networks' ? spec.network.endpoints[0]?.spec?.macAddress : undefined
  return {
    Hostname: effective.hostname,
    Domainname: spec.domainname ?? '',
    User: effective.user,
    AttachStdin: config['AttachStdin'] ?? false,
    AttachStdout: config['AttachStdout'] ?? false,
    AttachStderr: config['AttachStderr'] ?? false,
    ...(effective.exposedPorts.length === 0 && published(container).length === 0 ? {} : { ExposedPorts: Object.fromEntries([...new Set([...effective.exposedPorts, ...published(container)])].sort().map((port) => [port, {}])) }),
    Tty: effective.tty,
    OpenStdin: config['OpenStdin'] ?? false,
    StdinOnce: config['StdinOnce'] ?? false,
    Env: shownEnv(container),
    Cmd: container.effective.command,
    ...(config['Healthcheck'] === undefined ? {} : { Healthcheck: withoutZeros(config['Healthcheck']) }),
    ...(spec.healthOnFailure === undefined || spec.healthOnFailure === 'none' ? {} : { HealthcheckOnFailureAction: spec.healthOnFailure }),
    Image: spec.image,
    Volumes: imageVolumes.length === 0 && Object.keys(Object(config['Volumes'])).length === 0 ? null : { ...Object.fromEntries(imageVolumes.map((path) => [path, {}])), ...Object(config['Volumes']) },
    WorkingDir: effective.workingDir,
    Entrypoint: container.effective.entrypoint,
    ...(macAddress ? { MacAddress: macAddress } : {}),
    OnBuild: null,
    Labels: effective.labels,
    ...(effective.stopSignal === 'SIGTERM' && !spec.stopSignal ? {} : { StopSignal: effective.stopSignal }),
    ...(spec.stopTimeoutSeconds === undefined ? {} : { StopTimeout: spec.stopTimeoutSeconds }),
  }
}

/** With the bare names that remove a variable of the image's. */
function shownEnv({ spec, effective }: Container): readonly string[] {
  const own = spec.process?.env ?? []
  return [...own, ...effective.env.filter((entry) => !own.includes(entry))]
}

function published({ spec }: Container): string[] {
  return spec.network?.mode === 'networks' ? (spec.network.ports ?? []).map(({ containerPort, protocol }) => `${containerPort}/${protocol}`) : []
}

/** Ports belong to a network of the container's own that is up. */
function hasPorts({ state, spec }: Container): boolean {
  return (state.status === 'running' || state.status === 'paused') && (spec.network?.mode ?? 'networks') === 'networks'
}

function portsJson(container: Container): object {
  const ports: Record<string, { HostIp: string; HostPort: string }[] | null> = {}
  if (!hasPorts(container)) return ports
  for (const port of container.effective.exposedPorts) ports[port] = null
  for (const { containerPort, protocol, hostIp, hostPort } of container.endpoints.flatMap((endpoint) => endpoint.ports)) {
    const key = `${containerPort}/${protocol}`
    ports[key] = [...(ports[key] ?? []), { HostIp: hostIp || '0.0.0.0', HostPort: String(hostPort) }]
  }
  return ports
}

const noEndpoint = { EndpointID: '', Gateway: '', IPAddress: '', IPPrefixLen: 0, IPv6Gateway: '', GlobalIPv6Address: '', GlobalIPv6PrefixLen: 0, MacAddress: '' }

function endpointFields(endpoint: Endpoint): typeof noEndpoint {
  return {
    EndpointID: endpoint.id,
    Gateway: endpoint.gateway,
    IPAddress: endpoint.ipv4Address,
    IPPrefixLen: endpoint.ipv4PrefixLength,
    IPv6Gateway: endpoint.ipv6Gateway,
    GlobalIPv6Address: endpoint.ipv6Address,
    GlobalIPv6PrefixLen: endpoint.ipv6PrefixLength,
    MacAddress: endpoint.macAddress,
  }
}

/** Docker leaves out what is not set in a health check. */
function withoutZeros(check: unknown): unknown {
  return typeof check === 'object' && check !== null ? Object.fromEntries(Object.entries(check).filter(([, value]) => value !== null && value !== 0)) : check
}

/** What the request knows beside the container. */
export interface NetworksView {
  readonly minorVersion: number
  /** Name of each network → its id. */
  readonly networkIds: ReadonlyMap<string, string>
}

/** Before 1.45 the short id and a host name of its own stand among the aliases, once the container has joined. */
function aliasesJson({ id, effective }: Container, { aliases, hasJoined, minorVersion }: { readonly aliases: readonly string[] | undefined; readonly hasJoined: boolean; readonly minorVersion: number }): readonly string[] | null {
  const shortId = id.slice(0, 12)
  if (!hasJoined || minorVersion >= 45) return aliases ?? null
  return [...new Set([...(aliases ?? []), shortId, effective.hostname])]
}

/** `none` and `host` have no endpoints; Docker shows one for each container all the same. */
export function plainEndpointId(container: Container, networkId: string): string {
  const { status } = container.state
  return status === 'running' || status === 'paused' ? createHash('sha256').update(`${networkId} ${container.id}`).digest('hex') : ''
}

/** A start came as far as this network, though what stands behind it may have failed. */
function hasJoined({ state }: Container, networkName: string, networkIds: NetworksView['networkIds']): boolean {
  return state.startedAtNs !== 0n || (state.error !== '' && networkIds.has(networkName))
}

function networksJson(container: Container, { minorVersion, networkIds }: NetworksView): Readonly<Record<string, object>> {
  const wanted = container.spec.network ?? { mode: 'networks', endpoints: [{ network: 'bridge' }] }
  const late = { ...(minorVersion >= 44 ? { DNSNames: null } : {}), ...(minorVersion >= 48 ? { GwPriority: 0 } : {}) }
  if (wanted.mode === 'host' || wanted.mode === 'none') {
    const networkId = hasJoined(container, wanted.mode, networkIds) ? (networkIds.get(wanted.mode) ?? '') : ''
    return { [wanted.mode]: { IPAMConfig: null, Links: null, Aliases: null, NetworkID: networkId, ...noEndpoint, EndpointID: plainEndpointId(container, networkId), DriverOpts: null, ...late } }
  }
  if (wanted.mode !== 'networks') return {}
  const networks: Record<string, object> = {}
  for (const { network, spec } of wanted.endpoints) {
    const endpoint = container.endpoints.find(({ networkName, networkId }) => networkName === network || networkId === network || networkId.startsWith(network))
    const aliases = spec?.aliases
    const name = endpoint?.networkName ?? network
    const userDefined = name !== 'bridge'
    const shortId = container.id.slice(0, 12)
    const joined = hasJoined(container, name, networkIds)
    networks[name] = {
      IPAMConfig: spec?.ipamConfig ?? null,
      Links: spec?.links ?? null,
      Aliases: userDefined ? aliasesJson(container, { aliases, hasJoined: joined || spec?.connectedLater === true, minorVersion }) : (aliases ?? null),
      NetworkID: endpoint?.networkId ?? (joined && spec?.connectedLater !== true ? (networkIds.get(name) ?? '') : ''),
      ...(endpoint === undefined ? { ...noEndpoint, MacAddress: spec?.connectedLater === true || (minorVersion >= 44 && !joined) ? (spec?.macAddress ?? '') : '' } : endpointFields(endpoint)),
      DriverOpts: spec?.driverOptions ?? null,
      ...(minorVersion >= 44 ? { DNSNames: userDefined ? [...new Set([container.name, ...(aliases ?? []), shortId, container.effective.hostname])] : null } : {}),
      ...(minorVersion >= 48 ? { GwPriority: spec?.gatewayPriority ?? 0 } : {}),
    }
  }
  return networks
}

function networkSettingsJson(container: Container, view: NetworksView): object {
  const bridge = container.endpoints.find(({ networkName }) => networkName === 'bridge')
  const { EndpointID, Gateway, GlobalIPv6Address, GlobalIPv6PrefixLen, IPAddress, IPPrefixLen, IPv6Gateway, MacAddress } = bridge === undefined ? noEndpoint : endpointFields(bridge)
  return {
    Bridge: '',
    SandboxID: container.netnsPath === undefined ? '' : container.id,
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    Ports: portsJson(container),
    SandboxKey: container.netnsPath ?? '',
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID, Gateway, GlobalIPv6Address, GlobalIPv6PrefixLen, IPAddress, IPPrefixLen, IPv6Gateway, MacAddress,
    Networks: networksJson(container, view),
  }
}

/** Lists tell where a container is and the addresses asked for, not its other wishes. */
function listedNetworksJson(container: Container, view: NetworksView): object {
  return Object.fromEntries(Object.entries(networksJson(container, view)).map(([name, endpoint]) => [name, { ...endpoint, Links: null, Aliases: null, ...(view.minorVersion >= 44 ? { DNSNames: null } : {}) }]))
}

/** Links on the default bridge, as Docker writes them; those of other networks stand with the endpoint. */
function linksJson({ name, spec }: Container): readonly string[] | null {
  const links = spec.network?.mode === 'networks' ? (spec.network.links ?? []) : []
  return links.length === 0 ? null : links.map((link) => `/${link.name}:/${name}/${link.alias}`)
}

export function summaryJson(container: Container, view: NetworksView & { readonly nowNs: bigint; readonly imageName: string; /** `/PARENT/ALIAS`. */ readonly linkNames?: readonly string[]; readonly sizes?: { readonly writableBytes: number; readonly totalBytes: number } }): object {
  const { spec, effective } = container
  const networkMode = extensionOf(container).hostConfig['NetworkMode'] ?? 'default'
  return shaped('containerSummary', {
    Id: container.id,
    Names: [`/${container.name}`, ...(view.linkNames ?? [])],
    Image: view.imageName,
    ImageID: container.imageId,
    Command: commandText(effective.args),
    Created: Number(container.createdAtNs / 1_000_000_000n),
    Ports: summaryPorts(container),
    // Zero is left out here, other than where one container is inspected.
    ...(view.sizes === undefined ? {} : { ...(view.sizes.writableBytes === 0 ? {} : { SizeRw: view.sizes.writableBytes }), ...(view.sizes.totalBytes === 0 ? {} : { SizeRootFs: view.sizes.totalBytes }) }),
    Labels: effective.labels,
    State: container.state.status,
    Status: statusText(container, view.nowNs),
    HostConfig: { NetworkMode: networkMode },
    NetworkSettings: { Networks: listedNetworksJson(container, view) },
    Mounts: shownMounts(container),
    ...(spec.namespace === 'docker' ? {} : { Namespace: spec.namespace }),
  }, view.minorVersion)
}

function commandText(args: readonly string[]): string {
  return args.map((arg) => (arg.includes(' ') ? `'${arg}'` : arg)).join(' ')
}

function summaryPorts(container: Container): object[] {
  if (!hasPorts(container)) return []
  const bound: PortBinding[] = container.endpoints.flatMap(({ ports }) => [...ports])
  const open = container.effective.exposedPorts.filter((port) => !bound.some(({ containerPort, protocol }) => `${containerPort}/${protocol}` === port))
  return [
    ...open.map((port) => ({ PrivatePort: Number.parseInt(port, 10), Type: port.split('/')[1] ?? 'tcp' })),
    ...bound.map(({ hostIp, containerPort, hostPort, protocol }) => ({ IP: hostIp || '0.0.0.0', PrivatePort: containerPort, PublicPort: hostPort, Type: protocol })),
  ]
}

function statusText({ state }: Container, nowNs: bigint): string {
  const since = (ns: bigint): string => humanDuration(Number((nowNs - ns) / 1_000_000n))
  switch (state.status) {
    case 'created':
      return 'Created'
    case 'running':
      return `Up ${since(state.startedAtNs)}${state.health === undefined ? '' : state.health.status === 'starting' ? ' (health: starting)' : ` (${state.health.status})`}`
    case 'paused':
      return `Up ${since(state.startedAtNs)} (Paused)`
    case 'restarting':
      return `Restarting (${state.exitCode}) ${since(state.finishedAtNs)} ago`
    case 'removing':
      return 'Removal In Progress'
    case 'exited':
      return state.finishedAtNs === 0n ? 'Created' : `Exited (${state.exitCode}) ${since(state.finishedAtNs)} ago`
    case 'dead':
      return 'Dead'
  }
}
