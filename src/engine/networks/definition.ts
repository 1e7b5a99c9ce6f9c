/**
 * From what a client wants to a network's definition, with Docker's rules and words: names, drivers, subnets, and the options of
 * the bridge and macvlan drivers. Pure but for the interfaces of the host, which a chosen subnet must not overlap.
 */
import { Fault } from '#base/fault.ts'
import { firstFree, formatIpPrefix, overlapping, parseIp, parsePrefix, requireIpPrefix, type Family, type Prefix } from '#base/ip.ts'
import { randomHex, type Random } from '#base/random.ts'
import type { IpamPool, Network, NetworkSpec } from '../contract/networks.ts'
import { AddressLeases } from './ipam.ts'
import type { NetworkRecord } from './records.ts'

/** Docker's option names; others are kept and have no effect. */
export const option = {
  name: 'com.docker.network.bridge.name',
  masquerade: 'com.docker.network.bridge.enable_ip_masquerade',
  betweenContainers: 'com.docker.network.bridge.enable_icc',
  hostAddress: 'com.docker.network.bridge.host_binding_ipv4',
  noGatewayAddress: 'com.docker.network.bridge.inhibit_ipv4',
  gatewayModeIPv4: 'com.docker.network.bridge.gateway_mode_ipv4',
  gatewayModeIPv6: 'com.docker.network.bridge.gateway_mode_ipv6',
  mtu: 'com.docker.network.driver.mtu',
  interfacePrefix: 'com.docker.network.container_iface_prefix',
  parent: 'parent',
  macvlanMode: 'macvlan_mode',
} as const

export const predefinedNames: readonly string[] = ['bridge', 'host', 'none']

const macvlanModes = ['bridge', 'private', 'vepa', 'passthru'] as const
export type MacvlanMode = (typeof macvlanModes)[number]

export function macvlanModeOf({ options }: Pick<Network, 'options'>): MacvlanMode {
  const wanted = options[option.macvlanMode] || 'bridge'
  const mode = macvlanModes.find((known) => known === wanted)
  if (mode === undefined) throw new Fault('invalidArgument', `requested macvlan mode '${wanted}' is not valid, 'bridge' mode is the macvlan driver default`)
  return mode
}

export function mtuOf({ options }: Pick<Network, 'options'>): number | undefined {
  const text = options[option.mtu]
  if (text === undefined) return undefined
  if (!/^[+-]?\d+$/.test(text)) throw new Fault('invalidArgument', `failed to parse ${option.mtu} value: ${text} (strconv.Atoi: parsing "${text}": invalid syntax)`)
  const mtu = Number(text)
  if (mtu < 68 || mtu > 65535) throw new Fault('invalidArgument', `invalid MTU ${text}: expected 68 to 65535`)
  return mtu
}

/** Go's strconv.ParseBool. */
export function flagOf({ options }: Pick<Network, 'options'>, name: string, otherwise: boolean): boolean {
  const text = options[name]
  if (text === undefined) return otherwise
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  throw new Fault('invalidArgument', `failed to parse ${name} value: ${text} (strconv.ParseBool: parsing "${text}": invalid syntax)`)
}

function checkBridgeOptions(network: Pick<Network, 'options'>): void {
  const { options } = network
  const name = options[option.name]
  if (name !== undefined && !/^[a-zA-Z0-9_.-]{1,15}$/.test(name)) throw new Fault('invalidArgument', `invalid bridge name '${name}': expected at most 15 letters, digits, '_', '.' or '-'`)
  for (const flag of [option.masquerade, option.betweenContainers, option.noGatewayAddress]) flagOf(network, flag, false)
  const address = options[option.hostAddress]
  if (address !== undefined && parseIp(address) === undefined) throw new Fault('invalidArgument', `failed to parse ${option.hostAddress} value: ${address} (nil ip)`)
  for (const mode of [option.gatewayModeIPv4, option.gatewayModeIPv6]) {
    const wanted = options[mode] ?? 'nat'
    if (wanted !== '' && wanted !== 'nat') throw new Fault('invalidArgument', `${mode}=${wanted} is not supported: expected nat`)
  }
}

function checkInterfacePrefix({ options }: Pick<Network, 'options'>): void {
  const prefix = options[option.interfacePrefix]
  if (prefix !== undefined && !/^[a-zA-Z][a-zA-Z0-9_-]{0,10}$/.test(prefix)) throw new Fault('invalidArgument', `${option.interfacePrefix}=${prefix} is no prefix of an interface's name`)
}

/** Before anything is looked up. */
export function checkName({ name }: NetworkSpec): void {
  if (predefinedNames.includes(name)) throw new Fault('permissionDenied', `operation is not permitted on predefined ${name} network `)
  if (name.trim() === '' || name.length > 255 || /\p{Cc}/u.test(name)) throw new Fault('invalidArgument', `invalid name: ${name}`)
}

/** Docker's answers to drivers that there are not, options they do not take and pools that cannot be. */
export function checkSpec(spec: NetworkSpec): 'bridge' | 'macvlan' {
  const driver = spec.driver === undefined || spec.driver === '' || spec.driver === 'default' ? 'bridge' : spec.driver
  const ipamDriver = spec.ipam?.driver ?? 'default'
  switch (driver) {
    case 'host':
    case 'null':
      throw new Fault('permissionDenied', `only one instance of "${driver}" network is allowed`)
    case 'overlay':
      throw new Fault('permissionDenied', 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.')
    case 'ipvlan':
      throw new Fault('invalidArgument', 'the ipvlan driver is not supported: expected bridge or macvlan')
    case 'bridge':
    case 'macvlan':
      break
    default:
      throw new Fault('notFound', `plugin "${driver}" not found`)
  }
  if (spec.scope === 'swarm') throw new Fault('permissionDenied', 'cannot create a swarm scoped network when swarm is not active')
  if (ipamDriver !== '' && ipamDriver !== 'default') throw new Fault('notFound', `plugin "${ipamDriver}" not found`)
  if (spec.enableIPv4 === false && spec.enableIPv6 !== true) throw new Fault('invalidArgument', 'IPv4 or IPv6 must be enabled')
  const options = { options: spec.options ?? {} }
  mtuOf(options)
  checkInterfacePrefix(options)
  if (driver === 'bridge') checkBridgeOptions(options)
  else macvlanModeOf(options)
  return driver
}

/** Docker 28's findings on `IPAM.Config`, all of them in one answer. */
export function checkPools({ ipam, enableIPv6 }: NetworkSpec): void {
  const problems = (ipam?.config ?? []).flatMap((pool) => {
    const subnet = parsePrefix(pool.subnet)
    if (subnet === undefined) return [`invalid subnet ${pool.subnet}: invalid CIDR block notation`]
    if (subnet.family === 6 && enableIPv6 !== true) return []
    const found: string[] = []
    const check = (text: string | undefined, what: string): void => {
      const problem = text === undefined || text === '' ? undefined : addressProblem(text, subnet)
      if (problem !== undefined) found.push(`${what}: ${problem}`)
    }
    if (pool.ipRange !== undefined) found.push(...rangeProblems(pool.ipRange, subnet))
    check(pool.gateway, `invalid gateway ${pool.gateway ?? ''}`)
    for (const [name, address] of Object.entries(pool.auxiliaryAddresses ?? {})) check(address, `invalid auxiliary address ${name}`)
    return found
  })
  if (problems.length > 0) throw new Fault('invalidArgument', `invalid network config:\n${problems.length === 1 ? (problems[0] ?? '') : problems.map((problem) => `* ${problem}`).join('\n')}`)
}

function addressProblem(text: string, subnet: Prefix): string | undefined {
  const address = parseIp(text)
  if (address === undefined) return 'invalid address'
  if (address.family !== subnet.family) return `parent subnet is an IPv${subnet.family} block`
  return overlapping(subnet, { family: address.family, base: address.value, length: address.family === 4 ? 32 : 128 }) ? undefined : `parent subnet ${formatIpPrefix(subnet)} doesn't contain this address`
}

function rangeProblems(text: string, subnet: Prefix): string[] {
  const range = parsePrefix(text)
  if (range === undefined) return [`invalid ip-range ${text}: invalid CIDR block notation`]
  if (range.family !== subnet.family) return [`invalid ip-range ${text}: parent subnet is an IPv${subnet.family} block`]
  if (range.length < subnet.length) return [`invalid ip-range ${text}: CIDR block is bigger than its parent subnet ${formatIpPrefix(subnet)}`]
  return overlapping(subnet, range) ? [] : [`invalid ip-range ${text}: parent subnet ${formatIpPrefix(subnet)} doesn't contain ip-range`]
}

export interface PoolSources {
  /** Subnets of the networks there are. */
  readonly taken: readonly Prefix[]
  /** Addresses of the host's interfaces, which a chosen subnet must not overlap. */
  readonly onHost: readonly Prefix[]
  /** Where IPv4 subnets are cut from. */
  readonly addressPools: readonly { readonly base: string; readonly length: number }[]
  readonly random: Random
}

/** One subnet per family: the wanted one if it is free, or a free one. */
export function choosePools(spec: NetworkSpec, sources: PoolSources): IpamPool[] {
  const pools: IpamPool[] = []
  const families: readonly Family[] = [...(spec.enableIPv4 === false ? [] : [4 as const]), ...(spec.enableIPv6 === true ? [6 as const] : [])]
  for (const family of families) {
    const wanted = (spec.ipam?.config ?? []).filter(({ subnet }) => parsePrefix(subnet)?.family === family)
    if (wanted.length > 1) throw new Fault('invalidArgument', `network ${spec.name} has ${wanted.length} IPv${family} subnets: expected at most one`)
    const [pool] = wanted
    pools.push(withGateway(pool === undefined ? { subnet: freeSubnet(family, sources) } : wantedPool(pool, sources)))
  }
  return pools
}

function wantedPool(pool: IpamPool, { taken }: PoolSources): IpamPool {
  const prefix = requireIpPrefix(pool.subnet, 'subnet')
  if (taken.some((each) => overlapping(each, prefix))) throw new Fault('permissionDenied', 'Pool overlaps with other one on this address space')
  return { ...pool, subnet: formatIpPrefix(prefix) }
}

function freeSubnet(family: Family, { taken, onHost, addressPools, random }: PoolSources): string {
  const used = [...taken, ...onHost]
  // A unique local prefix of the network's own (RFC 4193).
  const pools = family === 4 ? addressPools.map(({ base, length }) => ({ base: requireIpPrefix(base, 'address pool'), length })) : [{ base: uniqueLocal(random), length: 64 }]
  for (const { base, length } of pools) {
    const prefix = firstFree(base, length, used)
    if (prefix !== undefined) return formatIpPrefix(prefix)
  }
  throw new Fault('resourceExhausted', `could not find an available, non-overlapping IPv${family} address pool among the defaults to assign to the network: name a subnet or remove networks`)
}

function uniqueLocal(random: Random): Prefix {
  const [a, b, c] = randomHex(random, 10).match(/^(..)(....)(....)$/)?.slice(1) ?? []
  return requireIpPrefix(`fd${a ?? ''}:${b ?? ''}:${c ?? ''}::/48`, 'address pool')
}

export function withGateway(pool: IpamPool): IpamPool {
  return { ...pool, gateway: new AddressLeases(pool).gateway }
}

/** What a definition consists of beside its name and pools. */
export function recordOf(spec: NetworkSpec, made: { readonly id: string; readonly driver: Network['driver']; readonly pools: readonly IpamPool[]; readonly createdAtNs: bigint; readonly device: string }): NetworkRecord {
  return {
    id: made.id,
    name: spec.name,
    driver: made.driver,
    scope: 'local',
    createdAtNs: String(made.createdAtNs),
    internal: spec.internal ?? false,
    attachable: spec.attachable ?? false,
    enableIPv4: spec.enableIPv4 ?? true,
    enableIPv6: spec.enableIPv6 ?? false,
    ipam: { driver: spec.ipam?.driver || 'default', options: spec.ipam?.options ?? null, config: made.pools },
    options: spec.options ?? {},
    labels: spec.labels ?? {},
    ...(spec.configOnly === true ? { configOnly: true } : {}),
    ...(spec.configFrom === undefined || spec.configFrom === '' ? {} : { configFrom: spec.configFrom }),
    bridge: made.device,
  }
}
