/** Names on the machine that derive from the instance, in one place so that teardown knows them all. */
import type { Instance } from './instance.ts'

/** The engine's nft table (family ip): address translation and published ports of Docker's networks. */
export function engineTable(instance: Instance): string {
  return instance.name
}

/** Of the pods (family ip): what leaves the cluster, and host ports. */
export function podTable(instance: Instance): string {
  return `${instance.name}-pods`
}

/** Of the service proxy. */
export function serviceTable(instance: Instance): string {
  return `${instance.name}-services`
}

/** Every nft table of the instance with its family, as nft names it. */
export function nftTables(instance: Instance): readonly string[] {
  return [engineTable(instance), podTable(instance), serviceTable(instance)].map((table) => `ip ${table}`)
}
