/** Names on the machine that derive from the instance, in one place so that teardown knows them all. */
import type { Instance } from './instance.ts'

/** The engine's nft table: NAT and published ports. The engine decides on the family. */
export function engineTable(instance: Instance): string {
  return instance.name
}

/** Every nft table of the instance, with its family, as nft names it. */
export function nftTables(instance: Instance): readonly string[] {
  return [`inet ${instance.name}`, `ip ${instance.name}`, `ip6 ${instance.name}`, `inet ${instance.name}-services`]
}
