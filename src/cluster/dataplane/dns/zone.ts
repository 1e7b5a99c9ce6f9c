/**
 * What the cluster's zone answers, from Services and EndpointSlices. Pure apart from reading the caches. Specified by
 * "Kubernetes DNS-Based Service Discovery" (schema 1.1.0): A for services and headless endpoints, SRV for named ports, PTR,
 * CNAME for external names, and names of pods made of their addresses.
 */
import { contains, parseAddress, requirePrefix, type Prefix } from '#base/ipv4.ts'
import type { Service } from '../../api/core/v1/service.ts'
import type { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import type { Informer } from '../../client/informer.ts'
import { serviceNameLabel } from '../proxy/portals.ts'

export type DnsRecord =
  | { readonly type: 'A' | 'AAAA'; readonly name: string; readonly address: string }
  | { readonly type: 'CNAME' | 'PTR' | 'NS'; readonly name: string; readonly target: string }
  | { readonly type: 'SRV'; readonly name: string; readonly port: number; readonly weight: number; readonly target: string }
  | { readonly type: 'TXT'; readonly name: string; readonly text: string }
  | { readonly type: 'SOA'; readonly name: string; readonly primary: string; readonly mailbox: string; readonly serial: number }

export interface ZoneAnswer {
  readonly code: 'NOERROR' | 'NXDOMAIN'
  readonly answers: readonly DnsRecord[]
  /** Addresses of what SRV records point to. */
  readonly additionals: readonly DnsRecord[]
}

export interface ZoneOptions {
  /** `cluster.local` */
  readonly domain: string
  readonly services: Informer<Service>
  readonly slices: Informer<EndpointSlice>
  /** The ranges whose reverse names are ours, e.g. `10.43.0.0/16`. */
  readonly reverseCidrs: readonly string[]
}

export interface Zone {
  /** `name` in lower case, without the last dot. Undefined: not ours, somebody else may know. */
  answer(name: string, type: string): ZoneAnswer | undefined
  readonly domain: string
}

const byAddress = 'dns/address'
const byService = 'dns/service'
const byNamespace = 'dns/namespace'

const nothing: ZoneAnswer = { code: 'NXDOMAIN', answers: [], additionals: [] }
const noData: ZoneAnswer = { code: 'NOERROR', answers: [], additionals: [] }

export function clusterZone(options: ZoneOptions): Zone {
  const { services, slices, domain } = options
  services.addIndex(byAddress, ({ spec }) => (hasAddress(spec.clusterIP) ? [spec.clusterIP] : []))
  services.addIndex(byNamespace, ({ metadata }) => [metadata.namespace])
  slices.addIndex(byService, serviceKeys)
  slices.addIndex(byAddress, ({ endpoints }) => (endpoints ?? []).flatMap(({ addresses }) => addresses))
  const zone = new ClusterZone(options)
  return { domain, answer: (name, type) => zone.answer(name, type) }
}

function hasAddress(clusterIp: string | undefined): clusterIp is string {
  return clusterIp !== undefined && clusterIp !== '' && clusterIp !== 'None'
}

function serviceKeys({ metadata }: EndpointSlice): string[] {
  const name = metadata.labels?.[serviceNameLabel]
  return name === undefined ? [] : [`${metadata.namespace}/${name}`]
}

interface HeadlessEndpoint {
  readonly label: string
  readonly address: string
  readonly ports: EndpointSlice['ports']
}

class ClusterZone {
  readonly #options: ZoneOptions
  readonly #reverseRanges: readonly Prefix[]

  constructor(options: ZoneOptions) {
    this.#options = options
    this.#reverseRanges = options.reverseCidrs.map((cidr) => requirePrefix(cidr, 'reverse range'))
  }

  answer(name: string, type: string): ZoneAnswer | undefined {
    const { domain } = this.#options
    if (name.endsWith('.in-addr.arpa')) return this.#reverse(name, type)
    if (name === domain) return this.#apex(type)
    if (!name.endsWith(`.${domain}`)) return undefined
    const labels = name.slice(0, -domain.length - 1).split('.')
    const kind = labels.at(-1)
    if (labels.length === 1 && (kind === 'svc' || kind === 'pod')) return noData
    if (kind === 'svc') return this.#service(name, labels.slice(0, -1), type)
    if (kind === 'pod') return this.#pod(name, labels.slice(0, -1), type)
    if (labels.length === 1 && kind === 'dns-version') return pick([{ type: 'TXT', name, text: '1.1.0' }], type)
    return nothing
  }

  #apex(type: string): ZoneAnswer {
    const { domain } = this.#options
    return pick([{ type: 'NS', name: domain, target: `ns.dns.${domain}` }, soaOf(domain)], type)
  }

  /** `a-b-c-d.NAMESPACE.pod`: any IPv4 address, as upstream's "insecure" mode has it. */
  #pod(name: string, labels: readonly string[], type: string): ZoneAnswer {
    const [address, namespace, ...more] = labels
    if (namespace === undefined || more.length > 0 || address === undefined) return labels.length === 1 ? noData : nothing
    const match = /^(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})$/.exec(address)
    if (match === null || match.slice(1).some((part) => Number(part) > 255)) return nothing
    return pick([{ type: 'A', name, address: match.slice(1).map(Number).join('.') }], type)
  }

  #service(name: string, labels: readonly string[], type: string): ZoneAnswer {
    const namespace = labels.at(-1) ?? ''
    const serviceName = labels.at(-2)
    if (serviceName === undefined) return this.#options.services.byIndex(byNamespace, namespace).length > 0 ? noData : nothing
    const service = this.#options.services.get({ namespace, name: serviceName })
    if (service === undefined) return nothing
    const front = labels.slice(0, -2)
    const serviceDomain = `${serviceName}.${namespace}.svc.${this.#options.domain}`
    if (service.spec.type === 'ExternalName') return front.length > 0 ? nothing : { ...noData, answers: [{ type: 'CNAME', name, target: (service.spec.externalName ?? '').replace(/\.$/, '').toLowerCase() }] }
    const [first = '', second = ''] = front
    if (front.length === 0) return pick(this.#addresses(service, name), type)
    if (front.length === 2 && first.startsWith('_') && second.startsWith('_')) return this.#srv(service, { name, serviceDomain, port: first.slice(1), protocol: second.slice(1) }, type)
    if (front.length === 1 && first.startsWith('_')) return noData
    if (front.length === 1 && !hasAddress(service.spec.clusterIP)) {
      const found = this.#endpoints(service).filter(({ label }) => label === first)
      return found.length === 0 ? nothing : pick(found.map(({ address }) => ({ type: 'A', name, address })), type)
    }
    return nothing
  }

  #addresses(service: Service, name: string): DnsRecord[] {
    const { clusterIP } = service.spec
    if (hasAddress(clusterIP)) return [{ type: clusterIP.includes(':') ? 'AAAA' : 'A', name, address: clusterIP }]
    return [...new Set(this.#endpoints(service).map(({ address }) => address))].map((address) => ({ type: 'A', name, address }))
  }

  /** Of a headless service: those that are ready, or all with publishNotReadyAddresses. */
  #endpoints({ metadata, spec }: Service): HeadlessEndpoint[] {
    const slices = this.#options.slices.byIndex(byService, `${metadata.namespace}/${metadata.name}`)
    return slices
      .filter(({ addressType }) => addressType === 'IPv4')
      .flatMap(({ endpoints, ports }) =>
        (endpoints ?? []).flatMap(({ addresses, hostname, conditions }) => {
          const [address] = addresses
          if (address === undefined || (conditions.ready === false && spec.publishNotReadyAddresses !== true)) return []
          return [{ label: hostname ?? address.replaceAll('.', '-'), address, ports: ports ?? [] }]
        }),
      )
  }

  #srv(service: Service, query: { readonly name: string; readonly serviceDomain: string; readonly port: string; readonly protocol: string }, type: string): ZoneAnswer {
    const { name, serviceDomain } = query
    const matches = (port: { readonly name?: string | undefined; readonly protocol?: string | undefined }): boolean => port.name?.toLowerCase() === query.port && port.protocol?.toLowerCase() === query.protocol
    const answers: DnsRecord[] = []
    const additionals: DnsRecord[] = []
    if (hasAddress(service.spec.clusterIP)) {
      for (const port of (service.spec.ports ?? []).filter(matches)) answers.push({ type: 'SRV', name, port: port.port, weight: 100, target: serviceDomain })
      if (answers.length > 0) additionals.push(...this.#addresses(service, serviceDomain))
    } else {
      const endpoints = this.#endpoints(service)
      const weight = Math.max(1, Math.floor(100 / Math.max(1, endpoints.length)))
      for (const { label, address, ports } of endpoints) {
        const target = `${label}.${serviceDomain}`
        for (const port of ports.filter(matches)) answers.push({ type: 'SRV', name, port: port.port ?? 0, weight, target })
        additionals.push({ type: 'A', name: target, address })
      }
    }
    if (answers.length === 0) return nothing
    return type === 'SRV' || type === 'ANY' ? { code: 'NOERROR', answers, additionals } : noData
  }

  #reverse(name: string, type: string): ZoneAnswer | undefined {
    const address = name.slice(0, -'.in-addr.arpa'.length).split('.').toReversed().join('.')
    const number = parseAddress(address)
    if (number === undefined) return undefined
    const targets = this.#namesOf(address)
    if (targets.length > 0) return pick(targets.map((target) => ({ type: 'PTR', name, target })), type)
    return this.#reverseRanges.some((range) => contains(range, number)) ? nothing : undefined
  }

  #namesOf(address: string): string[] {
    const { services, slices, domain } = this.#options
    const ofServices = services.byIndex(byAddress, address).map(({ metadata }) => `${metadata.name}.${metadata.namespace}.svc.${domain}`)
    if (ofServices.length > 0) return ofServices
    return slices.byIndex(byAddress, address).flatMap((slice) =>
      (slice.endpoints ?? []).flatMap(({ addresses, hostname }) => {
        const service = slice.metadata.labels?.[serviceNameLabel]
        if (!addresses.includes(address) || hostname === undefined || service === undefined) return []
        return [`${hostname}.${service}.${slice.metadata.namespace}.svc.${domain}`]
      }),
    )
  }
}

/** The records of the type asked for; a name that has others only exists all the same. */
function pick(records: readonly DnsRecord[], type: string): ZoneAnswer {
  return { code: 'NOERROR', answers: records.filter((record) => type === 'ANY' || record.type === type), additionals: [] }
}

/** Says who speaks for the zone, and how long "there is no such name" may be remembered (RFC 2308). */
export function soaOf(domain: string): DnsRecord {
  return { type: 'SOA', name: domain, primary: `ns.dns.${domain}`, mailbox: `hostmaster.${domain}`, serial: 1 }
}

