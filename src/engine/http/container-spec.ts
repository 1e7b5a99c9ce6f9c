/** From the body of `POST /containers/create` (Engine API `ContainerConfig`, `HostConfig`, `NetworkingConfig`) to the engine's own spec. */
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { ContainerMount, ContainerNetworking, ContainerProcess, ContainerResources, ContainerSecurity, ContainerSpec, NamespaceMode, RestartPolicy } from '../contract/containers.ts'
import type { HealthcheckConfig } from '../contract/images.ts'
import type { EndpointSpec, PortBinding } from '../contract/networks.ts'
import type { SeccompSpec } from '../contract/runtime-spec.ts'
import { JsonInput } from './json-input.ts'

export interface CreateInput {
  readonly body: unknown
  readonly name: string | undefined
  readonly platform: string | undefined
  /** `1.41` → 41. */
  readonly minorVersion: number
}

/** `volumesFrom` is left to the caller, who knows the other containers. */
export function containerSpecOf({ body, name, platform, minorVersion }: CreateInput): { readonly spec: ContainerSpec; readonly volumesFrom: readonly string[]; readonly unfulfilled: readonly string[] } {
  const config = JsonInput.of(body, '')
  if (!config.keys().some((key) => key !== 'HostConfig' && key !== 'NetworkingConfig')) throw new Fault('invalidArgument', 'Config cannot be empty in order to create a container')
  const host = config.object('HostConfig')
  const image = config.string('Image') ?? ''
  if (image === '') throw new Fault('invalidArgument', 'No image specified')
  const stopTimeout = config.number('StopTimeout')
  const networkMode = modeOf(host.string('NetworkMode'), minorVersion)
  const spec: ContainerSpec = {
    namespace: 'docker',
    image,
    ...(name ? { name } : {}),
    ...(platform ? { platform } : {}),
    process: processOf(config, host),
    hostname: config.string('Hostname') ?? '',
    domainname: config.string('Domainname') ?? '',
    labels: config.stringMap('Labels') ?? {},
    exposedPorts: config.object('ExposedPorts').keys(),
    mounts: mountsOf(config, host),
    network: networkOf(networkMode, config, host),
    restart: restartOf(host.object('RestartPolicy')),
    autoRemove: host.boolean('AutoRemove') ?? false,
    stopSignal: config.string('StopSignal') ?? '',
    ...(stopTimeout === undefined ? {} : { stopTimeoutSeconds: stopTimeout }),
    resources: resourcesFrom(host),
    security: securityOf(host),
    init: host.boolean('Init') ?? false,
    pidMode: namespaceMode(host.string('PidMode'), 'PID'),
    ipcMode: namespaceMode(host.string('IpcMode'), 'IPC'),
    utsMode: namespaceMode(host.string('UTSMode'), 'UTS'),
    ...(host.number('ShmSize') ? { shmSizeBytes: host.number('ShmSize') ?? 0 } : {}),
    ...(host.has('Sysctls') ? { sysctls: host.stringMap('Sysctls') ?? {} } : {}),
    devices: host.objects('Devices').map((device) => ({ hostPath: device.string('PathOnHost') ?? '', containerPath: device.string('PathInContainer') || device.string('PathOnHost') || '', permissions: device.string('CgroupPermissions') || 'rwm' })),
    extraHosts: host.strings('ExtraHosts') ?? [],
    dns: { servers: host.strings('Dns') ?? [], search: host.strings('DnsSearch') ?? [], options: host.strings('DnsOptions') ?? [] },
    ...(config.has('Healthcheck') ? { healthcheck: healthcheckOf(config.object('Healthcheck')) } : {}),
    log: logOf(host.object('LogConfig')),
    ...(host.string('CgroupParent') ? { cgroupParent: cleanCgroupParent(host.string('CgroupParent') ?? '') } : {}),
    extension: { docker: { config: withoutKeys(body, ['HostConfig', 'NetworkingConfig']), hostConfig: { ...withoutKeys(config.raw('HostConfig'), []), NetworkMode: networkMode } } },
  }
  if (spec.autoRemove === true && spec.restart?.name !== 'no') throw new Fault('invalidArgument', "can't create 'AutoRemove' container with restart policy")
  return { spec, volumesFrom: host.strings('VolumesFrom') ?? [], unfulfilled: unfulfilledOf(host) }
}

/** What was asked for and will not be: said, not passed over. */
function unfulfilledOf(host: JsonInput): string[] {
  const lists: Readonly<Record<string, string>> = {
    Links: 'Links between containers are not supported; containers on a user-defined network find each other by name.',
    DeviceRequests: 'Device requests (--gpus) are not supported.',
    DeviceCgroupRules: 'Device cgroup rules are not supported.',
    BlkioDeviceReadBps: 'Block device rates are not supported.',
    BlkioDeviceWriteBps: 'Block device rates are not supported.',
  }
  return [...new Set(Object.entries(lists).flatMap(([field, warning]) => ((host.array(field) ?? []).length > 0 ? [warning] : [])))]
}

function withoutKeys(value: unknown, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)))
}

/** Clients up to 1.43 are shown `default` again; later ones the network's name. */
function modeOf(mode: string | undefined, minorVersion: number): string {
  if (mode !== undefined && mode !== '' && mode !== 'default') return mode
  return minorVersion >= 44 ? 'bridge' : 'default'
}

function cleanCgroupParent(parent: string): string {
  if (parent.split('/').includes('..')) throw new Fault('invalidArgument', `cgroup-parent '${parent}' may not hold '..'`)
  return parent.replace(/^\/+|\/+$/g, '')
}

function processOf(config: JsonInput, host: JsonInput): ContainerProcess {
  const entrypoint = config.command('Entrypoint')
  const command = config.command('Cmd')
  const openStdin = config.boolean('OpenStdin') ?? false
  const [rows, columns] = (host.array('ConsoleSize') ?? []).map(Number)
  // The CLI sends [""] for `--entrypoint ""`: no entrypoint, and not the image's either.
  const cleared = entrypoint?.length === 1 && entrypoint[0] === ''
  return {
    ...(entrypoint === undefined || entrypoint.length === 0 ? {} : { entrypoint: cleared ? [] : entrypoint }),
    ...(command === undefined || command.length === 0 ? {} : { command }),
    env: config.strings('Env') ?? [],
    workingDir: config.string('WorkingDir') ?? '',
    user: config.string('User') ?? '',
    tty: config.boolean('Tty') ?? false,
    stdin: openStdin ? (config.boolean('StdinOnce') === true ? 'once' : 'open') : 'none',
    ...(rows && columns ? { consoleSize: { rows, columns } } : {}),
  }
}

const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']

/** `source:target[:options]`; a source that is no path is a volume's name. */
export function mountOfBind(bind: string): ContainerMount {
  const parts = bind.split(':')
  if (parts.length > 3 || parts.some((part) => part === '')) throw new Fault('invalidArgument', `invalid volume specification: '${bind}'`)
  const [first = '', second, third] = parts
  if (second === undefined) return { type: 'volume', target: first }
  const options = third === undefined ? [] : third.split(',')
  const unknown = options.find((option) => !['ro', 'rw', 'z', 'Z', 'nocopy', 'cached', 'delegated', 'consistent', ...propagations].includes(option))
  if (unknown !== undefined) throw new Fault('invalidArgument', `invalid mode: ${third}`)
  const readonly = options.includes('ro')
  if (first.startsWith('/')) return { type: 'bind', source: trimmed(first), target: trimmed(second), readonly, createSource: true, propagation: options.find((option) => propagations.includes(option)) ?? 'rprivate' }
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(first)) throw new Fault('invalidArgument', `create ${first}: "${first}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`)
  return { type: 'volume', name: first, target: trimmed(second), readonly, noCopy: options.includes('nocopy') }
}

function trimmed(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') || '/' : path
}

function mountsOf(config: JsonInput, host: JsonInput): ContainerMount[] {
  const mounts = (host.strings('Binds') ?? []).map(mountOfBind)
  const taken = new Set(mounts.map(({ target }) => target))
  for (const target of config.object('Volumes').keys()) {
    const mount = mountOfBind(target)
    if (!taken.has(mount.target)) mounts.push(mount)
  }
  for (const mount of host.objects('Mounts')) mounts.push(mountOf(mount))
  const tmpfs = host.stringMap('Tmpfs') ?? {}
  for (const [target, options] of Object.entries(tmpfs)) mounts.push({ type: 'tmpfs', target, options: options === '' ? [] : options.split(',') })
  return mounts
}

function mountOf(input: JsonInput): ContainerMount {
  const type = input.string('Type') ?? ''
  const target = trimmed(input.string('Target') ?? '')
  const source = input.string('Source') ?? ''
  const readonly = input.boolean('ReadOnly') ?? false
  if (target === '') throw new Fault('invalidArgument', `invalid mount config for type "${type}": field Target must not be empty`)
  switch (type) {
    case 'bind': {
      if (source === '') throw new Fault('invalidArgument', 'invalid mount config for type "bind": field Source must not be empty')
      const options = input.object('BindOptions')
      return { type, source, target, readonly, propagation: options.string('Propagation') || 'rprivate', nonRecursive: options.boolean('NonRecursive') ?? false, createSource: options.boolean('CreateMountpoint') ?? false }
    }
    case 'volume': {
      const options = input.object('VolumeOptions')
      const driver = options.object('DriverConfig')
      return { type, ...(source === '' ? {} : { name: source }), target, readonly, noCopy: options.boolean('NoCopy') ?? false, labels: options.stringMap('Labels') ?? {}, driver: driver.string('Name') || 'local', driverOptions: driver.stringMap('Options') ?? {} }
    }
    case 'tmpfs': {
      const options = input.object('TmpfsOptions')
      const size = options.number('SizeBytes')
      const mode = options.number('Mode')
      return { type, target, options: [...(size ? [`size=${size}`] : []), ...(mode ? [`mode=${mode.toString(8)}`] : [])] }
    }
    default:
      throw new Fault('invalidArgument', `invalid mount config for type "${type}": mount type unknown (bind, volume and tmpfs are known)`)
  }
}

function portBindingsOf(host: JsonInput): PortBinding[] {
  const bindings: PortBinding[] = []
  const ports = host.object('PortBindings')
  for (const key of ports.keys()) {
    const [port = '', protocol = 'tcp'] = key.split('/')
    if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') throw new Fault('invalidArgument', `invalid protocol in port '${key}'`)
    const containerPort = Number(port)
    if (!Number.isInteger(containerPort) || containerPort < 1 || containerPort > 65535) throw new Fault('invalidArgument', `invalid port specification: "${key}"`)
    for (const binding of ports.objects(key)) bindings.push({ containerPort, protocol, hostIp: binding.string('HostIp') ?? '', ...hostPortOf(binding.string('HostPort') ?? '') })
  }
  return bindings
}

function hostPortOf(text: string): { readonly hostPort: number; readonly hostPortEnd?: number } {
  if (text === '') return { hostPort: 0 }
  const [first, last] = text.split('-').map(Number)
  const valid = (port: number | undefined): port is number => port !== undefined && Number.isInteger(port) && port >= 0 && port <= 65535
  if (!valid(first) || (last !== undefined && !valid(last))) throw new Fault('invalidArgument', `invalid port specification: "${text}"`)
  return last === undefined ? { hostPort: first } : { hostPort: first, hostPortEnd: last }
}

function networkOf(mode: string, config: JsonInput, host: JsonInput): ContainerNetworking {
  if (config.boolean('NetworkDisabled') === true || mode === 'none') return { mode: 'none' }
  if (mode === 'host') return { mode: 'host' }
  if (mode.startsWith('container:')) return { mode: 'container', ref: mode.slice('container:'.length) }
  const endpoints = config.object('NetworkingConfig').object('EndpointsConfig')
  const primary = mode === 'default' ? 'bridge' : mode
  // Clients write the default network under either of its names.
  const primaryKeys = primary === 'bridge' ? ['default', 'bridge'] : [primary]
  const ownKey = primaryKeys.find((key) => endpoints.has(key))
  const own = ownKey === undefined ? undefined : endpoints.object(ownKey)
  const others = endpoints.keys().filter((name) => !primaryKeys.includes(name))
  return {
    mode: 'networks',
    endpoints: [{ network: primary, spec: { ...macAddressOf(config), ...(own === undefined ? {} : endpointOf(own)) } }, ...others.map((network) => ({ network, spec: endpointOf(endpoints.object(network)) }))],
    ports: portBindingsOf(host),
    publishAll: host.boolean('PublishAllPorts') ?? false,
  }
}

/** Where clients up to 1.43 write it. */
function macAddressOf(config: JsonInput): EndpointSpec {
  const macAddress = config.string('MacAddress')
  return macAddress ? { macAddress } : {}
}

export function endpointOf(input: JsonInput): EndpointSpec {
  const ipam = input.object('IPAMConfig')
  const [ipv4, ipv6, mac] = [ipam.string('IPv4Address'), ipam.string('IPv6Address'), input.string('MacAddress')]
  return { aliases: input.strings('Aliases') ?? [], ...(input.has('DriverOpts') ? { driverOptions: input.stringMap('DriverOpts') ?? {} } : {}), ...(ipv4 ? { ipv4Address: ipv4 } : {}), ...(ipv6 ? { ipv6Address: ipv6 } : {}), ...(mac ? { macAddress: mac } : {}) }
}

export function restartOf(policy: JsonInput): RestartPolicy {
  const name = policy.string('Name') ?? ''
  const maximumRetryCount = policy.number('MaximumRetryCount') ?? 0
  if (maximumRetryCount < 0) throw new Fault('invalidArgument', 'invalid restart policy: maximum retry count cannot be negative')
  if (maximumRetryCount > 0 && name !== 'on-failure') throw new Fault('invalidArgument', `invalid restart policy: maximum retry count can only be used with 'on-failure'`)
  switch (name) {
    case '':
    case 'no':
      return { name: 'no' }
    case 'always':
    case 'unless-stopped':
      return { name }
    case 'on-failure':
      return { name, maximumRetryCount }
    default:
      throw new Fault('invalidArgument', `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`)
  }
}

export function resourcesFrom(host: JsonInput): ContainerResources {
  const numbers = {
    memoryBytes: host.number('Memory'),
    memoryReservationBytes: host.number('MemoryReservation'),
    memorySwapBytes: host.number('MemorySwap'),
    memorySwappiness: host.number('MemorySwappiness'),
    nanoCpus: host.number('NanoCpus') ?? host.number('NanoCPUs'),
    cpuShares: host.number('CpuShares'),
    cpuQuotaUs: host.number('CpuQuota'),
    cpuPeriodUs: host.number('CpuPeriod'),
    pidsLimit: host.number('PidsLimit'),
    blkioWeight: host.number('BlkioWeight'),
    oomScoreAdj: host.number('OomScoreAdj'),
  }
  const given = Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined && value !== 0))
  const ulimits = host.objects('Ulimits').map((limit) => ({ name: limit.string('Name') ?? '', soft: limit.number('Soft') ?? 0, hard: limit.number('Hard') ?? 0 }))
  return {
    ...given,
    ...(host.boolean('OomKillDisable') === true ? { oomKillDisable: true } : {}),
    ...(host.string('CpusetCpus') ? { cpusetCpus: host.string('CpusetCpus') ?? '' } : {}),
    ...(host.string('CpusetMems') ? { cpusetMems: host.string('CpusetMems') ?? '' } : {}),
    ...(ulimits.length > 0 ? { ulimits } : {}),
  }
}

function securityOf(host: JsonInput): ContainerSecurity {
  const options = securityOptions(host.strings('SecurityOpt') ?? [])
  const masked = host.strings('MaskedPaths')
  const readonlyPaths = host.strings('ReadonlyPaths')
  return {
    privileged: host.boolean('Privileged') ?? false,
    capAdd: host.strings('CapAdd') ?? [],
    capDrop: host.strings('CapDrop') ?? [],
    readonlyRootfs: host.boolean('ReadonlyRootfs') ?? false,
    groupAdd: host.strings('GroupAdd') ?? [],
    ...options,
    ...(masked === undefined ? {} : { maskedPaths: masked }),
    ...(readonlyPaths === undefined ? {} : { readonlyPaths }),
  }
}

function securityOptions(options: readonly string[]): Pick<ContainerSecurity, 'noNewPrivileges' | 'seccomp' | 'maskedPaths' | 'readonlyPaths'> {
  let result: Pick<ContainerSecurity, 'noNewPrivileges' | 'seccomp' | 'maskedPaths' | 'readonlyPaths'> = {}
  for (const option of options) {
    const split = option.search(/[=:]/)
    const key = split < 0 ? option : option.slice(0, split)
    const value = split < 0 ? '' : option.slice(split + 1)
    switch (key) {
      case 'no-new-privileges':
        result = { ...result, noNewPrivileges: value === '' || value === 'true' }
        break
      case 'seccomp':
        if (value === 'builtin') break
        result = { ...result, seccomp: value === 'unconfined' ? 'unconfined' : seccompOf(value) }
        break
      case 'systempaths':
        if (value === 'unconfined') result = { ...result, maskedPaths: [], readonlyPaths: [] }
        break
      case 'apparmor':
      case 'label':
        // Neither AppArmor nor SELinux profiles are applied; what turns them off is thereby fulfilled.
        break
      default:
        throw new Fault('invalidArgument', `invalid --security-opt 2: "${option}"`)
    }
  }
  return result
}

/** Docker's profile format is the OCI one with `defaultAction`, `archMap` and `syscalls`; conditions by capability are not evaluated. */
function seccompOf(text: string): SeccompSpec {
  const profile = JsonInput.of(parseJson(text, 'seccomp profile'), 'seccomp profile')
  const defaultAction = profile.string('defaultAction')
  if (defaultAction === undefined) throw new Fault('invalidArgument', "the seccomp profile lacks 'defaultAction'")
  const errno = profile.number('defaultErrnoRet')
  return {
    defaultAction,
    ...(errno === undefined ? {} : { defaultErrnoRet: errno }),
    architectures: profile.strings('architectures') ?? [],
    syscalls: profile.objects('syscalls').map((call) => ({
      names: call.strings('names') ?? [call.string('name') ?? ''],
      action: call.string('action') ?? 'SCMP_ACT_ERRNO',
      ...(call.number('errnoRet') === undefined ? {} : { errnoRet: call.number('errnoRet') ?? 1 }),
      args: call.objects('args').map((arg) => ({ index: arg.number('index') ?? 0, value: arg.number('value') ?? 0, valueTwo: arg.number('valueTwo') ?? 0, op: arg.string('op') ?? 'SCMP_CMP_EQ' })),
    })),
  }
}

function namespaceMode(mode: string | undefined, kind: string): NamespaceMode {
  if (mode === undefined || ['', 'private', 'shareable', 'none'].includes(mode)) return 'private'
  if (mode === 'host') return 'host'
  if (mode.startsWith('container:')) return { container: mode.slice('container:'.length) }
  throw new Fault('invalidArgument', `Invalid ${kind} mode: ${mode}`)
}

function logOf(log: JsonInput): NonNullable<ContainerSpec['log']> {
  const driver = log.string('Type') || 'json-file'
  const options = log.stringMap('Config') ?? {}
  if (driver !== 'json-file' && driver !== 'local' && driver !== 'none') throw new Fault('invalidArgument', `error looking up logging plugin ${driver}: plugin "${driver}" not found`)
  return { driver, options }
}

function healthcheckOf(check: JsonInput): HealthcheckConfig {
  const numbers = { Interval: check.number('Interval'), Timeout: check.number('Timeout'), StartPeriod: check.number('StartPeriod'), StartInterval: check.number('StartInterval'), Retries: check.number('Retries') }
  return { Test: check.strings('Test') ?? [], ...Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined)) }
}
