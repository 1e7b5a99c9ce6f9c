/** Which links of blobs a repository no longer needs: those that none of its manifests points to and that nobody has used for long. */
import { isFault } from '#base/fault.ts'
import type { Digest } from '#oci/digest.ts'
import { maxManifestBytes, parseManifest, referencedDescriptors } from '#oci/manifest.ts'
import type { Repositories } from '../repositories.ts'
import type { Content } from '../storage/contract.ts'

export interface LinkParts {
  readonly repositories: Repositories
  readonly content: Content
}

/** Takes them away and answers how many went, and how many would have if they were not young. */
export async function pruneLinks({ repositories, content }: LinkParts, repository: string, usedBeforeMs: number): Promise<{ readonly pruned: number; readonly young: number }> {
  // The candidates first: a manifest that comes later has made the links it needs young before.
  const links = await Array.fromAsync(repositories.blobLinks(repository))
  if (links.length === 0) return { pruned: 0, young: 0 }
  const needed = new Set<Digest>()
  for await (const { digest } of repositories.manifestLinks(repository)) {
    for (const referenced of await referencesOf({ repositories, content }, repository, digest)) needed.add(referenced)
  }
  let pruned = 0
  let young = 0
  for (const { digest, version, writtenAtMs } of links) {
    if (needed.has(digest)) continue
    if (writtenAtMs < usedBeforeMs && (await repositories.unlinkBlob(repository, digest, { version }))) pruned += 1
    else young += 1
  }
  return { pruned, young }
}

/** What a manifest points to; nothing when it has been deleted since it was listed. `dataLoss` when its bytes are gone. */
export async function referencesOf({ repositories, content }: LinkParts, repository: string, manifest: Digest): Promise<readonly Digest[]> {
  const link = await repositories.manifest(repository, manifest)
  if (link === undefined) return []
  try {
    return referencedDescriptors(parseManifest(await content.read(manifest, { maxBytes: maxManifestBytes }), link.mediaType)).map(({ digest }) => digest)
  } catch (error) {
    if (isFault(error, 'notFound') && (await repositories.manifest(repository, manifest)) === undefined) return []
    throw error
  }
}
