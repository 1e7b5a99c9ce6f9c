/** Names on the machine that derive from the instance, in one place so that teardown knows them all. */
import type { Instance } from './instance.ts'

/** The engine's nft table (NAT, published ports) and the service proxy's, with their family. */
export function nftTables(instance: Instance): readonly string[] {
  return [`inet ${instance.name}`, `inet ${instance.name}-services`]
}
