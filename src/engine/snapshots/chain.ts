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

/** The chain ids of an image's stacks, base first. */
export function chainIdsOf({ rootfs }: { readonly rootfs: { readonly diff_ids: readonly string[] } }): readonly string[] {
  const chains: string[] = []
  for (const diffId of rootfs.diff_ids) chains.push(chainIdOf(chains.at(-1), diffId))
  return chains
}
