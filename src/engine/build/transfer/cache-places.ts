/** Where a build cache can lie elsewhere: a repository of a registry, or an OCI layout that the client lends. */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import type { BlobReader } from '#oci/blobs/contract.ts'
import type { RegistryClient } from '#oci/client/registry-client.ts'
import { parseDigest } from '#oci/digest.ts'
import { maxManifestBytes } from '#oci/manifest.ts'
import { parseReference } from '#oci/reference.ts'
import type { CacheExport, CacheImport } from '../../contract/builds.ts'
import type { RegistryAuth } from '../../contract/images.ts'

export interface Registries {
  /** Caches are asked of the registry itself, never of its mirrors. */
  connect(registry: string, auth: RegistryAuth | undefined): Promise<{ readonly own: RegistryClient } & Disposable>
}

export interface CachePlace extends Disposable {
  /** Of the manifest that the place is named by. */
  manifest(signal: AbortSignal): Promise<Buffer>
  /** `maxBytes`: more is `tooLarge`. */
  small(digest: string, maxBytes: number, signal: AbortSignal): Promise<Buffer>
  open(digest: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>>
  write(blob: { readonly digest: string; readonly sizeBytes: number }, source: BlobReader, signal: AbortSignal): Promise<void>
  writeManifest(manifest: { readonly digest: string; readonly mediaType: string; readonly bytes: Buffer }, signal: AbortSignal): Promise<void>
}

export interface PlaceOptions {
  readonly registries: Registries
  readonly credentials: (host: string) => Promise<RegistryAuth | undefined>
}

export async function placeOf(where: Extract<CacheImport | CacheExport, { kind: 'registry' | 'local' }>, options: PlaceOptions): Promise<CachePlace> {
  return where.kind === 'registry' ? registryPlace(where.reference, options) : layoutPlace(where)
}

async function registryPlace(text: string, { registries, credentials }: PlaceOptions): Promise<CachePlace> {
  const { registry, repository, tag, digest } = parseReference(text)
  const connection = await registries.connect(registry, await credentials(registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry))
  const client = connection.own
  const open: CachePlace['open'] = async (blob, signal) => (await client.blob(repository, parseDigest(blob), { signal })).body
  return {
    manifest: async (signal) => (await client.manifest(repository, digest ?? tag ?? 'latest', signal)).bytes,
    small: async (blob, maxBytes, signal) => collected(await open(blob, signal), maxBytes),
    open,
    write: async (blob, source, signal) => {
      const id = parseDigest(blob.digest)
      await client.upload(repository, { digest: id, sizeBytes: blob.sizeBytes, open: () => source.open(id), signal })
    },
    writeManifest: async ({ bytes, mediaType }, signal) => void (await client.putManifest(repository, { reference: tag ?? 'latest', bytes, mediaType, signal })),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  }
}

function layoutPlace(where: Extract<CacheImport | CacheExport, { kind: 'local' }>): CachePlace {
  const { blobs } = where
  const small: CachePlace['small'] = (digest, maxBytes, signal) => collected(blobs.read(digest, signal), maxBytes)
  return {
    manifest: (signal) => ('digest' in where ? small(where.digest, maxManifestBytes, signal) : Promise.reject(new Fault('internal', 'a cache is written, not read'))),
    small,
    open: async (digest, signal) => blobs.read(digest, signal),
    write: async (blob, source, signal) => blobs.write(blob, await source.open(parseDigest(blob.digest)), signal),
    writeManifest: async ({ digest, bytes }, signal) => blobs.write({ digest, sizeBytes: bytes.length }, Readable.from([bytes]), signal),
    [Symbol.dispose]: () => undefined,
  }
}

async function collected(content: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of content) {
    length += chunk.length
    if (length > maxBytes) throw new Fault('tooLarge', `the build cache's manifest has more than ${maxBytes} bytes`)
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks)
}
