/**
 * The configuration of one instance: one schema, one precedence (flag > environment > file > default), and for every
 * value the place it came from, so that `berth config view` can say what holds and why.
 */
import { existsSync, readFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { join, resolve } from 'node:path'
import { LineCounter, parseDocument } from 'yaml'
import { Fault } from '#base/fault.ts'
import { formatPrefix, requirePrefix } from '#base/ipv4.ts'
import { addressOf } from '#oci/client/registry-hosts.ts'
import { type Instance, instanceOf } from './instance.ts'

export interface Paths {
  /** Durable state: images, snapshots, the store, certificates. */
  readonly state: string
  /** Sockets, pins and pid files: gone after a reboot. Its path is short, since a socket path holds 108 bytes. */
  readonly run: string
  readonly logs: string
  readonly configFile: string
  /** Settings of the registry, where there are any (`apps/registry/settings.ts`). */
  readonly registryFile: string
  readonly dockerSocket: string
  readonly kubeconfig: string
  /** Certificates and keys, 0700. */
  readonly pki: string
  /** Certificates and mirrors by registry (`HOST/hosts.toml`, `HOST/*.crt`): our own folder, then Docker's. */
  readonly registryFolders: readonly string[]
  /** Docker-style credential of root for the embedded registry, 0600. */
  readonly registryAuth: string
}

export interface Config {
  readonly root: string | undefined
  readonly instance: Instance
  readonly paths: Paths
  readonly nodeName: string
  /** The address other machines reach this node by; undefined where the machine has none but loopback. */
  readonly nodeAddress: string | undefined
  readonly apiPort: number
  readonly kubeletPort: number
  readonly registryAddress: string
  readonly registryPort: number
  readonly podCidr: string
  readonly serviceCidr: string
  readonly bridgeCidr: string
  /** Asked before Docker Hub. */
  readonly registryMirrors: readonly string[]
  /** Hosts, `host:port`s and address ranges that may be spoken to without TLS, or with any certificate. */
  readonly insecureRegistries: readonly string[]
  /** What fetched layers become: EROFS images, folders, or what the kernel can do best. */
  readonly layers: 'auto' | 'erofs' | 'folder'
  /** As dockerd's `--userns-remap` has it; empty: off. */
  readonly usernsRemap: string
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
}

/** Where a value came from, as `berth config view` prints it. */
export type Origin = 'flag' | 'environment' | 'file' | 'default'

interface Setting {
  readonly key: string
  readonly environment: string
  readonly parse: (text: string) => string | number
}

const text = (value: string): string => value

function port(value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1 || number > 65_535) throw new Fault('invalidArgument', `'${value}' is no port: expected a whole number from 1 to 65535`)
  return number
}

function cidr(value: string): string {
  return formatPrefix(requirePrefix(value, 'address range'))
}

function logLevel(value: string): string {
  if (!['debug', 'info', 'warn', 'error'].includes(value)) throw new Fault('invalidArgument', `'${value}' is no log level: expected debug, info, warn or error`)
  return value
}

/** Words between commas. */
function listed(value: string): readonly string[] {
  return value.split(',').map((word) => word.trim()).filter((word) => word !== '')
}

function mirrors(value: string): string {
  for (const word of listed(value)) addressOf(word, 'a mirror of Docker Hub')
  return value
}

function layerForm(value: string): string {
  if (!['auto', 'erofs', 'folder'].includes(value)) throw new Fault('invalidArgument', `'${value}' is no form of layers: expected auto, erofs or folder`)
  return value
}

/** Every setting there is. The file uses `key`; an unknown key is an error. */
const settings: readonly Setting[] = [
  { key: 'nodeName', environment: 'BERTH_NODE_NAME', parse: text },
  { key: 'nodeAddress', environment: 'BERTH_NODE_ADDRESS', parse: text },
  { key: 'apiPort', environment: 'BERTH_API_PORT', parse: port },
  { key: 'kubeletPort', environment: 'BERTH_KUBELET_PORT', parse: port },
  { key: 'registryAddress', environment: 'BERTH_REGISTRY_ADDRESS', parse: text },
  { key: 'registryPort', environment: 'BERTH_REGISTRY_PORT', parse: port },
  { key: 'podCidr', environment: 'BERTH_POD_CIDR', parse: cidr },
  { key: 'serviceCidr', environment: 'BERTH_SERVICE_CIDR', parse: cidr },
  { key: 'bridgeCidr', environment: 'BERTH_BRIDGE_CIDR', parse: cidr },
  { key: 'registryMirrors', environment: 'BERTH_REGISTRY_MIRRORS', parse: mirrors },
  { key: 'insecureRegistries', environment: 'BERTH_INSECURE_REGISTRIES', parse: text },
  { key: 'layers', environment: 'BERTH_LAYERS', parse: layerForm },
  { key: 'usernsRemap', environment: 'BERTH_USERNS_REMAP', parse: text },
  { key: 'logLevel', environment: 'BERTH_LOG_LEVEL', parse: logLevel },
]

/** The first global IPv4 address of a physical-looking interface: what a default route would use. */
function machineAddress(): string | undefined {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(lo|docker|berth|b[0-9a-f]{6}|veth|br-|cni|podman|virbr)/.test(name)) continue
    const found = addresses?.find(({ family, internal }) => family === 'IPv4' && !internal)
    if (found !== undefined) return found.address
  }
  return undefined
}

function pathsOf(root: string | undefined): Paths {
  const below = (folder: string, usual: string): string => (root === undefined ? usual : join(root, folder))
  const state = below('state', '/var/lib/berth')
  const run = below('run', '/run/berth')
  const config = below('etc', '/etc/berth')
  return {
    state,
    run,
    logs: below('log', '/var/log/berth'),
    configFile: join(config, 'config.yaml'),
    registryFile: join(config, 'registry.yaml'),
    dockerSocket: join(run, 'docker.sock'),
    kubeconfig: join(config, 'kubeconfig'),
    pki: join(state, 'pki'),
    registryFolders: [join(config, 'certs.d'), ...(root === undefined ? ['/etc/docker/certs.d'] : [])],
    registryAuth: join(config, 'registry-auth.json'),
  }
}

function readFile(path: string): Readonly<Record<string, string>> {
  if (!existsSync(path)) return {}
  const lines = new LineCounter()
  const document = parseDocument(readFileSync(path, 'utf8'), { lineCounter: lines })
  const [problem] = document.errors
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0])
    throw new Fault('invalidArgument', `${path}:${line}:${col}: ${problem.message.split('\n')[0]}`)
  }
  const content: unknown = document.toJS() ?? {}
  if (typeof content !== 'object' || content === null || Array.isArray(content)) throw new Fault('invalidArgument', `${path}: expected a mapping of settings`)
  const known = new Set(settings.map(({ key }) => key))
  const values: Record<string, string> = {}
  for (const [key, value] of Object.entries(content)) {
    if (!known.has(key)) throw new Fault('invalidArgument', `${path}: unknown setting '${key}': expected one of ${[...known].join(', ')}`)
    const words: readonly unknown[] = Array.isArray(value) ? value : [value]
    if (!words.every((word) => typeof word === 'string' || typeof word === 'number')) throw new Fault('invalidArgument', `${path}: '${key}' must be a string or a number, or for what may be several a list of them`)
    values[key] = words.join(',')
  }
  return values
}

export interface ResolvedConfig {
  readonly config: Config
  readonly origins: Readonly<Record<string, Origin>>
}

/**
 * Resolves the configuration. `flags` holds what the command line said, by key; `environment` is the process's.
 * Throws `invalidArgument` naming the place of a wrong value.
 */
export function resolveConfig(flags: Readonly<Record<string, string | undefined>>, environment: NodeJS.ProcessEnv): ResolvedConfig {
  const root = environment['BERTH_ROOT'] === undefined || environment['BERTH_ROOT'] === '' ? undefined : resolve(environment['BERTH_ROOT'])
  const instance = instanceOf(root)
  const paths = pathsOf(root)
  const file = readFile(paths.configFile)
  const defaults: Readonly<Record<string, string | number | undefined>> = {
    nodeName: hostname().toLowerCase(),
    nodeAddress: machineAddress(),
    apiPort: instance.apiPort,
    kubeletPort: instance.kubeletPort,
    registryAddress: '127.0.0.1',
    registryPort: instance.registryPort,
    podCidr: instance.podCidr,
    serviceCidr: instance.serviceCidr,
    bridgeCidr: instance.bridgeCidr,
    registryMirrors: '',
    insecureRegistries: '',
    layers: 'auto',
    usernsRemap: '',
    logLevel: 'info',
  }
  const origins: Record<string, Origin> = {}
  const values: Record<string, string | number | undefined> = {}
  for (const { key, environment: variable, parse } of settings) {
    const said: readonly (readonly [Origin, string, string | undefined])[] = [
      ['flag', `--${key}`, flags[key]],
      ['environment', variable, environment[variable]],
      ['file', `${paths.configFile}: ${key}`, file[key]],
    ]
    const found = said.find(([, , value]) => value !== undefined && value !== '')
    origins[key] = found?.[0] ?? 'default'
    values[key] = found?.[2] === undefined ? defaults[key] : parsed(parse, found[1], found[2])
  }
  const string = (key: string): string => String(values[key])
  const config: Config = {
    root,
    instance,
    paths,
    nodeName: string('nodeName'),
    nodeAddress: values['nodeAddress'] === undefined ? undefined : string('nodeAddress'),
    apiPort: Number(values['apiPort']),
    kubeletPort: Number(values['kubeletPort']),
    registryAddress: string('registryAddress'),
    registryPort: Number(values['registryPort']),
    podCidr: string('podCidr'),
    serviceCidr: string('serviceCidr'),
    bridgeCidr: string('bridgeCidr'),
    usernsRemap: string('usernsRemap'),
    registryMirrors: listed(string('registryMirrors')),
    insecureRegistries: listed(string('insecureRegistries')),
    layers: knownForm(string('layers')),
    logLevel: knownLevel(string('logLevel')),
  }
  return { config, origins }
}

function parsed(parse: Setting['parse'], where: string, value: string): string | number {
  try {
    return parse(value)
  } catch (error) {
    if (error instanceof Fault) throw new Fault(error.code, `${where}: ${error.message}`, { cause: error })
    throw error
  }
}

function knownForm(value: string): Config['layers'] {
  return value === 'erofs' || value === 'folder' ? value : 'auto'
}

function knownLevel(value: string): Config['logLevel'] {
  return value === 'debug' || value === 'warn' || value === 'error' ? value : 'info'
}
