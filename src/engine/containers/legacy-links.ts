/**
 * Links on the default bridge (`--link db:database`), which has no DNS: the other's address in /etc/hosts, and its ports and
 * environment as variables, under the names that Docker has for them.
 */
import { Fault } from '#base/fault.ts'
import type { ContainerLink } from '../contract/containers.ts'
import type { Entry } from './entry.ts'
import type { ContainerRecord } from './record.ts'

export interface Linked extends ContainerLink {
  readonly address: string
  readonly exposedPorts: readonly string[]
  readonly env: readonly string[]
}

export function linksOf({ record }: Pick<Entry, 'record'>): readonly ContainerLink[] {
  return record.spec.network?.mode === 'networks' ? (record.spec.network.links ?? []) : []
}

export function withoutLink(record: ContainerRecord, alias: string): ContainerRecord {
  const { network } = record.spec
  if (network?.mode !== 'networks') return record
  return { ...record, spec: { ...record.spec, network: { ...network, links: (network.links ?? []).filter((link) => link.alias !== alias) } } }
}

/** For a container that is about to start: all of them must run. `find` refuses what is not there. */
export function linkedContainers(name: string, links: readonly ContainerLink[], find: (id: string) => Entry): Linked[] {
  return links.map((link) => {
    const linked = linkTo(link, find(link.containerId))
    if (linked === undefined) throw new Fault('internal', `Cannot link to a non running container: /${find(link.containerId).record.name} AS /${name}/${link.alias}`)
    return linked
  })
}

/** For a container that runs: those that still do. */
export function stillLinked(links: readonly ContainerLink[], find: (id: string) => Entry | undefined): Linked[] {
  return links.flatMap((link) => {
    const other = find(link.containerId)
    return other === undefined ? [] : (linkTo(link, other) ?? [])
  })
}

function linkTo(link: ContainerLink, { record, effective, endpoints }: Entry): Linked | undefined {
  const address = endpoints.find(({ networkName }) => networkName === 'bridge')?.ipv4Address
  return address === undefined ? undefined : { ...link, name: record.name, address, exposedPorts: effective.exposedPorts, env: effective.env }
}

export function linkHosts(linked: readonly Linked[]): string[] {
  return linked.map(({ address, alias, containerId, name }) => `${address}\t${[...new Set([alias, containerId.slice(0, 12), name])].join(' ')}`)
}

export function linkEnv(name: string, linked: readonly Linked[]): string[] {
  return linked.flatMap(({ alias, address, exposedPorts, env }) => {
    const prefix = alias.toUpperCase().replaceAll('-', '_')
    const ports = exposedPorts.map(portOf).sort((a, b) => a.port - b.port || Number(b.protocol === 'tcp') - Number(a.protocol === 'tcp'))
    const [first] = ports
    const url = ({ port, protocol }: Port): string => `${protocol}://${address}:${port}`
    return [
      ...(first === undefined ? [] : [`${prefix}_PORT=${url(first)}`]),
      ...ports.flatMap((each) => {
        const key = `${prefix}_PORT_${each.port}_${each.protocol.toUpperCase()}`
        return [`${key}=${url(each)}`, `${key}_ADDR=${address}`, `${key}_PORT=${each.port}`, `${key}_PROTO=${each.protocol}`]
      }),
      `${prefix}_NAME=/${name}/${alias}`,
      // What every image has says nothing.
      ...env.flatMap((entry) => (/^(HOME|PATH)=/.test(entry) || !entry.includes('=') ? [] : [`${prefix}_ENV_${entry}`])),
    ]
  })
}

interface Port {
  readonly port: number
  readonly protocol: string
}

function portOf(text: string): Port {
  const [port = '', protocol = 'tcp'] = text.split('/')
  return { port: Number.parseInt(port, 10), protocol }
}
