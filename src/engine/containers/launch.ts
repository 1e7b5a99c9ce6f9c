/**
 * Brings one container up and clears it away again: file system, network, files, spec, runtime. Everything that does not depend on
 * one another runs at the same time, because `docker run` waits for it. Whatever a failed launch had made is taken back.
 */
import { readFile } from 'node:fs/promises'
import { unreachable } from '#base/assert.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { ContainerNetworking, IpcMode } from '../contract/containers.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { Endpoint, EndpointSpec, Networks, PortBinding } from '../contract/networks.ts'
import type { Runtime } from '../contract/runtime.ts'
import { checkUserNamespace } from '../userns/conflicts.ts'
import { remapOf, type Owner } from '../userns/remap.ts'
import { ContainerMounts, type ContainerMountsOptions } from './container-mounts.ts'
import { blockIoOf, devicesOf } from './devices.ts'
import { effectiveOfRecord, logPathOf, networkFilePaths, ownsSandbox, rootfsPath, type Entry } from './entry.ts'
import type { HostFacts } from './host.ts'
import { ceilingBytes } from './log-keeper.ts'
import { logAttributesOf, logBoundsOf } from './log-options.ts'
import type { ImageMounts } from './image-mounts.ts'
import { lookUpIdentity, resolveInRoot } from './identity.ts'
import { linkEnv, linkedContainers, linkHosts, linksOf, stillLinked } from './legacy-links.ts'
import { hostsText, resolvConfText, writeNetworkFiles, type NetworkFiles, type ResolverSettings } from './network-files.ts'
import { makeFolders } from './own-folders.ts'
import { startFault } from './runtime-failure.ts'
import { networkSysctls } from './sysctls.ts'
import { runtimeSpecOf } from './spec.ts'
import { userNamespaceFor, type Donor } from './user-namespace.ts'

export interface LauncherOptions extends ContainerMountsOptions {
  readonly runtime: Pick<Runtime, 'create' | 'start' | 'delete'>
  readonly networks: Networks
  readonly events: EventPublisher
  readonly log: Logger
  readonly host: HostFacts
  /** Path of the instance's cgroups, e.g. `/berth`. */
  readonly cgroupRoot: string
  /** The binary for `--init`, when there is one. */
  readonly initPath: string | undefined
  /** Another container by its id; undefined: it is gone. */
  readonly entry: (id: string) => Entry | undefined
}

interface Networking {
  readonly netnsPath: string | undefined
  readonly usernsPath?: string
  readonly files: Partial<NetworkFiles>
}

export class Launcher {
  readonly #options: LauncherOptions
  readonly #mounts: ContainerMounts

  constructor(options: LauncherOptions) {
    this.#options = options
    this.#mounts = new ContainerMounts(options)
  }

  get imageMounts(): ImageMounts {
    return this.#mounts.images
  }

  /** Answers the pid of the running process. A Fault carries `details.exitCode` (125, 126 or 127). */
  async launch(entry: Entry): Promise<number> {
    await entry.cleaning
    try {
      return await this.#bringUp(entry)
    } catch (error) {
      throw startFault(error, entry.effective.args[0])
    }
  }

  async #bringUp(entry: Entry): Promise<number> {
    const { runtime, host, paths, cgroupRoot } = this.#options
    this.#takeDonorsName(entry)
    checkUserNamespace(entry.record.spec, this.#options.remap)
    const { record, effective, id } = entry
    const { spec } = record
    const remap = remapOf(this.#options.remap, spec)
    const logBounds = logBoundsOf(spec.log)
    // Refused now, not when somebody reads the log.
    if (spec.log !== undefined) logAttributesOf(spec.log, { id, name: record.name, imageId: record.imageId, imageName: spec.image, effective, hostname: host.hostname })
    const rootfs = rootfsPath(paths, id)
    const linked = linkedContainers(record.name, linksOf(entry), this.#options.find)
    const { rooted, mounted } = this.#mounts.open(entry, rootfs)
    const [, networking, mounts, devices, blockIo, shmPath] = await allSettledOrThrow([rooted, this.#openNetwork(entry), mounted, devicesOf(spec), blockIoOf(spec.resources ?? {}), this.#mounts.openSharedMemory(entry)])
    this.#tellMounted(entry)
    const identity = await lookUpIdentity(rootfs, effective.user, spec.security?.groupAdd ?? [])
    await makeWorkingDir(rootfs, effective.workingDir || '/', remap?.root)
    await this.#mounts.fill(entry, rootfs)
    const logPath = logPathOf(paths, record)
    const { pid } = await runtime.create({
      id,
      // A terminal has no end of input; it stays for whoever attaches next, also when we are restarted.
      stdin: spec.process?.stdin === 'once' && effective.tty ? 'open' : (spec.process?.stdin ?? 'none'),
      logPath,
      // The log of a pod is its node agent's business.
      ...(logBounds === undefined || spec.logPath !== undefined ? {} : { logCeilingBytes: ceilingBytes(logBounds) }),
      spec: runtimeSpecOf({
        spec,
        effective: { ...effective, env: [...linkEnv(record.name, linked), ...effective.env] },
        identity,
        rootfs,
        mounts,
        files: networking.files,
        netnsPath: networking.netnsPath,
        ...(remap === undefined || networking.usernsPath === undefined ? {} : { userNamespace: { path: networking.usernsPath, mapping: remap.mapping } }),
        joined: this.#joinedNamespaces(entry),
        cgroupsPath: `${cgroupRoot}/${spec.cgroupParent ?? 'docker'}/${id}`,
        devices,
        blockIo,
        ...(shmPath === undefined ? {} : { shmPath }),
        initPath: spec.init === true && (spec.pidMode ?? 'private') === 'private' ? this.#options.initPath : undefined,
        host,
      }),
    })
    if (entry.hub.wanted) await entry.hub.connect()
    await runtime.start(id)
    return pid
  }

  /** Who shares another's network bears its name from the start on: the shared /etc/hosts knows no other. */
  #takeDonorsName(entry: Entry): void {
    const { record } = entry
    if (record.spec.network?.mode !== 'container') return
    const donor = this.#options.find(record.spec.network.ref)
    entry.record = { ...record, spec: { ...record.spec, hostname: donor.effective.hostname, domainname: donor.record.spec.domainname ?? '' } }
    entry.effective = effectiveOfRecord(entry.record, this.#options.host)
  }

  /** Told in one go once everything stands: networks first, then volumes, whatever was ready sooner. */
  #tellMounted(entry: Entry): void {
    const { id, record } = entry
    entry.volumes = record.mounts.filter(({ type }) => type === 'volume')
    for (const { name = '', driver = 'local', target, propagation, readonly } of entry.volumes) {
      this.#options.events.publish({ type: 'volume', action: 'mount', actor: { id: name, attributes: { container: id, destination: target, driver, propagation, 'read/write': String(!readonly) } }, namespace: record.spec.namespace })
    }
  }

  #tellUnmounted(entry: Entry): void {
    const { id, record, volumes } = entry
    entry.volumes = []
    for (const { name = '', driver = 'local' } of volumes) this.#options.events.publish({ type: 'volume', action: 'unmount', actor: { id: name, attributes: { container: id, driver } }, namespace: record.spec.namespace })
  }

  async #openNetwork(entry: Entry): Promise<Networking> {
    const wanted: ContainerNetworking = entry.record.spec.network ?? { mode: 'networks', endpoints: [{ network: 'bridge' }] }
    switch (wanted.mode) {
      case 'networks':
      case 'none':
        return this.#openSandbox(entry, wanted)
      case 'host':
        await this.#tellPlain(entry, 'connect')
        return { netnsPath: undefined, files: await this.#writeFiles(entry, { nameservers: [], search: [], options: [] }, true) }
      case 'container': {
        const other = this.#options.find(wanted.ref)
        if (other.netnsPath === undefined && other.record.lifecycle.pid === 0) throw new Fault('conflict', `cannot join network of a non running container: ${other.id}`)
        return { netnsPath: other.netnsPath ?? `/proc/${other.record.lifecycle.pid}/ns/net`, ...(await this.#joinedUserNamespace(entry)), files: networkFilePaths(this.#options.paths, other.id) }
      }
      case 'sandbox':
        return {
          netnsPath: wanted.netnsPath === 'host' ? undefined : wanted.netnsPath,
          files: { ...(wanted.hostsPath === undefined ? {} : { hosts: wanted.hostsPath }), ...(wanted.hostnamePath === undefined ? {} : { hostname: wanted.hostnamePath }), ...(wanted.resolvConfPath === undefined ? {} : { resolvConf: wanted.resolvConfPath }) },
        }
      default:
        return unreachable(wanted)
    }
  }

  async #openSandbox(entry: Entry, wanted: Extract<ContainerNetworking, { mode: 'networks' | 'none' }>): Promise<Networking> {
    const { networks } = this.#options
    const { id, record } = entry
    const remap = remapOf(this.#options.remap, record.spec)
    const owner = remap === undefined ? {} : { owner: await userNamespaceFor(remap, this.#donors(entry)) }
    const { netnsPath, usernsPath } = await networks.openSandbox(id, { sysctls: networkSysctls(record.spec), dnsServers: record.spec.dns?.servers ?? [], ...owner })
    entry.netnsPath = netnsPath
    entry.endpoints = []
    if (wanted.mode === 'networks') for (const { network, spec } of wanted.endpoints) await this.join(entry, network, spec ?? {})
    else await this.#tellPlain(entry, 'connect')
    return { netnsPath, ...(usernsPath === undefined ? {} : { usernsPath }), files: await this.#writeFiles(entry, await networks.resolver(id), false) }
  }

  async #joinedUserNamespace(entry: Entry): Promise<{ readonly usernsPath?: string }> {
    const remap = remapOf(this.#options.remap, entry.record.spec)
    const joined = remap === undefined ? undefined : await userNamespaceFor(remap, this.#donors(entry))
    return joined === undefined || !('path' in joined) ? {} : { usernsPath: joined.path }
  }

  /** The containers whose namespaces this one shares. */
  #donors({ record: { spec } }: Entry): readonly Donor[] {
    const refs = [spec.network?.mode === 'container' ? spec.network.ref : undefined, ...[spec.pidMode, spec.ipcMode].map((mode) => (typeof mode === 'object' && 'container' in mode ? mode.container : undefined))]
    return refs.filter((ref) => ref !== undefined).map((ref) => ({ name: ref, pid: this.#options.find(ref).record.lifecycle.pid }))
  }

  /** Connects a container that has its sandbox to a network, under its own names. The first network that leads outside publishes its ports. */
  async join(entry: Entry, network: string, spec: EndpointSpec): Promise<void> {
    const { networks, events } = this.#options
    const { id, record, effective } = entry
    const { id: networkId, name, driver, internal } = await networks.get(network)
    const aliases = name === 'bridge' ? [] : [...new Set([record.name, ...(spec.aliases ?? []), id.slice(0, 12), effective.hostname])]
    const isPublished = entry.endpoints.some((endpoint) => endpoint.ports.length > 0)
    const ports = !internal && !isPublished && record.spec.network?.mode === 'networks' ? portsOf(record.spec.network, effective.exposedPorts) : []
    const endpoint = await networks.connect(id, networkId, { ...spec, aliases, ports, containerName: record.name })
    entry.endpoints = [...entry.endpoints, endpoint]
    events.publish({ type: 'network', action: 'connect', actor: { id: networkId, attributes: { container: id, name, type: driver } }, namespace: record.spec.namespace })
  }

  /** Tells that a container left a network. */
  left({ id, record }: Entry, { networkId, networkName, driver = 'bridge' }: Pick<Endpoint, 'networkId' | 'networkName' | 'driver'>): void {
    this.#options.events.publish({ type: 'network', action: 'disconnect', actor: { id: networkId, attributes: { container: id, name: networkName, type: driver } }, namespace: record.spec.namespace })
  }

  /** The networks `none` and `host` have no endpoints, but are told of as all others. */
  async #tellPlain({ id, record }: Entry, action: 'connect' | 'disconnect'): Promise<void> {
    const mode = record.spec.network?.mode
    if (mode !== 'none' && mode !== 'host') return
    const { id: networkId, name, driver } = await this.#options.networks.get(mode)
    this.#options.events.publish({ type: 'network', action, actor: { id: networkId, attributes: { container: id, name, type: driver } }, namespace: record.spec.namespace })
  }

  /** Renews /etc/hosts after a running container joined or left a network, and /etc/resolv.conf where the container left it as it was. */
  async refreshFiles(entry: Entry, before: ResolverSettings): Promise<void> {
    const { paths, networks } = this.#options
    const { spec } = entry.record
    const files = networkFilePaths(paths, entry.id)
    const after = resolvConfText(spec.dns, await networks.resolver(entry.id))
    const isUntouched = (await readFile(files.resolvConf, 'utf8')) === resolvConfText(spec.dns, before)
    await writeNetworkFiles(files, { hosts: this.#hostsText(entry), ...(isUntouched ? { resolvConf: after } : {}) })
  }

  /** Renews /etc/hosts alone, after a link was taken away. */
  async refreshHosts(entry: Entry): Promise<void> {
    await writeNetworkFiles(networkFilePaths(this.#options.paths, entry.id), { hosts: this.#hostsText(entry) })
  }

  #hostsText(entry: Entry): string {
    return hostsText(entry.effective.hostname, entry.record.spec, entry.endpoints, linkHosts(stillLinked(linksOf(entry), this.#options.entry)))
  }

  async #writeFiles(entry: Entry, given: { readonly nameservers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }, hostNetwork: boolean): Promise<NetworkFiles> {
    const { spec } = entry.record
    const files = networkFilePaths(this.#options.paths, entry.id)
    const ownResolver = !hostNetwork || (spec.dns?.servers ?? []).length > 0
    await writeNetworkFiles(files, {
      hosts: this.#hostsText(entry),
      hostname: `${entry.effective.hostname}\n`,
      ...(ownResolver ? { resolvConf: resolvConfText(spec.dns, given) } : {}),
    }, remapOf(this.#options.remap, spec)?.root)
    return ownResolver ? files : { ...files, resolvConf: '/etc/resolv.conf' }
  }

  #joinedNamespaces({ record }: Entry): { readonly pid?: string; readonly ipc?: string; readonly uts?: string } {
    const pathOf = (mode: IpcMode | undefined, kind: 'pid' | 'ipc' | 'uts'): string | undefined => {
      if (mode === undefined || typeof mode === 'string') return undefined
      if ('path' in mode) return mode.path
      const { pid } = this.#options.find(mode.container).record.lifecycle
      if (pid === 0) throw new Fault('conflict', `failed to join ${kind.toUpperCase()} namespace: container ${mode.container} is not running`)
      return `/proc/${pid}/ns/${kind}`
    }
    const [pid, ipc, uts] = [pathOf(record.spec.pidMode, 'pid'), pathOf(record.spec.ipcMode, 'ipc'), pathOf(record.spec.utsMode, 'uts')]
    return { ...(pid === undefined ? {} : { pid }), ...(ipc === undefined ? {} : { ipc }), ...(uts === undefined ? {} : { uts }) }
  }

  /**
   * Releases what the run held. Published ports and places in user-defined networks are waited for, so that whoever was told of
   * the exit can take or remove them; the rest goes on in `entry.cleaning`. What the runtime remembers of the run goes only when
   * `recorded` has settled: until then it is all that tells of the exit.
   */
  async cleanUp(entry: Entry, recorded: Promise<void> = Promise.resolve()): Promise<void> {
    const { networks, log } = this.#options
    const { id, endpoints } = entry
    const hasSandbox = ownsSandbox(entry)
    entry.endpoints = []
    entry.netnsPath = undefined
    const closing = hasSandbox ? networks.closeSandbox(id) : Promise.resolve()
    for (const endpoint of endpoints) this.left(entry, endpoint)
    const complain = (what: string) => (error: unknown) => log.warn({ container: id, error: String(error) }, `could not ${what}`)
    entry.cleaning = Promise.all([closing.catch(complain('close the network sandbox')), recorded.then(() => this.#clearRuntime(entry)).catch(complain('clear the runtime away'))]).then(() => undefined)
    await this.#tellPlain(entry, 'disconnect')
    this.#tellUnmounted(entry)
    // What others can see of it must be gone when they are told of the exit: ports taken, networks in use.
    if (endpoints.some(({ ports, networkName }) => ports.length > 0 || networkName !== 'bridge')) await closing.catch(complain('release the published ports'))
  }

  async #clearRuntime({ id, record }: Entry): Promise<void> {
    const { volumes } = this.#options
    await this.#clearRoot(id, async () => {
      await Promise.all(record.mounts.map(async ({ type, name }) => (type === 'volume' && name !== undefined ? volumes.unmount(name, id) : undefined)))
    })
  }

  async #clearRoot(id: string, unmountVolumes?: () => Promise<void>): Promise<void> {
    await this.#options.runtime.delete(id, { force: true })
    await this.#mounts.close(id, unmountVolumes)
  }

  /** What is left of a container whose removal was cut short: its record is gone already. */
  async sweep(id: string): Promise<void> {
    await this.#options.networks.closeSandbox(id)
    await this.#clearRoot(id)
    await this.imageMounts.remove(id)
    await this.#options.snapshots.remove(id)
  }
}

/** Waits for all, also when one fails: what the others made must be known before it can be taken back. */
async function allSettledOrThrow<T extends readonly unknown[]>(tasks: { readonly [K in keyof T]: Promise<T[K]> }): Promise<T> {
  await Promise.allSettled(tasks)
  return (await Promise.all(tasks)) as unknown as T
}

async function makeWorkingDir(rootfs: string, path: string, owner: Owner | undefined): Promise<void> {
  if (path === '/') return
  try {
    await makeFolders(await resolveInRoot(rootfs, path), owner)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'EEXIST' && code !== 'ENOTDIR') throw error
    throw new Fault('invalidArgument', `Cannot mkdir: ${path} is not a directory`)
  }
}

/** What `-p` and `-P` ask for. */
function portsOf(wanted: Extract<ContainerNetworking, { mode: 'networks' }>, exposed: readonly string[]): PortBinding[] {
  const ports = [...(wanted.ports ?? [])]
  if (wanted.publishAll !== true) return ports
  for (const port of exposed) {
    const [number = '', protocol = 'tcp'] = port.split('/')
    if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') continue
    const containerPort = Number(number)
    if (!ports.some((binding) => binding.containerPort === containerPort && binding.protocol === protocol)) ports.push({ containerPort, protocol, hostIp: '', hostPort: 0 })
  }
  return ports
}

