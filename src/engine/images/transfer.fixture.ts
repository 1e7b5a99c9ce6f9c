/** For tests of transfers: a machine with an image store of its own, and a registry in memory that can be made to misbehave. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from '#base/http-module.ts'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { present } from '#base/assert.ts'
import { silentLogger } from '#base/log.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { hostPlatform } from '#oci/platform.ts'
import { openOverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import type { OverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import { openImages } from './open-images.ts'
import type { OpenedImages, OpenImagesOptions } from './open-images.ts'

/** This machine's architecture, and one that it is not. */
export const own = hostPlatform.architecture
export const foreign = own === 's390x' ? 'ppc64le' : 's390x'

export interface Machine extends AsyncDisposable {
  readonly root: string
  readonly blobs: Blobs
  readonly snapshots: OverlaySnapshots
  readonly images: OpenedImages
}

export async function machine(kernel: Kernel, options: Partial<OpenImagesOptions> = {}): Promise<Machine> {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'tr-'))
  const blobs = await openFileBlobs(join(root, 'b'))
  const snapshots = await openOverlaySnapshots({ root: join(root, 's'), mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger })
  return {
    root, blobs, snapshots,
    images: await openImages({ root: join(root, 'i'), blobs, snapshots, logger: silentLogger, ...options }),
    async [Symbol.asyncDispose]() {
      await snapshots[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    },
  }
}

interface Stored {
  readonly bytes: Buffer
  readonly mediaType?: string
}

/** What one repository holds. */
export interface ServedRepository {
  readonly blobs: Map<string, Buffer>
  /** By tag and by digest. */
  readonly manifests: Map<string, Required<Stored>>
}

/** A registry in memory, just enough of one. */
export interface Served extends AsyncDisposable {
  readonly host: string
  readonly requests: string[]
  repository(name: string): ServedRepository
  misbehave: ((req: IncomingMessage, res: ServerResponse) => boolean) | undefined
}

export async function serve(): Promise<Served> {
  const server = createServer((req, res) => void answer(self, req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const repositories = new Map<string, ServedRepository>()
  const self: Served = {
    host: `127.0.0.1:${port}`, requests: [], misbehave: undefined,
    repository(name) {
      const repository = repositories.get(name) ?? { blobs: new Map(), manifests: new Map() }
      repositories.set(name, repository)
      return repository
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return self
}

async function answer(self: Served, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const url = new URL(req.url ?? '/', 'http://x')
  self.requests.push(`${req.method} ${url.pathname}`)
  if (self.misbehave?.(req, res) === true) return
  const body: Buffer[] = []
  for await (const chunk of req) body.push(chunk)
  const [, name = '', kind = '', last = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/(.*)$/.exec(url.pathname) ?? []
  if (kind === '') return void res.end('{}')
  const repository = self.repository(name)
  if (req.method === 'POST') {
    const mounted = self.repository(url.searchParams.get('from') ?? '').blobs.get(url.searchParams.get('mount') ?? '')
    if (mounted === undefined) return void res.writeHead(202, { Location: `/v2/${name}/blobs/uploads/1` }).end()
    repository.blobs.set(digestOf(mounted), mounted)
    return void res.writeHead(201).end()
  }
  if (req.method === 'DELETE') return void res.writeHead(204).end()
  if (req.method === 'PUT' && kind === 'blobs') {
    repository.blobs.set(url.searchParams.get('digest') ?? '', Buffer.concat(body))
    return void res.writeHead(201).end()
  }
  if (req.method === 'PUT') {
    const bytes = Buffer.concat(body)
    for (const key of [last, digestOf(bytes)]) repository.manifests.set(key, { bytes, mediaType: req.headers['content-type'] ?? '' })
    return void res.writeHead(201, { 'Docker-Content-Digest': digestOf(bytes) }).end()
  }
  const manifest = kind === 'manifests' ? repository.manifests.get(last) : undefined
  const bytes = kind === 'manifests' ? manifest?.bytes : repository.blobs.get(last)
  if (bytes === undefined) return void res.writeHead(404, { 'Content-Type': 'application/json' }).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
  const start = Number(/^bytes=([0-9]+)-$/.exec(req.headers.range ?? '')?.[1] ?? 0)
  const headers = { 'Content-Length': bytes.length - start, ...(manifest === undefined ? {} : { 'Content-Type': manifest.mediaType }) }
  res.writeHead(start > 0 ? 206 : 200, headers)
  res.end(req.method === 'HEAD' ? undefined : bytes.subarray(start))
}

/** Puts an image with these layers into a repository, gzip-compressed. */
export function publish({ blobs, manifests }: ServedRepository, layers: readonly Buffer[], options: { readonly tag?: string; readonly architecture?: string } = {}): { readonly descriptor: Descriptor; readonly digest: Digest; readonly layers: readonly Digest[] } {
  const { tag = 'latest', architecture = 'amd64' } = options
  const config = Buffer.from(JSON.stringify({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) } }))
  const packed = layers.map((layer) => gzipSync(layer))
  for (const blob of [config, ...packed]) blobs.set(digestOf(blob), blob)
  const descriptor = publishManifest({ blobs, manifests }, tag, {
    schemaVersion: 2, mediaType: mediaTypes.dockerManifest,
    config: { mediaType: mediaTypes.dockerConfig, digest: digestOf(config), size: config.length },
    layers: packed.map((blob) => ({ mediaType: mediaTypes.dockerLayerGzip, digest: digestOf(blob), size: blob.length })),
  })
  return { descriptor: { ...descriptor, platform: { os: 'linux', architecture } }, digest: descriptor.digest, layers: packed.map((blob) => digestOf(blob)) }
}

export function publishManifest({ manifests }: ServedRepository, tag: string | undefined, manifest: { readonly schemaVersion: 2; readonly mediaType: string; readonly [member: string]: unknown }): Descriptor {
  const bytes = Buffer.from(JSON.stringify(manifest))
  for (const name of [...(tag === undefined ? [] : [tag]), digestOf(bytes)]) manifests.set(name, { bytes, mediaType: manifest.mediaType })
  return { mediaType: manifest.mediaType, digest: digestOf(bytes), size: bytes.length }
}

/** The attestation of an image, as BuildKit writes it. */
export function publishAttestation(repository: ServedRepository, about: Digest): Descriptor {
  const blob = (text: string): { readonly digest: Digest; readonly size: number } => {
    const bytes = Buffer.from(text)
    repository.blobs.set(digestOf(bytes), bytes)
    return { digest: digestOf(bytes), size: bytes.length }
  }
  const descriptor = publishManifest(repository, undefined, {
    schemaVersion: 2, mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, ...blob(`{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":["${digestOf('x')}"]}}`) },
    layers: [{ mediaType: 'application/vnd.in-toto+json', ...blob(`{"_type":"https://in-toto.io/Statement/v0.1","about":"${about}"}`), annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' } }],
  })
  return { ...descriptor, platform: { os: 'unknown', architecture: 'unknown' }, annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': about } }
}

export interface PublishedIndex {
  readonly index: Descriptor
  /** In this order, each with an attestation behind it. */
  readonly images: readonly ReturnType<typeof publish>[]
  readonly attestations: readonly Descriptor[]
}

/** An index of images of these architectures, each with an attestation. */
export function publishIndex(repository: ServedRepository, architectures: readonly string[], options: { readonly tag?: string; readonly more?: readonly Descriptor[] } = {}): PublishedIndex {
  const images = architectures.map((architecture) => publish(repository, [sampleTar([{ path: 'architecture', content: architecture }])], { architecture, tag: `only-${architecture}` }))
  const attestations = images.map(({ digest }) => publishAttestation(repository, digest))
  const manifests = [...images.map(({ descriptor }) => descriptor), ...attestations, ...(options.more ?? [])]
  return { images, attestations, index: publishManifest(repository, options.tag ?? 'latest', { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: manifests.map(writeDescriptor) }) }
}
