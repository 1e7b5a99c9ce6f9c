/** Layers whose files bear no time later than a given one, so that the same files make the same bytes whenever they are made. */
import { Readable } from 'node:stream'
import type { BlobIngester, BlobReader } from '#oci/blobs/contract.ts'
import { parseDigest } from '#oci/digest.ts'
import { readTar, type TarItem } from '#oci/layer/reader.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import type { ChainId, DiffId } from '../contract/images.ts'
import type { SnapshotCommitter, SnapshotReader } from '../contract/snapshots.ts'
import { chainIdOf } from '../snapshots/chain.ts'
import { cacheKey, type BuildCache } from './cache.ts'

export interface RewriteOptions {
  readonly blobs: BlobReader & BlobIngester
  readonly snapshots: Pick<SnapshotReader, 'has'> & Pick<SnapshotCommitter, 'unpack'>
  readonly cache: BuildCache
  readonly signal: AbortSignal
  /** Told of each layer, so that nobody collects it. */
  readonly keep: (chainId: ChainId, diffId: DiffId) => void
}

/** The stack with its layers from `first` on rewritten; those below are others' and stay. `latestNs`: since 1970. */
export async function rewriteTimes(diffIds: readonly DiffId[], { first, latestNs }: { readonly first: number; readonly latestNs: bigint }, options: RewriteOptions): Promise<{ readonly diffIds: readonly DiffId[]; readonly chainId: ChainId | undefined }> {
  const rewritten: DiffId[] = []
  let chainId: ChainId | undefined
  for (const [index, diffId] of diffIds.entries()) {
    const own = index < first ? diffId : await rewrittenLayer(diffId, latestNs, options)
    rewritten.push(own)
    const upon = chainIdOf(chainId, own)
    if (!(await options.snapshots.has(upon))) await options.snapshots.unpack({ parent: chainId, diffId: own, tar: await options.blobs.open(parseDigest(own)), signal: options.signal })
    chainId = upon
    options.keep(upon, own)
  }
  return { diffIds: rewritten, chainId }
}

async function rewrittenLayer(diffId: DiffId, latestNs: bigint, { blobs, cache, signal }: RewriteOptions): Promise<DiffId> {
  const memo = cacheKey('times', diffId, String(latestNs))
  const known = cache.get(memo, 'content')?.digest
  if (known !== undefined && (await blobs.stat(parseDigest(known))) !== undefined) return known
  await using ingest = await blobs.begin()
  await ingest.write(Readable.from(withTimes(await blobs.open(parseDigest(diffId)), latestNs), { objectMode: false }), { signal })
  const { digest } = await ingest.commit()
  await cache.put(memo, { kind: 'content', digest })
  return digest
}

async function* withTimes(tar: Readable, latestNs: bigint): AsyncGenerator<Buffer> {
  for await (const item of readTar(tar)) {
    const { entry } = item
    yield tarHeader(entry.modifiedNs > latestNs ? { ...entry, modifiedNs: latestNs } : entry)
    if (entry.type !== 'file' || entry.sizeBytes === 0) continue
    yield* contentOf(item)
    yield tarPadding(entry.sizeBytes)
  }
  yield tarEnd
}

/** A file's bytes, its holes as zeros. */
export async function* contentOf(item: TarItem): AsyncGenerator<Buffer> {
  let position = 0
  for (const { offset, length } of item.segments ?? [{ offset: 0, length: item.entry.sizeBytes }]) {
    yield* zeros(offset - position)
    position = offset
    while (position < offset + length) {
      const chunk = await item.read(Math.min(1 << 20, offset + length - position))
      if (chunk === undefined) break
      yield chunk
      position += chunk.length
    }
  }
  yield* zeros(item.entry.sizeBytes - position)
}

function* zeros(count: number): Generator<Buffer> {
  for (let left = count; left > 0; left -= 1 << 20) yield Buffer.alloc(Math.min(left, 1 << 20))
}
