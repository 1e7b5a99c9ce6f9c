/** Well-known addresses inside an instance's ranges. */
import type { Config } from './config.ts'

/** The `n`th address of an IPv4 range: 1 is the first usable one. */
export function nthAddress(cidr: string, n: number): string {
  const [base = ''] = cidr.split('/')
  const value = base.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + n
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
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
export function podGateway(config: Config): string {
  return nthAddress(config.podCidr, 1)
}

/** What the node is known by inside the cluster: its address, or the pod gateway on a machine that has only loopback. */
export function advertisedAddress(config: Config): string {
  return config.nodeAddress ?? podGateway(config)
}

export const clusterDomain = 'cluster.local'
