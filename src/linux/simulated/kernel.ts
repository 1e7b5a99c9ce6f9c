/**
 * A kernel in memory, for tests that must not touch the machine: mounts, namespaces, links, packet filter scripts and
 * cgroups as plain tables with the contract's rules (contract/kernel.suite.ts). Nothing runs in it: processes are answered
 * by the test.
 */
import { Fault } from '#base/fault.ts'
import type { CgroupLimits, Cgroups, CgroupStats } from '../contract/cgroups.ts'
import type { Kernel } from '../contract/kernel.ts'
import type { AttachRequest, InNamespace, Link, Links, MacvlanRequest, RouteRequest } from '../contract/links.ts'
import type { MountEntry, MountRequest, Mounts } from '../contract/mounts.ts'
import type { Namespaces } from '../contract/namespaces.ts'
import type { Nftables } from '../contract/nftables.ts'

export interface SimulatedKernel extends Pick<Kernel, 'mounts' | 'namespaces' | 'links' | 'nftables' | 'cgroups'> {
  /** Folders and files that exist, besides `/`. */
  readonly paths: Set<string>
  /** Scripts in the order they were applied, by namespace (`''` for the machine's own). */
  readonly scripts: Map<string, string[]>
  readonly routes: Map<string, RouteRequest[]>
  readonly sysctls: Map<string, string>
}

export function simulatedKernel(): SimulatedKernel {
  const paths = new Set<string>()
  const pins = new Map<string, string>()
  const networks = new SimulatedNetworks(pins)
  return {
    paths,
    mounts: simulatedMounts(paths),
    namespaces: simulatedNamespaces({ paths, pins, networks }),
    links: networks,
    routes: networks.routes,
    sysctls: networks.sysctls,
    ...simulatedNftables(),
    cgroups: simulatedCgroups(),
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

function requirePath(paths: ReadonlySet<string>, path: string, what: string): void {
  if (path !== '/' && !paths.has(path)) throw new Fault('notFound', `${what}: ${path} does not exist`)
}

function simulatedMounts(paths: ReadonlySet<string>): Mounts {
  const table: MountEntry[] = []
  let nextId = 1
  const add = (request: MountRequest, type: string): void => {
    requirePath(paths, request.target, 'mount')
    const flags = request.flags ?? []
    table.push({ id: (nextId += 1), parentId: 1, root: '/', target: request.target, type, source: request.source, options: flags, superOptions: request.data?.split(',') ?? [], propagation: 'private' })
  }
  return {
    async mount(request) {
      const binds = request.flags?.includes('bind') === true || request.flags?.includes('rbind') === true
      if (binds) requirePath(paths, request.source, 'bind')
      else if (request.type === undefined) return
      add(request, request.type ?? 'none')
    },
    async bindInside({ root, path, target }) {
      requirePath(paths, root, 'bind')
      add({ source: `${root}/${path}`, target }, 'none')
    },
    async bindShifted({ source, target }) {
      requirePath(paths, source, 'bind')
      add({ source, target }, 'none')
    },
    async overlay(request) {
      for (const path of [...request.lower, ...(request.upper === undefined ? [] : [request.upper, request.work ?? ''])]) requirePath(paths, path, 'overlay')
      add({ source: 'overlay', target: request.target }, 'overlay')
    },
    async unmount(target) {
      const at = table.findLastIndex((entry) => entry.target === target)
      if (at >= 0) table.splice(at, 1)
    },
    async table(under) {
      return table.filter(({ target }) => under === undefined || target === under || target.startsWith(`${under}/`))
    },
  }
}

interface NamespaceParts {
  readonly paths: ReadonlySet<string>
  readonly pins: Map<string, string>
  readonly networks: SimulatedNetworks
}

function simulatedNamespaces({ paths, pins, networks }: NamespaceParts): Namespaces {
  return {
    async create({ pinAt, owner, sysctls }) {
      const wanted = [...Object.entries(pinAt), ...(owner !== undefined && 'mapping' in owner ? [['user', owner.pinAt] as const] : [])]
      for (const [, path] of wanted) {
        requirePath(paths, parentOf(path), 'pin a namespace')
        if (pins.has(path)) throw new Fault('alreadyExists', `a namespace is pinned at ${path}`)
      }
      for (const [kind, path] of wanted) pins.set(path, kind)
      for (const [name, value] of Object.entries(sysctls ?? {})) networks.sysctls.set(`${pinAt.net ?? ''} ${name}`, value)
    },
    async remove(path) {
      pins.delete(path)
      networks.forget(path)
    },
    async pinned(path) {
      return pins.has(path)
    },
  }
}

class SimulatedNetworks implements Links {
  readonly routes = new Map<string, RouteRequest[]>()
  readonly sysctls = new Map<string, string>()
  readonly #pins: ReadonlyMap<string, string>
  readonly #links = new Map<string, Map<string, Link>>()
  /** The other end of a pair, by namespace and name. */
  readonly #peers = new Map<string, { readonly netns: string; readonly name: string }>()
  #nextIndex = 1

  constructor(pins: ReadonlyMap<string, string>) {
    this.#pins = pins
  }

  forget(netns: string): void {
    for (const name of this.#links.get(netns)?.keys() ?? []) this.#delete(netns, name)
    this.#links.delete(netns)
  }

  async ensureBridge(request: Parameters<Links['ensureBridge']>[0]): Promise<void> {
    const links = this.#in(request)
    const found = links.get(request.name)
    const addresses = [...new Set([...(found?.addresses ?? []), ...request.addresses])]
    links.set(request.name, { index: found?.index ?? this.#index(), name: request.name, kind: 'bridge', mac: request.mac ?? '02:00:00:00:00:01', mtu: request.mtu ?? 1500, up: true, addresses })
  }

  async attach(request: AttachRequest): Promise<{ readonly mac: string }> {
    const [host, inside] = [this.#in({}), this.#in(request)]
    if (host.has(request.hostName)) throw new Fault('alreadyExists', `interface ${request.hostName} exists`)
    if (inside.has(request.ifName)) throw new Fault('alreadyExists', `interface ${request.ifName} exists in ${request.netns}`)
    if (request.bridge !== undefined && !host.has(request.bridge)) throw new Fault('notFound', `no interface ${request.bridge}`)
    const mac = request.mac ?? '02:00:00:00:00:02'
    const common = { kind: 'veth', mtu: request.mtu ?? 1500, up: true }
    host.set(request.hostName, { ...common, index: this.#index(), name: request.hostName, mac: '02:00:00:00:00:03', addresses: [], ...(request.bridge === undefined ? {} : { master: request.bridge }) })
    inside.set(request.ifName, { ...common, index: this.#index(), name: request.ifName, mac, addresses: request.addresses })
    this.#peers.set(` ${request.hostName}`, { netns: request.netns, name: request.ifName })
    this.#peers.set(`${request.netns} ${request.ifName}`, { netns: '', name: request.hostName })
    return { mac }
  }

  async attachMacvlan(request: MacvlanRequest): Promise<{ readonly mac: string }> {
    const inside = this.#in(request)
    if (!this.#in({}).has(request.parent)) throw new Fault('notFound', `no interface ${request.parent}`)
    if (inside.has(request.ifName)) throw new Fault('alreadyExists', `interface ${request.ifName} exists in ${request.netns}`)
    const mac = request.mac ?? '02:00:00:00:00:04'
    inside.set(request.ifName, { index: this.#index(), name: request.ifName, kind: 'macvlan', mac, mtu: request.mtu ?? 1500, up: true, addresses: request.addresses })
    return { mac }
  }

  async ensureVlan({ name, parent }: { readonly name: string; readonly parent: string }): Promise<boolean> {
    if (!this.#in({}).has(parent)) throw new Fault('notFound', `no interface ${parent}`)
    return this.#ensure(name, 'vlan')
  }

  async ensurePair({ name, peer }: { readonly name: string; readonly peer: string }): Promise<boolean> {
    const isNew = this.#ensure(name, 'veth')
    this.#ensure(peer, 'veth')
    this.#peers.set(` ${name}`, { netns: '', name: peer })
    this.#peers.set(` ${peer}`, { netns: '', name })
    return isNew
  }

  #ensure(name: string, kind: string): boolean {
    const links = this.#in({})
    if (links.has(name)) return false
    links.set(name, { index: this.#index(), name, kind, mac: '02:00:00:00:00:05', mtu: 1500, up: true, addresses: [] })
    return true
  }

  async deleteLink(name: string, where: InNamespace = {}): Promise<void> {
    this.#delete(where.netns ?? '', name)
  }

  #delete(netns: string, name: string): void {
    this.#links.get(netns)?.delete(name)
    const peer = this.#peers.get(`${netns} ${name}`)
    this.#peers.delete(`${netns} ${name}`)
    if (peer !== undefined) this.#delete(peer.netns, peer.name)
  }

  async up(name: string, where: InNamespace = {}): Promise<void> {
    this.#change(name, where, (link) => ({ ...link, up: true }))
  }

  async addAddress(name: string, address: string, where: InNamespace = {}): Promise<void> {
    this.#change(name, where, (link) => ({ ...link, addresses: [...new Set([...link.addresses, address])] }))
  }

  async deleteAddress(name: string, address: string, where: InNamespace = {}): Promise<void> {
    this.#change(name, where, (link) => ({ ...link, addresses: link.addresses.filter((one) => one !== address) }))
  }

  async route(request: RouteRequest, where: InNamespace = {}): Promise<void> {
    await this.deleteRoute(request, where)
    this.routes.set(where.netns ?? '', [...(this.routes.get(where.netns ?? '') ?? []), request])
  }

  async deleteRoute(request: RouteRequest, where: InNamespace = {}): Promise<void> {
    const routes = this.routes.get(where.netns ?? '') ?? []
    this.routes.set(where.netns ?? '', routes.filter(({ destination, type }) => destination !== request.destination || (type ?? 'unicast') !== (request.type ?? 'unicast')))
  }

  async list(where: InNamespace = {}): Promise<readonly Link[]> {
    return [...this.#in(where).values()]
  }

  async statistics(where: InNamespace = {}): Promise<Awaited<ReturnType<Links['statistics']>>> {
    const none = { rxBytes: 0n, rxPackets: 0n, rxErrors: 0n, rxDropped: 0n, txBytes: 0n, txPackets: 0n, txErrors: 0n, txDropped: 0n }
    return [...this.#in(where).keys()].map((name) => ({ name, ...none }))
  }

  async setSysctl(name: string, value: string, where: InNamespace = {}): Promise<void> {
    this.sysctls.set(`${where.netns ?? ''} ${name}`, value)
  }

  #in({ netns }: InNamespace): Map<string, Link> {
    if (netns !== undefined && this.#pins.get(netns) !== 'net') throw new Fault('notFound', `no network namespace at ${netns}`)
    const links = this.#links.get(netns ?? '') ?? new Map<string, Link>()
    this.#links.set(netns ?? '', links)
    return links
  }

  #change(name: string, where: InNamespace, change: (link: Link) => Link): void {
    const links = this.#in(where)
    const link = links.get(name)
    if (link === undefined) throw new Fault('notFound', `no interface ${name}`)
    links.set(name, change(link))
  }

  #index(): number {
    this.#nextIndex += 1
    return this.#nextIndex
  }
}

function simulatedNftables(): { readonly nftables: Nftables; readonly scripts: Map<string, string[]> } {
  const scripts = new Map<string, string[]>()
  return {
    scripts,
    nftables: {
      async apply(script, { netns = '' } = {}) {
        scripts.set(netns, [...(scripts.get(netns) ?? []), script])
      },
      async list() {
        return []
      },
    },
  }
}

function simulatedCgroups(): Cgroups {
  const groups = new Map<string, { limits: CgroupLimits; readonly pids: Set<number> }>()
  const clean = (path: string): string => path.split('/').filter((part) => part !== '').join('/')
  const below = (path: string): string[] => [...groups.keys()].filter((one) => one === clean(path) || one.startsWith(`${clean(path)}/`))
  const get = (path: string): { limits: CgroupLimits; readonly pids: Set<number> } => {
    const group = groups.get(clean(path))
    if (group === undefined) throw new Fault('notFound', `no cgroup ${path}`)
    return group
  }
  return {
    mode: 'v2',
    abilities: async () => ({
      memory: true, swap: true, swappiness: false, reservation: true, oomKillDisable: false, pids: true, cpuShares: true, cpuQuota: true, cpuRealtime: false,
      blkioWeight: true, blkioWeightDevice: true, blkioRates: true, cpuset: { cpus: '0-1', mems: '0' },
    }),
    async create(path, limits = {}) {
      const parts = clean(path).split('/')
      for (let length = 1; length <= parts.length; length += 1) {
        const group = parts.slice(0, length).join('/')
        if (!groups.has(group)) groups.set(group, { limits: {}, pids: new Set() })
      }
      get(path).limits = { ...get(path).limits, ...limits }
    },
    async update(path, limits) {
      get(path).limits = { ...get(path).limits, ...limits }
    },
    expectMove() {},
    async add(path, pid) {
      for (const group of groups.values()) group.pids.delete(pid)
      get(path).pids.add(pid)
    },
    async pids(path) {
      return below(path).flatMap((group) => [...(groups.get(group)?.pids ?? [])])
    },
    stats: async (path) => statsOf(get(path)),
    watchOomKills: () => undefined,
    async kill(path) {
      for (const group of below(path)) groups.get(group)?.pids.clear()
    },
    freeze: async (path) => void get(path),
    thaw: async (path) => void get(path),
    async remove(path) {
      const doomed = below(path)
      if (doomed.some((group) => (groups.get(group)?.pids.size ?? 0) > 0)) throw new Fault('conflict', `the cgroup ${path} is not empty`)
      for (const group of doomed) groups.delete(group)
    },
  }
}

function statsOf({ limits, pids }: { readonly limits: CgroupLimits; readonly pids: ReadonlySet<number> }): CgroupStats {
  const limit = (value: bigint | undefined): bigint | undefined => (value === undefined || value < 0n ? undefined : value)
  return {
    cpuUsageNs: 0n, cpuUserNs: 0n, cpuSystemNs: 0n, cpuPeriods: 0n, cpuThrottledPeriods: 0n, cpuThrottledNs: 0n,
    memoryUsageBytes: 0n, memoryLimitBytes: limit(limits.memoryBytes), memoryInactiveFileBytes: 0n, memoryStat: {}, oomKills: 0n,
    pids: BigInt(pids.size), pidsLimit: limit(limits.pids), io: [],
  }
}
