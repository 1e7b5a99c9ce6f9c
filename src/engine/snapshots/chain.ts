/** Chain ids (image-spec `config.md#layer-chainid`): one name for a stack of layers. */
import { parseDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { digestOf } from '#oci/digest.ts'

/** The chain id of `diffId` on top of `parent`. */
export function chainIdOf(parent: string | undefined, diffId: string): Digest {
  return parent === undefined ? parseDigest(diffId, 'diffId') : digestOf(`${parent} ${diffId}`)
}

/** The chain id of a whole stack, base first; undefined for none. */
export function topChainId(diffIds: readonly string[]): Digest | undefined {
  let chain: Digest | undefined
  for (const diffId of diffIds) chain = chainIdOf(chain, diffId)
  return chain
}
