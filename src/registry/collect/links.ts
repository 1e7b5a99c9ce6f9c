/** Which links of blobs a repository no longer needs: those that none of its manifests points to and that nobody has used for long. */
import { isFault } from '#base/fault.ts'
import type { Digest } from '#oci/digest.ts'
import { maxManifestBytes, parseManifest, referencedDescriptors } from '#oci/manifest.ts'
import type { DatedLink, Repositories } from '../repositories.ts'
import type { Content } from '../storage/contract.ts'

/** Takes them away and answers how many, in all repositories. */
export async function pruneLinks(repositories: Repositories, content: Content, usedBeforeMs: number): Promise<number> {
  let pruned = 0
  for await (const repository of repositories.walk()) {
    // The candidates first: a manifest that comes later has made the links it needs young before, and their version another.
    const candidates = (await Array.fromAsync(repositories.blobLinks(repository))).filter(({ writtenAtMs }) => writtenAtMs < usedBeforeMs)
    if (candidates.length === 0) continue
    const needed = await neededBlobs(repositories, content, repository)
    for (const link of candidates) if (!needed.has(link.digest) && (await unlink(repositories, repository, link))) pruned += 1
  }
  return pruned
}

async function unlink(repositories: Repositories, repository: string, { digest, version }: DatedLink): Promise<boolean> {
  return await repositories.unlinkBlob(repository, digest, { version })
}

async function neededBlobs(repositories: Repositories, content: Content, repository: string): Promise<ReadonlySet<Digest>> {
  const needed = new Set<Digest>()
  for await (const { digest } of repositories.manifestLinks(repository)) {
    for (const referenced of await referencesOf(repositories, content, { repository, digest })) needed.add(referenced)
  }
  return needed
}

/** What a manifest points to; nothing when it has been deleted since it was listed. */
export async function referencesOf(repositories: Repositories, content: Content, manifest: { readonly repository: string; readonly digest: Digest }): Promise<readonly Digest[]> {
  const link = await repositories.manifest(manifest.repository, manifest.digest)
  if (link === undefined) return []
  try {
    return referencedDescriptors(parseManifest(await content.read(manifest.digest, { maxBytes: maxManifestBytes }), link.mediaType)).map(({ digest }) => digest)
  } catch (error) {
    if (isFault(error, 'notFound') && (await repositories.manifest(manifest.repository, manifest.digest)) === undefined) return []
    throw error
  }
}
