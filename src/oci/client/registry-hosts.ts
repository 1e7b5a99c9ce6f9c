/**
 * Which servers stand for a registry, and how they are spoken to: containerd's `certs.d/HOST/hosts.toml` (containerd `docs/hosts.md`), Docker's
 * `certs.d/HOST/{*.crt,*.cert,*.key}`, the engine's mirrors of Docker Hub and its insecure registries. Read for each transfer: files may change.
 */
import { lookup } from 'node:dns/promises'
import { readdir, readFile } from 'node:fs/promises'
import { BlockList, isIP } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { parse } from 'smol-toml'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { readTextIfThere } from '#base/files.ts'
import { dockerHub } from '../reference.ts'

export interface RegistryHostsOptions {
  /** Folders like `/etc/docker/certs.d`, the first counts where several say something. */
  readonly folders: readonly string[]
  /** Addresses that are asked before Docker Hub (`registry-mirrors` of dockerd). */
  readonly mirrors: readonly string[]
  /** Hosts, `host:port`s and address ranges (CIDR) that may be spoken to without TLS, or with any certificate. Loopback addresses always may. */
  readonly insecure: readonly string[]
}

export interface ClientCertificate {
  readonly cert: string
  readonly key: string
}

/** What TLS needs to know of a server. */
export interface ServerTrust {
  /** Plain HTTP and unverified certificates are allowed. */
  readonly insecure: boolean
  /** PEM certificates of authorities beside the machine's own. */
  readonly authorities: readonly string[]
  readonly certificates: readonly ClientCertificate[]
}

export interface Mirror extends ServerTrust {
  readonly url: URL
  /** The path of `url` is used as it is, without `/v2` behind it. */
  readonly overridePath: boolean
  readonly headers: Readonly<Record<string, string>>
  /** What it may be asked for: the digests of tags, contents. */
  readonly resolves: boolean
  readonly pulls: boolean
}

export interface RegistryServers {
  /** Asked before the registry itself, in this order. */
  readonly mirrors: readonly Mirror[]
  /** The registry's own server, where it is not found at its name. */
  readonly server: URL | undefined
  readonly trust: ServerTrust
}

export async function serversOf(registry: string, options: RegistryHostsOptions): Promise<RegistryServers> {
  const own = await trustIn(registry, options)
  const file = await hostsFile(registry, options.folders)
  const hosts = file === undefined ? undefined : await parseHosts(file, options)
  const hubMirrors = registry === dockerHub ? await Promise.all(options.mirrors.map((text) => plainMirror(text, options))) : []
  const server = hosts?.server
  const trust = { insecure: own.insecure || hosts?.insecure === true || server?.protocol === 'http:', authorities: [...own.authorities, ...(hosts?.authorities ?? [])], certificates: [...own.certificates, ...(hosts?.certificates ?? [])] }
  return { mirrors: [...(hosts?.mirrors ?? []), ...hubMirrors], server, trust }
}

async function plainMirror(text: string, options: RegistryHostsOptions): Promise<Mirror> {
  const url = addressOf(text, 'a mirror of Docker Hub')
  return { ...(await trustIn(url.host, options)), url, overridePath: false, headers: {}, resolves: true, pulls: true }
}

/** What an address of a registry or mirror says; `invalidArgument` naming `what` where it is none. */
export function addressOf(text: string, what: string): URL {
  const whole = text.includes('://') ? text : `https://${text}`
  const url = URL.canParse(whole) ? new URL(whole) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.search !== '' || url.username !== '') throw new Fault('invalidArgument', `'${text}' is no address of ${what}: expected https://HOST[:PORT][/PATH]`)
  return url
}

// ---- folders of certificates ----

/** containerd also writes `host_port_` for file systems that take no colon, and `_default` for all that have no folder. */
function foldersFor(registry: string, roots: readonly string[]): string[] {
  const escaped = registry.replace(/:([0-9]+)$/, '_$1_')
  return [registry, escaped].flatMap((name) => roots.map((root) => join(root, name)))
}

async function trustIn(registry: string, options: RegistryHostsOptions): Promise<ServerTrust> {
  const authorities: string[] = []
  const certificates: ClientCertificate[] = []
  for (const folder of new Set(foldersFor(registry, options.folders))) {
    for (const name of await namesIn(folder)) {
      if (name.endsWith('.crt')) authorities.push(await readFile(join(folder, name), 'utf8'))
      else if (name.endsWith('.cert')) certificates.push(await certificateOf(join(folder, name)))
    }
  }
  return { insecure: await isInsecure(registry, options.insecure), authorities, certificates }
}

async function certificateOf(path: string): Promise<ClientCertificate> {
  const keyPath = path.replace(/\.cert$/, '.key')
  const key = await readTextIfThere(keyPath)
  // Docker's words.
  if (key === undefined) throw new Fault('invalidArgument', `missing key ${keyPath} for client certificate ${path}. CA certificates must use the extension .crt`)
  return { cert: await readFile(path, 'utf8'), key }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return []
    throw error
  }
}

// ---- insecure registries ----

export async function isInsecure(registry: string, insecure: readonly string[]): Promise<boolean> {
  const host = registry.replace(/:[0-9]+$/, '').replace(/^\[(.*)\]$/, '$1')
  if (insecure.includes(registry) || insecure.includes(host)) return true
  const ranges = insecure.filter((entry) => entry.includes('/'))
  if (ranges.length === 0) return false
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    const family = isIP(address)
    const bits = Number(prefix)
    if (family === 0 || !Number.isInteger(bits) || bits > (family === 6 ? 128 : 32)) throw new Fault('invalidArgument', `insecure registry '${range}' is no address range: expected ADDRESS/BITS`)
    list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4')
  }
  return (await addressesOf(host)).some((address) => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
}

/** None where the name is not known: who connects says so. */
async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host]
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address)
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return []
  }
}

// ---- hosts.toml ----

interface HostsFile {
  readonly path: string
  readonly text: string
}

async function hostsFile(registry: string, roots: readonly string[]): Promise<HostsFile | undefined> {
  for (const folder of [...foldersFor(registry, roots), ...roots.map((root) => join(root, '_default'))]) {
    const path = join(folder, 'hosts.toml')
    const text = await readTextIfThere(path)
    if (text !== undefined) return { path, text }
  }
  return undefined
}

interface Hosts extends ServerTrust {
  readonly mirrors: readonly Mirror[]
  readonly server: URL | undefined
}

async function parseHosts(file: HostsFile, options: RegistryHostsOptions): Promise<Hosts> {
  const root = tableOf(parseToml(file), file.path)
  const { server, host } = root
  if (server !== undefined && typeof server !== 'string') throw wrong(file, 'server', 'a string')
  const mirrors: Mirror[] = []
  for (const [address, value] of Object.entries(host === undefined ? {} : tableOf(host, `${file.path}: host`))) mirrors.push(await mirrorOf(file, { address, table: tableOf(value, `${file.path}: host."${address}"`) }, options))
  return { ...(await trustOf(file, root)), mirrors, server: server === undefined || server === '' ? undefined : addressOf(server, `the server in ${file.path}`) }
}

function parseToml({ path, text }: HostsFile): unknown {
  try {
    return parse(text)
  } catch (error) {
    throw new Fault('invalidArgument', `${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

async function mirrorOf(file: HostsFile, { address, table }: { readonly address: string; readonly table: Table }, options: RegistryHostsOptions): Promise<Mirror> {
  const url = addressOf(address, `a host in ${file.path}`)
  const capabilities = table['capabilities'] === undefined ? ['pull', 'resolve', 'push'] : stringsOf(file, 'capabilities', table['capabilities'])
  const folder = await trustIn(url.host, options)
  const own = await trustOf(file, table)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(table['header'] === undefined ? {} : tableOf(table['header'], `${file.path}: header`))) headers[name] = stringsOf(file, name, value).join(', ')
  return {
    url, headers,
    overridePath: table['override_path'] === true,
    resolves: capabilities.includes('resolve'),
    pulls: capabilities.includes('pull'),
    insecure: folder.insecure || own.insecure || url.protocol === 'http:',
    authorities: [...folder.authorities, ...own.authorities],
    certificates: [...folder.certificates, ...own.certificates],
  }
}

/** Paths are relative to the file. */
async function trustOf(file: HostsFile, table: Table): Promise<ServerTrust> {
  const text = (path: string): Promise<string> => readFile(resolve(dirname(file.path), path), 'utf8')
  const { ca, client, skip_verify: skip } = table
  const authorities = ca === undefined ? [] : await Promise.all(stringsOf(file, 'ca', ca).map(text))
  const pairs = client === undefined ? [] : Array.isArray(client) ? client : [client]
  const certificates = await Promise.all(pairs.map(async (pair): Promise<ClientCertificate> => {
    const [cert = '', key = cert] = stringsOf(file, 'client', pair)
    return { cert: await text(cert), key: await text(key === '' ? cert : key) }
  }))
  return { insecure: skip === true, authorities, certificates }
}

type Table = Readonly<Record<string, unknown>>

function tableOf(value: unknown, where: string): Table {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Fault('invalidArgument', `${where}: expected a table`)
  return { ...value }
}

function stringsOf(file: HostsFile, key: string, value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  return list.map((item) => {
    if (typeof item !== 'string') throw wrong(file, key, 'a string or a list of strings')
    return item
  })
}

function wrong({ path }: HostsFile, key: string, expected: string): Fault {
  return new Fault('invalidArgument', `${path}: '${key}' must be ${expected}`)
}
