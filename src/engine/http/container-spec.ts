/** From the body of `POST /containers/create` (Engine API `ContainerConfig`, `HostConfig`, `NetworkingConfig`) to the engine's own spec. */
import { Fault } from '#base/fault.ts'
import type { ContainerProcess, ContainerSpec, HealthFailureAction, IpcMode, NamespaceMode, RestartPolicy } from '../contract/containers.ts'
import type { ContainerDefaults, HealthcheckConfig } from '../contract/images.ts'
import { checkRequest } from './create/checks.ts'
import { configFields, fieldsOf, hostConfigFields } from './create/fields.ts'
import { mountsOf } from './create/mounts.ts'
import { networkOf } from './create/network.ts'
import { resourcesFrom } from './create/resources.ts'
import type { SeccompHost } from './create/seccomp-profile.ts'
import { deviceRuleOf, securityOf } from './create/security.ts'
import { logDrivers } from '../containers/log-options.ts'
import { JsonInput } from './json-input.ts'

export interface CreateInput {
  readonly body: unknown
  readonly name: string | undefined
  readonly platform: string | undefined
  /** `1.41` → 41. */
  readonly minorVersion: number
  readonly machine: SeccompHost & { readonly runtimes: ReadonlySet<string> }
}

/** `volumesFrom` and `links` are left to the caller, who knows the other containers. */
export function containerSpecOf({ body, name, platform, minorVersion, machine }: CreateInput): { readonly spec: ContainerSpec; readonly volumesFrom: readonly string[]; readonly links: readonly string[]; readonly warnings: readonly string[] } {
  const config = JsonInput.of(body, '')
  if (!config.keys().some((key) => key !== 'HostConfig' && key !== 'NetworkingConfig')) throw new Fault('invalidArgument', 'Config cannot be empty in order to create a container')
  const host = config.object('HostConfig')
  const warnings = checkRequest({ config, host, minorVersion, runtimes: machine.runtimes })
  const image = config.string('Image') ?? ''
  if (image === '') throw new Fault('invalidArgument', 'No image specified')
  const stopTimeout = config.number('StopTimeout')
  const networkMode = modeOf(host.string('NetworkMode'), minorVersion)
  const { network, links } = networkOf(networkMode, config, host)
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
    mounts: mountsOf(config, host, minorVersion),
    network,
    restart: restartOf(host.object('RestartPolicy')),
    autoRemove: host.boolean('AutoRemove') ?? false,
    stopSignal: config.string('StopSignal') ?? '',
    ...(stopTimeout === undefined ? {} : { stopTimeoutSeconds: stopTimeout }),
    resources: resourcesFrom(host),
    security: securityOf(host, machine),
    init: host.boolean('Init') ?? false,
    pidMode: namespaceMode(host.string('PidMode')),
    ipcMode: ipcModeOf(host.string('IpcMode'), minorVersion),
    utsMode: namespaceMode(host.string('UTSMode')),
    ...(host.string('UsernsMode') === 'host' ? { usernsMode: 'host' as const } : {}),
    ...cgroupnsOf(host.string('CgroupnsMode'), minorVersion),
    ...(host.number('ShmSize') ? { shmSizeBytes: host.number('ShmSize') ?? 0 } : {}),
    ...(host.has('Sysctls') ? { sysctls: host.stringMap('Sysctls') ?? {} } : {}),
    devices: host.objects('Devices').map((device) => ({ hostPath: device.string('PathOnHost') ?? '', containerPath: device.string('PathInContainer') || device.string('PathOnHost') || '', permissions: device.string('CgroupPermissions') || 'rwm' })),
    deviceRules: (host.strings('DeviceCgroupRules') ?? []).map(deviceRuleOf),
    deviceRequests: host.objects('DeviceRequests').map((request) => ({ driver: request.string('Driver') ?? '', capabilities: (request.array('Capabilities') ?? []).map((set) => (Array.isArray(set) ? set.map(String) : [])) })),
    ...(minorVersion >= 43 && host.has('Annotations') ? { annotations: host.stringMap('Annotations') ?? {} } : {}),
    extraHosts: host.strings('ExtraHosts') ?? [],
    dns: { servers: host.strings('Dns') ?? [], search: host.strings('DnsSearch') ?? [], options: host.strings('DnsOptions') ?? [] },
    ...(config.has('Healthcheck') ? { healthcheck: healthcheckOf(config.object('Healthcheck')) } : {}),
    healthOnFailure: healthFailureActionOf(config),
    log: logOf(host.object('LogConfig')),
    ...(host.string('CgroupParent') ? { cgroupParent: cleanCgroupParent(host.string('CgroupParent') ?? '') } : {}),
    extension: { docker: { config: fieldsOf(config, configFields), hostConfig: { ...fieldsOf(host, hostConfigFields), NetworkMode: networkMode } } },
  }
  if (spec.autoRemove === true && spec.restart?.name !== 'no') throw new Fault('invalidArgument', "can't create 'AutoRemove' container with restart policy")
  return { spec, links, volumesFrom: host.strings('VolumesFrom') ?? [], warnings }
}

/** The fields of a `ContainerConfig` that an image keeps (`POST /commit`); undefined where none was given. */
export function imageDefaultsOf(config: JsonInput): ContainerDefaults | undefined {
  if (config.keys().length === 0) return undefined
  const [labels, check, shell, onBuild] = [config.stringMap('Labels'), config.object('Healthcheck'), config.strings('Shell'), config.strings('OnBuild')]
  const emptyMap = (key: string): Record<string, object> => Object.fromEntries(config.object(key).keys().map((each) => [each, {}]))
  return {
    User: config.string('User') ?? '',
    WorkingDir: config.string('WorkingDir') ?? '',
    Env: config.strings('Env') ?? [],
    Cmd: config.command('Cmd') ?? null,
    Entrypoint: config.command('Entrypoint') ?? null,
    ExposedPorts: emptyMap('ExposedPorts'),
    Volumes: emptyMap('Volumes'),
    ...(labels === undefined ? {} : { Labels: labels }),
    ...(config.string('StopSignal') ? { StopSignal: config.string('StopSignal') ?? '' } : {}),
    ...(config.has('Healthcheck') ? { Healthcheck: healthcheckOf(check) } : {}),
    ...(shell === undefined ? {} : { Shell: shell }),
    ...(onBuild === undefined ? {} : { OnBuild: onBuild }),
  }
}

/** Clients up to 1.43 are shown `default` again; later ones the network's name. */
function modeOf(mode: string | undefined, minorVersion: number): string {
  if (mode !== undefined && mode !== '' && mode !== 'default') return mode
  return minorVersion >= 44 ? 'bridge' : 'default'
}

/** Relative to the instance's cgroup, out of which it may not lead. */
export function cleanCgroupParent(parent: string): string {
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

function namespaceMode(mode: string | undefined): NamespaceMode {
  if (mode === 'host') return 'host'
  return mode?.startsWith('container:') === true ? { container: mode.slice('container:'.length) } : 'private'
}

/** Clients before 1.40 expect that others may join. */
function ipcModeOf(mode: string | undefined, minorVersion: number): IpcMode {
  if (mode === undefined || mode === '') return minorVersion < 40 ? 'shareable' : 'private'
  return mode === 'shareable' || mode === 'none' ? mode : namespaceMode(mode)
}

/** Clients before 1.41 know nothing of a private one. */
function cgroupnsOf(mode: string | undefined, minorVersion: number): Pick<ContainerSpec, 'cgroupnsMode'> {
  if (mode === 'host' || mode === 'private') return { cgroupnsMode: mode }
  return minorVersion < 41 ? { cgroupnsMode: 'host' } : {}
}

function logOf(log: JsonInput): NonNullable<ContainerSpec['log']> {
  const wanted = log.string('Type') || 'json-file'
  const driver = logDrivers.find((known) => known === wanted)
  const options = log.stringMap('Config') ?? {}
  if (driver === undefined) throw new Fault('invalidArgument', `error looking up logging plugin ${wanted}: plugin "${wanted}" not found`)
  return { driver, options }
}

/** Podman's field, or a label for clients that cannot send it. */
function healthFailureActionOf(config: JsonInput): HealthFailureAction {
  const action = config.string('HealthcheckOnFailureAction') || config.stringMap('Labels')?.['berth.health-on-failure'] || 'none'
  if (action === 'none' || action === 'kill' || action === 'restart' || action === 'stop') return action
  throw new Fault('invalidArgument', `invalid on-failure action for health check "${action}": use one of 'none', 'kill', 'restart', or 'stop'`)
}

function healthcheckOf(check: JsonInput): HealthcheckConfig {
  const numbers = { Interval: check.number('Interval'), Timeout: check.number('Timeout'), StartPeriod: check.number('StartPeriod'), StartInterval: check.number('StartInterval'), Retries: check.number('Retries') }
  return { Test: check.strings('Test') ?? [], ...Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined)) }
}
