/** What `POST /containers/create` and `/networks/{id}/connect` say about networks, as the engine's own spec. */
import { isIPv4, isIPv6 } from 'node:net'
import { Fault } from '#base/fault.ts'
import type { ContainerNetworking } from '../../contract/containers.ts'
import type { EndpointSpec, PortBinding } from '../../contract/networks.ts'
import type { JsonInput } from '../json-input.ts'

/** `links` of the default bridge are left to the caller, who knows the other containers. */
export function networkOf(mode: string, config: JsonInput, host: JsonInput): { readonly network: ContainerNetworking; readonly links: readonly string[] } {
  const links = host.strings('Links') ?? []
  if (config.boolean('NetworkDisabled') === true || mode === 'none') return { network: { mode: 'none' }, links: [] }
  if (mode === 'host') return { network: { mode: 'host' }, links: [] }
  if (mode.startsWith('container:')) return { network: { mode: 'container', ref: mode.slice('container:'.length) }, links: [] }
  const endpoints = config.object('NetworkingConfig').object('EndpointsConfig')
  const primary = mode === 'default' ? 'bridge' : mode
  // Clients write the default network under either of its names.
  const primaryKeys = primary === 'bridge' ? ['default', 'bridge'] : [primary]
  const ownKey = primaryKeys.find((key) => endpoints.has(key))
  const own: EndpointSpec = { ...macAddressOf(config), ...(ownKey === undefined ? {} : endpointOf(endpoints.object(ownKey))) }
  const isDefault = primary === 'bridge'
  if (isDefault) checkDefaultBridge(own)
  const others = endpoints.keys().filter((name) => !primaryKeys.includes(name))
  return {
    network: {
      mode: 'networks',
      endpoints: [{ network: primary, spec: isDefault || links.length === 0 ? own : { ...own, links: [...new Set([...(own.links ?? []), ...links])] } }, ...others.map((network) => ({ network, spec: endpointOf(endpoints.object(network)) }))],
      ports: portBindingsOf(host),
      publishAll: host.boolean('PublishAllPorts') ?? false,
    },
    links: isDefault ? links : [],
  }
}

/** What Docker has on user-defined networks only. */
export function checkDefaultBridge({ ipv4Address, ipv6Address, aliases = [] }: EndpointSpec): void {
  if (ipv4Address !== undefined || ipv6Address !== undefined) throw new Fault('invalidArgument', 'user specified IP address is supported on user defined networks only')
  if (aliases.length > 0) throw new Fault('invalidArgument', 'network-scoped alias is supported only for containers in user defined networks')
}

/** Where clients up to 1.43 write it. */
function macAddressOf(config: JsonInput): EndpointSpec {
  const macAddress = config.string('MacAddress')
  return macAddress ? { macAddress: checkedMac(macAddress) } : {}
}

function checkedMac(text: string): string {
  const mac = text.toLowerCase().replaceAll('-', ':')
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) throw new Fault('invalidArgument', `invalid MAC address: ${text}`)
  return mac
}

export function endpointOf(input: JsonInput): EndpointSpec {
  const ipam = input.object('IPAMConfig')
  const [ipv4, ipv6, mac, linkLocal, links, priority] = [ipam.string('IPv4Address'), ipam.string('IPv6Address'), input.string('MacAddress'), ipam.strings('LinkLocalIPs'), input.strings('Links'), input.number('GwPriority')]
  if (ipv4 && (!isIPv4(ipv4) || ipv4 === '0.0.0.0')) throw new Fault('invalidArgument', `invalid IPv4 address: ${ipv4}`)
  if (ipv6 && (!isIPv6(ipv6) || ipv6 === '::')) throw new Fault('invalidArgument', `invalid IPv6 address: ${ipv6}`)
  for (const address of linkLocal ?? []) if (!isIPv4(address) && !isIPv6(address)) throw new Fault('invalidArgument', `invalid link-local IP address: ${address}`)
  return {
    ...(input.has('Aliases') ? { aliases: input.strings('Aliases') ?? [] } : {}),
    ...(input.has('DriverOpts') ? { driverOptions: input.stringMap('DriverOpts') ?? {} } : {}),
    ...(ipv4 ? { ipv4Address: ipv4 } : {}),
    ...(ipv6 ? { ipv6Address: ipv6 } : {}),
    ...(mac ? { macAddress: checkedMac(mac) } : {}),
    ...(links === undefined || links.length === 0 ? {} : { links }),
    ...(linkLocal === undefined || linkLocal.length === 0 ? {} : { linkLocalAddresses: linkLocal }),
    ...(priority === undefined || priority === 0 ? {} : { gatewayPriority: priority }),
    ...(input.has('IPAMConfig') ? { ipamConfig: ipamConfigOf(ipam) } : {}),
  }
}

/** As given, without what is empty. */
function ipamConfigOf(ipam: JsonInput): Readonly<Record<string, unknown>> {
  const fields: Readonly<Record<string, unknown>> = { IPv4Address: ipam.string('IPv4Address'), IPv6Address: ipam.string('IPv6Address'), LinkLocalIPs: ipam.strings('LinkLocalIPs') }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0)))
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
  if (!valid(first) || (last !== undefined && !(valid(last) && last >= first))) throw new Fault('invalidArgument', `invalid port specification: "${text}"`)
  return last === undefined ? { hostPort: first } : { hostPort: first, hostPortEnd: last }
}
