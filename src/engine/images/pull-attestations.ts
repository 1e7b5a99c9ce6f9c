/** What an index says about the image that is pulled out of it: its attestations come along (buildkit `docs/attestations/attestation-storage.md`). */
import { isFault } from '#base/fault.ts'
import { resumedBlob } from '#oci/client/resumed-blob.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { referencedDescriptors } from '#oci/manifest.ts'
import type { ImageIndex } from '#oci/manifest.ts'
import type { PullOptions, PullParts } from './pull.ts'
import { storeBytes } from './store-bytes.ts'
import { attestedDigest, isManifestType } from './targets.ts'

/** Statements are text: what is larger is left where it is. */
const maxStatementBytes = 64 << 20
/** Of one image. */
const maxAttestations = 16

export interface AttestedImage {
  readonly index: ImageIndex
  /** Of its manifest. */
  readonly digest: Digest
  readonly held: DisposableStack
}

/** Fetches them with all that they refer to. What the registry does not have (any more) is no failure of the pull. */
export async function fetchAttestations(parts: PullParts, options: PullOptions, { index, digest, held }: AttestedImage): Promise<void> {
  const attestations = index.manifests.filter((entry) => attestedDigest(entry) === digest && isManifestType(entry.mediaType)).slice(0, maxAttestations)
  await Promise.all(attestations.map((attestation) => parts.gate.run(() => fetchAttestation(parts, options, attestation, held))))
}

async function fetchAttestation(parts: PullParts, options: PullOptions, { digest, mediaType }: Descriptor, held: DisposableStack): Promise<void> {
  const { blobs, leases } = parts.store.parts
  held.use(leases.hold(digest))
  try {
    if ((await blobs.stat(digest)) === undefined) await storeBytes(blobs, (await parts.client.manifest(options.reference.repository, digest, options.signal)).bytes, digest)
    const manifest = await parts.store.targets.read({ digest, mediaType })
    if (manifest === undefined) return
    for (const part of referencedDescriptors(manifest)) {
      held.use(leases.hold(part.digest))
      if (part.size <= maxStatementBytes) await parts.downloads.run(part.digest, () => fetchStatement(parts, options, part))
    }
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
  }
}

async function fetchStatement({ store, client }: PullParts, { reference, signal }: PullOptions, part: Descriptor): Promise<void> {
  const { blobs, clock } = store.parts
  if ((await blobs.stat(part.digest)) !== undefined) return
  await using ingest = await blobs.begin()
  await ingest.write(resumedBlob({ client, repository: reference.repository, descriptor: part, clock, signal }), { signal })
  await ingest.commit({ expect: part.digest })
}
