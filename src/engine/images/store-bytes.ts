/** Bytes that are at hand become a blob. */
import type { BlobIngester } from '#oci/blobs/contract.ts'
import type { Digest } from '#oci/digest.ts'

/** Under its sha256 digest, or the one that is expected. */
export async function storeBytes(blobs: BlobIngester, bytes: Uint8Array, expect?: Digest): Promise<Digest> {
  await using ingest = await blobs.begin()
  await ingest.write(oneChunk(bytes))
  return (await ingest.commit(expect === undefined ? {} : { expect })).digest
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
