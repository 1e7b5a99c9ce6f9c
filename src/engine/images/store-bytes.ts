/** Bytes that are at hand become a blob. */
import type { BlobIngester, BlobKeeper } from '#oci/blobs/contract.ts'
import { digestOf, type Digest } from '#oci/digest.ts'

/** Under its sha256 digest, or the one that is expected. What is here already is only made young. */
export async function storeBytes(blobs: BlobIngester & BlobKeeper, bytes: Uint8Array, expect?: Digest): Promise<Digest> {
  const digest = digestOf(bytes)
  if ((expect === undefined || expect === digest) && (await blobs.keep(digest))) return digest
  await using ingest = await blobs.begin()
  await ingest.write(oneChunk(bytes))
  return (await ingest.commit(expect === undefined ? {} : { expect })).digest
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
