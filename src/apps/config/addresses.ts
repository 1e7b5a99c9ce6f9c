/** Well-known addresses inside an instance's ranges. */
import { formatAddress, requirePrefix } from '#base/ipv4.ts'
import type { Config } from './config.ts'

/** The `n`th address of an IPv4 range: 1 is the first usable one. */
export function nthAddress(cidr: string, n: number): string {
  return formatAddress(requirePrefix(cidr, 'range').base + n)
}

/** The `kubernetes` Service. */
export function apiServiceAddress(config: Config): string {
  return nthAddress(config.serviceCidr, 1)
}

/** The cluster DNS Service. */
export function dnsAddress(config: Config): string {
  return nthAddress(config.serviceCidr, 10)
}

/** The pod bridge's own address on this node: pods' gateway. */
function podGateway(config: Config): string {
  return nthAddress(config.podCidr, 1)
}

/** What the node is known by inside the cluster: its address, or the pod gateway on a machine that has only loopback. */
export function advertisedAddress(config: Config): string {
  return config.nodeAddress ?? podGateway(config)
}

export const clusterDomain = 'cluster.local'
