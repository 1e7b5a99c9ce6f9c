/**
 * Pod sandboxes without a pause process: network, ipc and uts namespaces pinned below the run directory, the files that all
 * containers of the pod share (hosts, hostname, resolv.conf, /dev/shm), and an address. They live without any process of
 * ours and are found again after a restart.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SandboxConfig, SandboxStatus } from '#cluster/contract/runtime.ts'
import type { Clock } from '#base/clock.ts'
import { Fault, systemErrorCode } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { randomHex, type Random } from '#base/random.ts'
import { KeyedSerial } from '#base/task.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { NamespaceKind, Namespaces } from '#linux/contract/namespaces.ts'
import { PodAddresses } from './addresses.ts'
import { checkHostPorts, PodNetwork, type PodEndpoint } from './pod-network.ts'
import { type SandboxRecord, SandboxRecords } from './sandbox-record.ts'
import type { Links } from '#linux/contract/links.ts'
import type { Nftables } from '#linux/contract/nftables.ts'

export interface SandboxesOptions {
  readonly kernel: { readonly namespaces: Namespaces; readonly mounts: Mounts; readonly links: Links; readonly nftables: Nftables }
  /** Records: `<stateDir>/pods`. */
  readonly stateDir: string
  /** Pins and files: `<runDir>/p/<id>`; may be lost with the machine. */
  readonly runDir: string
  readonly linkPrefix: string
  /** nftables table (family ip), e.g. `berth-pods`. */
  readonly table: string
  readonly podCidr: string
  readonly clusterCidr: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface SandboxPaths {
  readonly folder: string
  readonly net: string
  readonly ipc: string
  readonly uts: string
  readonly shm: string
  readonly hosts: string
  readonly hostname: string
  readonly resolvConf: string
}

const shmBytes = 64 * 1024 * 1024

export class Sandboxes {
  readonly #options: SandboxesOptions
  readonly #records: SandboxRecords
  readonly #addresses: PodAddresses
  readonly #network: PodNetwork
  readonly #sandboxes = new Map<string, SandboxRecord>()
  readonly #serial = new KeyedSerial<string>()
  #bootId = ''

  constructor(options: SandboxesOptions) {
    this.#options = options
    this.#records = new SandboxRecords(options.stateDir)
    this.#addresses = new PodAddresses(options.podCidr)
    const { links, nftables } = options.kernel
    this.#network = new PodNetwork({ links, nftables, linkPrefix: options.linkPrefix, table: options.table, podCidr: options.podCidr, clusterCidr: options.clusterCidr, gateway: this.#addresses.gateway })
  }

  /** Takes over what earlier processes left: live sandboxes stay, dead ones are noted, leftovers without a record are swept. */
  async open(): Promise<void> {
    const { log, runDir } = this.#options
    await mkdir(join(runDir, 'p'), { recursive: true, mode: 0o711 })
    this.#bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
    for (const record of await this.#records.readAll((file, error) => log.error({ file, error: String(error) }, 'skipped an unreadable sandbox record'))) {
      this.#sandboxes.set(record.id, record)
      if (record.state !== 'ready') continue
      if (await this.#lives(record)) this.#addresses.take(record.address)
      else await this.#save({ ...record, state: 'notReady', address: '' })
    }
    for (const name of await readdir(join(runDir, 'p'))) if (!this.#sandboxes.has(name)) await this.#sweep(name)
    await this.#network.open([...this.#sandboxes.values()].filter(({ state, address }) => state === 'ready' && address !== '').map(endpointOf))
  }

  get(id: string): SandboxRecord {
    const record = this.#sandboxes.get(id)
    if (record === undefined) throw new Fault('notFound', `no pod sandbox ${id}`)
    return record
  }

  find(id: string): SandboxRecord | undefined {
    return this.#sandboxes.get(id)
  }

  list(): readonly SandboxRecord[] {
    return [...this.#sandboxes.values()]
  }

  paths(id: string): SandboxPaths {
    const folder = join(this.#options.runDir, 'p', id)
    return { folder, net: join(folder, 'net'), ipc: join(folder, 'ipc'), uts: join(folder, 'uts'), shm: join(folder, 'shm'), hosts: join(folder, 'hosts'), hostname: join(folder, 'hostname'), resolvConf: join(folder, 'resolv.conf') }
  }

  async run(config: SandboxConfig): Promise<SandboxRecord> {
    const taken = [...this.#sandboxes.values()]
    if (taken.some(({ pod, attempt }) => pod.uid === config.pod.uid && attempt === config.attempt)) {
      throw new Fault('alreadyExists', `pod ${config.pod.namespace}/${config.pod.name} (${config.pod.uid}) has a sandbox of attempt ${config.attempt}`)
    }
    if (config.shareProcessNamespace) throw new Fault('unimplemented', 'shareProcessNamespace is not supported yet: pods have no process that could hold a shared process namespace')
    checkHostPorts(config.hostPorts, taken.filter(({ state }) => state === 'ready').map(({ pod, hostPorts }) => ({ pod: `${pod.namespace}/${pod.name}`, hostPorts })))
    const record = this.#newRecord(config)
    // Noted before the first step that waits: a second call with the same attempt finds it.
    this.#sandboxes.set(record.id, record)
    return this.#serial.run(record.id, async () => {
      try {
        await this.#make(record, config)
        return record
      } catch (error) {
        await this.#unmake(record)
        this.#sandboxes.delete(record.id)
        await this.#records.remove(record.id)
        throw error
      }
    })
  }

  /** True when it was ready until now. */
  async stop(id: string): Promise<boolean> {
    return this.#serial.run(id, async () => {
      const record = this.#sandboxes.get(id)
      if (record === undefined || record.state === 'notReady') return false
      await this.#unmake(record)
      await this.#save({ ...record, state: 'notReady', address: '' })
      return true
    })
  }

  async remove(id: string): Promise<void> {
    await this.stop(id)
    await this.#serial.run(id, async () => {
      await this.#sweep(id)
      await this.#records.remove(id)
      this.#sandboxes.delete(id)
    })
  }

  #newRecord(config: SandboxConfig): SandboxRecord {
    const { clock, random } = this.#options
    return {
      id: randomHex(random, 64),
      pod: config.pod,
      attempt: config.attempt,
      state: 'ready',
      createdAtMs: clock.nowMs(),
      address: config.hostNetwork ? '' : this.#addresses.allocate(),
      labels: config.labels,
      annotations: config.annotations,
      hostname: config.hostname,
      hostNetwork: config.hostNetwork,
      hostPid: config.hostPid,
      hostIpc: config.hostIpc,
      dns: config.dns,
      logDirectory: config.logDirectory,
      cgroupParent: config.cgroupParent,
      // With the node's own network a host port is the container's port: nothing to translate.
      hostPorts: config.hostNetwork ? [] : config.hostPorts,
      bootId: this.#bootId,
    }
  }

  async #make(record: SandboxRecord, config: SandboxConfig): Promise<void> {
    const { namespaces, mounts } = this.#options.kernel
    const paths = this.paths(record.id)
    await mkdir(paths.shm, { recursive: true, mode: 0o711 })
    const files = Promise.all([
      this.#records.write(record),
      writeFile(paths.hostname, `${record.hostname}\n`),
      writeFile(paths.hosts, hostsText(record)),
      this.#writeResolvConf(record, paths),
      record.hostIpc ? undefined : mounts.mount({ source: 'shm', target: paths.shm, type: 'tmpfs', flags: ['nosuid', 'nodev', 'noexec'], data: `mode=1777,size=${shmBytes}` }),
    ])
    const pinAt = Object.fromEntries(pinnedKinds(record).map((kind) => [kind, paths[kind]]))
    const made = namespaces.create({ pinAt, sysctls: config.sysctls, ...(record.hostNetwork ? {} : { hostname: record.hostname.slice(0, 64) }) })
    await Promise.allSettled([files, made])
    await Promise.all([files, made])
    if (record.address !== '') await this.#network.attach(endpointOf(record), paths.net)
  }

  async #writeResolvConf(record: SandboxRecord, paths: SandboxPaths): Promise<void> {
    await writeFile(paths.resolvConf, record.dns === undefined ? await nodeResolvConf() : resolvText(record.dns))
  }

  async #unmake(record: SandboxRecord): Promise<void> {
    if (record.address !== '') {
      await this.#network.detach(endpointOf(record))
      this.#addresses.release(record.address)
    }
    await this.#release(record.id)
  }

  /** Pins and mounts; the plain files stay. */
  async #release(id: string): Promise<void> {
    const { namespaces, mounts } = this.#options.kernel
    const paths = this.paths(id)
    await Promise.all([namespaces.remove(paths.net), namespaces.remove(paths.ipc), namespaces.remove(paths.uts), mounts.unmount(paths.shm, { lazy: true })])
  }

  async #sweep(id: string): Promise<void> {
    await this.#release(id)
    await rm(this.paths(id).folder, { recursive: true, force: true })
  }

  async #save(record: SandboxRecord): Promise<void> {
    this.#sandboxes.set(record.id, record)
    await this.#records.write(record)
  }

  async #lives(record: SandboxRecord): Promise<boolean> {
    if (record.bootId !== this.#bootId) return false
    const paths = this.paths(record.id)
    for (const kind of pinnedKinds(record)) if (!(await this.#options.kernel.namespaces.pinned(paths[kind]))) return false
    return true
  }
}

/** A pod on the node's network shares the node's name too, as upstream has it. */
function pinnedKinds(record: SandboxRecord): NamespaceKind[] {
  return [...(record.hostNetwork ? [] : (['net', 'uts'] as const)), ...(record.hostIpc ? [] : (['ipc'] as const))]
}

function endpointOf({ id, address, hostPorts }: SandboxRecord): PodEndpoint {
  return { sandboxId: id, address, hostPorts }
}

async function nodeResolvConf(): Promise<string> {
  try {
    return await readFile('/etc/resolv.conf', 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return ''
    throw error
  }
}

function hostsText({ address, hostname }: SandboxRecord): string {
  return ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', 'fe00::0\tip6-localnet', 'fe00::0\tip6-mcastprefix', 'fe00::1\tip6-allnodes', 'fe00::2\tip6-allrouters', ...(address === '' ? [] : [`${address}\t${hostname}`]), ''].join('\n')
}

function resolvText(dns: { readonly nameservers: readonly string[]; readonly searches: readonly string[]; readonly options: readonly string[] }): string {
  const lines = dns.nameservers.map((server) => `nameserver ${server}`)
  if (dns.searches.length > 0) lines.push(`search ${dns.searches.join(' ')}`)
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(' ')}`)
  return `${lines.join('\n')}\n`
}

export function sandboxStatus(record: SandboxRecord): SandboxStatus {
  return {
    id: record.id,
    pod: record.pod,
    attempt: record.attempt,
    state: record.state,
    createdAtMs: record.createdAtMs,
    ips: record.address === '' ? [] : [record.address],
    labels: record.labels,
    annotations: record.annotations,
  }
}
