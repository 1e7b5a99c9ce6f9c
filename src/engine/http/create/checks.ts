/** What a creation may not ask for, in the order in which dockerd looks at it and in its words (clients and their suites read them). */
import { Fault } from '#base/fault.ts'
import type { JsonInput } from '../json-input.ts'

export interface CreateRequest {
  readonly config: JsonInput
  readonly host: JsonInput
  readonly minorVersion: number
  /** Names that `--runtime` may give. */
  readonly runtimes: ReadonlySet<string>
}

function refuse(message: string): never {
  throw new Fault('invalidArgument', message)
}

/** Refuses; answers warnings. */
export function checkRequest(request: CreateRequest): string[] {
  checkNetworkMode(request)
  const { config, host, minorVersion } = request
  checkPlatform(host)
  const endpoints = config.object('NetworkingConfig').object('EndpointsConfig').keys()
  if (minorVersion < 44 && endpoints.length > 1) refuse(`Container cannot be created with multiple network endpoints: ${endpoints.join(', ')}`)
  checkConfig(config)
  checkModes(request)
  return warningsOf(request)
}

function checkNetworkMode({ config, host }: CreateRequest): void {
  const mode = host.string('NetworkMode') ?? ''
  const links = (host.array('Links') ?? []).length > 0
  if (mode === 'container' || mode.startsWith('container:')) {
    if (mode.slice('container:'.length) === '') refuse('invalid network mode: invalid container format container:<name|id>')
    if (config.string('Hostname')) refuse('conflicting options: hostname and the network mode')
    if (links) refuse("conflicting options: container type network can't be used with links. This would result in undefined behavior")
    if ((host.array('Dns') ?? []).length > 0) refuse('conflicting options: dns and the network mode')
    if ((host.array('ExtraHosts') ?? []).length > 0) refuse('conflicting options: custom host-to-IP mapping and the network mode')
    if (config.string('MacAddress')) refuse('conflicting options: mac-address and the network mode')
    if (host.object('PortBindings').keys().length > 0 || host.boolean('PublishAllPorts') === true) refuse('conflicting options: port publishing and the container type network mode')
    if (config.object('ExposedPorts').keys().length > 0) refuse('conflicting options: port exposing and the container type network mode')
  }
  if (host.string('UTSMode') === 'host' && config.string('Hostname')) refuse('conflicting options: hostname and the UTS mode')
  if (mode === 'host' && links) refuse("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
}

/** What belongs to Windows. */
function checkPlatform(host: JsonInput): void {
  const isolation = host.string('Isolation') ?? ''
  if (isolation !== '' && isolation !== 'default') refuse(`invalid isolation (${isolation}): linux only supports 'default'`)
  if (host.number('IOMaximumBandwidth')) refuse('invalid option: QoS maximum bandwidth configuration is not supported on linux')
  if (host.number('IOMaximumIOps')) refuse('invalid option: QoS maximum IOPs configuration is not supported on linux')
}

function checkConfig(config: JsonInput): void {
  const workingDir = config.string('WorkingDir') ?? ''
  if (workingDir !== '' && !workingDir.startsWith('/')) refuse(`the working directory '${workingDir}' is invalid, it needs to be an absolute path`)
  for (const entry of config.strings('Env') ?? []) if (entry === '' || entry.startsWith('=')) refuse(`invalid environment variable: ${entry}`)
  const check = config.object('Healthcheck')
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval']) {
    const value = check.number(field) ?? 0
    if (value !== 0 && value < 1_000_000) refuse(`${field} in Healthcheck cannot be less than 1ms`)
  }
  if ((check.number('Retries') ?? 0) < 0) refuse('Retries in Healthcheck cannot be negative')
  const hostname = config.string('Hostname') ?? ''
  if (Buffer.byteLength(hostname) > 64) refuse(`hostname ${JSON.stringify(hostname)} is too long (maximum 64 bytes)`)
}

function checkModes({ host, runtimes }: CreateRequest): void {
  for (const key of host.object('Annotations').keys()) if (key === '') refuse('invalid Annotations: the empty string is not permitted as an annotation key')
  const mode = (field: string, { what, words, joins }: { readonly what: string; readonly words: readonly string[]; readonly joins: boolean }): void => {
    const value = host.string(field) ?? ''
    if (value !== '' && !words.includes(value) && !(joins && value.startsWith('container:') && value.length > 'container:'.length)) refuse(`invalid ${what}: ${value}`)
  }
  mode('IpcMode', { what: 'IPC mode', words: ['private', 'shareable', 'none', 'host'], joins: true })
  mode('PidMode', { what: 'PID mode', words: ['host', 'private'], joins: true })
  if ((host.number('ShmSize') ?? 0) < 0) refuse('SHM size can not be less than 0')
  mode('UTSMode', { what: 'UTS mode', words: ['host', 'private'], joins: false })
  mode('UsernsMode', { what: 'user namespace mode', words: ['host', 'private'], joins: false })
  const runtime = host.string('Runtime') ?? ''
  if (runtime !== '' && !runtimes.has(runtime)) refuse(`unknown or invalid runtime name: ${runtime}`)
  mode('CgroupnsMode', { what: 'cgroup namespace mode', words: ['host', 'private'], joins: false })
  if (host.object('StorageOpt').keys().length > 0) refuse("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
}

function warningsOf({ host, minorVersion }: CreateRequest): string[] {
  const warnings: string[] = []
  if (host.string('NetworkMode') === 'host' && host.object('PortBindings').keys().length > 0) warnings.push('Published ports are discarded when using host network mode')
  if ((host.number('CpuPercent') ?? 0) > 0) warnings.push('linux does not support CPU percent. Percent discarded.')
  if (minorVersion < 42 && host.number('KernelMemory')) warnings.push('Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.')
  return warnings
}
