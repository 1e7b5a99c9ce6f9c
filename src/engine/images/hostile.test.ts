/** Whatever a registry or an archive says: an image or a clear refusal, in bounded time, and nothing is left of what was refused. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { present } from '#base/assert.ts'
import { Fault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openOverlaySnapshots, type OverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import { openImages, type OpenedImages } from './open-images.ts'

const runs = Number(process.env['BERTH_FUZZ_RUNS'] ?? 60)
const seed = Number(process.env['BERTH_FUZZ_SEED'] ?? 5)

let kernel: Kernel & AsyncDisposable
let root: string
let snapshots: OverlaySnapshots
let images: OpenedImages

before(async () => {
  kernel = await openKernel()
  root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'ho-'))
  const blobs = await openFileBlobs(join(root, 'b'))
  snapshots = await openOverlaySnapshots({ root: join(root, 's'), mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger })
  // Younger than a minute from now: everything that nothing names is collected.
  images = await openImages({ root: join(root, 'i'), blobs, snapshots, graceMs: -60_000, logger: silentLogger })
})
after(async () => {
  await snapshots[Symbol.asyncDispose]()
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

/** Does it, or refuses it in a way that says whose fault it is. Images that came of it go again, with everything of theirs. */
async function doneOrRefused(work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof Fault, String(error))
    assert.notEqual(error.code, 'internal', error.message)
    assert.ok(error.message.length < 2000, `a message for people: ${error.message.slice(0, 300)}`)
  }
  for (const image of await images.list({ all: true })) await images.remove(image.id, { force: true })
  await images.collect()
  assert.deepEqual([readdirSync(join(root, 'b/blobs/sha256')), readdirSync(join(root, 's/l')), readdirSync(join(root, 's/c'))], [[], [], []])
}

const layer = sampleTar([{ path: 'hello', content: 'world' }])
const config = { architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } }

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** The document with one member, somewhere, replaced by something else or taken away. */
function mutated(document: Json, at: number, by: Json | undefined): Json {
  const places: { readonly holder: Json[] | { [key: string]: Json }; readonly key: string }[] = []
  const copy: Json = structuredClone(document)
  const walk = (value: Json): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, child] of Object.entries(value)) {
      places.push({ holder: value, key })
      walk(child)
    }
  }
  walk(copy)
  const place = places[at % Math.max(1, places.length)]
  if (place === undefined) return copy
  if (by === undefined) Reflect.deleteProperty(place.holder, place.key)
  else Reflect.set(place.holder, place.key, by)
  return copy
}

const anything = fc.oneof(
  fc.constant(undefined), fc.constantFrom<Json>(null, -1, 0, 2 ** 53, 1e300, '', '../../etc/passwd', 'sha256:x', `sha256:${'0'.repeat(64)}`, digestOf(layer), 'application/vnd.oci.image.index.v1+json', 'a'.repeat(5000)), fc.jsonValue({ maxDepth: 2 }).map((value): Json => JSON.parse(JSON.stringify(value))),
)
const edits = fc.array(fc.tuple(fc.nat(60), anything), { minLength: 1, maxLength: 3 })

function edited(document: Json, changes: readonly (readonly [number, Json | undefined])[]): Buffer {
  return Buffer.from(JSON.stringify(changes.reduce((value, [at, by]) => mutated(value, at, by), document)))
}

test('archives of docker save and OCI layouts with wrong documents load or are refused', async () => {
  const configBytes = Buffer.from(JSON.stringify(config))
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: { mediaType: mediaTypes.ociConfig, digest: digestOf(configBytes), size: configBytes.length }, layers: [{ mediaType: mediaTypes.ociLayer, digest: digestOf(layer), size: layer.length }] }
  const manifestBytes = Buffer.from(JSON.stringify(manifest))
  const blob = (bytes: Buffer): { path: string; content: Buffer } => ({ path: `blobs/sha256/${digestOf(bytes).slice(7)}`, content: bytes })
  const forms = {
    docker: (list: Buffer, configuration: Buffer) => sampleTar([{ path: 'c.json', content: configuration }, { path: 'l.tar', content: layer }, { path: 'manifest.json', content: list }]),
    layout: (index: Buffer, configuration: Buffer) => sampleTar([blob(configuration), blob(layer), blob(manifestBytes), { path: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' }, { path: 'index.json', content: index }]),
  }
  const tops: Readonly<Record<keyof typeof forms, Json>> = {
    docker: [{ Config: 'c.json', RepoTags: ['a/b:c'], Layers: ['l.tar'] }],
    layout: { schemaVersion: 2, manifests: [{ mediaType: mediaTypes.ociManifest, digest: digestOf(manifestBytes), size: manifestBytes.length, platform: { architecture: 'amd64', os: 'linux' }, annotations: { 'org.opencontainers.image.ref.name': 'x/y:z' } }] },
  }
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('docker' as const, 'layout' as const), fc.boolean(), edits, async (form, inConfig, changes) => {
      const archive = inConfig ? forms[form](Buffer.from(JSON.stringify(tops[form])), edited(config, changes)) : forms[form](edited(tops[form], changes), configBytes)
      await doneOrRefused(() => images.load(Readable.from([archive]), { onLoaded: () => undefined }))
    }),
    { numRuns: runs, seed },
  )
})

/** An index of the image and of what is attested of it. */
function indexOf(manifest: Buffer, attestation: Buffer): Json {
  return {
    schemaVersion: 2, mediaType: mediaTypes.ociIndex,
    manifests: [
      { mediaType: mediaTypes.ociManifest, digest: digestOf(manifest), size: manifest.length, platform: { architecture: 'amd64', os: 'linux' } },
      { mediaType: mediaTypes.ociManifest, digest: digestOf(attestation), size: attestation.length, platform: { architecture: 'unknown', os: 'unknown' }, annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': digestOf(manifest) } },
    ],
  }
}

test('indexes with wrong documents are loaded, pulled or refused', async () => {
  const packed = gzipSync(layer)
  const configBytes = Buffer.from(JSON.stringify(config))
  const statement = Buffer.from('{}')
  const document = (configuration: Buffer, mediaType: string, content: Buffer): Json => ({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: { mediaType: mediaTypes.ociConfig, digest: digestOf(configuration), size: configuration.length }, layers: [{ mediaType, digest: digestOf(content), size: content.length }] })
  const [image, attestation] = [document(configBytes, mediaTypes.ociLayerGzip, packed), document(statement, 'application/vnd.in-toto+json', statement)]
  let top: Buffer = Buffer.alloc(0)
  let held = new Map<string, Buffer>()
  const server = createServer((req, res) => {
    const path = req.url ?? ''
    if (path === '/v2/') return void res.end('{}')
    const bytes = path.endsWith('/latest') ? top : held.get(path.split('/').at(-1) ?? '')
    if (bytes === undefined) return void res.writeHead(404).end()
    res.writeHead(200, { 'Content-Type': path.includes('/manifests/') ? (bytes === top ? mediaTypes.ociIndex : mediaTypes.ociManifest) : 'application/octet-stream' }).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const name = `127.0.0.1:${(server.address() as AddressInfo).port}/app`
  try {
    await fc.assert(
      fc.asyncProperty(edits, fc.constantFrom('index', 'image', 'attestation'), fc.boolean(), async (changes, what, pulled) => {
        const manifestBytes = what === 'image' ? edited(image, changes) : Buffer.from(JSON.stringify(image))
        const attestationBytes = what === 'attestation' ? edited(attestation, changes) : Buffer.from(JSON.stringify(attestation))
        top = what === 'index' ? edited(indexOf(manifestBytes, attestationBytes), changes) : Buffer.from(JSON.stringify(indexOf(manifestBytes, attestationBytes)))
        held = new Map([configBytes, packed, statement, manifestBytes, attestationBytes].map((bytes) => [String(digestOf(bytes)), bytes]))
        const listed = { schemaVersion: 2, manifests: [{ mediaType: mediaTypes.ociIndex, digest: digestOf(top), size: top.length, annotations: { 'org.opencontainers.image.ref.name': 'x/y:z' } }] }
        const archive = sampleTar([...[...held.values(), top].map((bytes) => ({ path: `blobs/sha256/${digestOf(bytes).slice(7)}`, content: bytes })), { path: 'index.json', content: JSON.stringify(listed) }])
        await doneOrRefused(() => (pulled ? images.pull(name, { platform: 'linux/amd64' }) : images.load(Readable.from([archive]), { onLoaded: () => undefined })))
      }),
      { numRuns: runs, seed },
    )
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

test('archives with damaged bytes load or are refused, compressed or not', async () => {
  const good = sampleTar([{ path: 'c.json', content: JSON.stringify(config) }, { path: 'l.tar', content: layer }, { path: 'manifest.json', content: JSON.stringify([{ Config: 'c.json', RepoTags: ['a/b:c'], Layers: ['l.tar'] }]) }])
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('none', 'gzip', 'zstd'), fc.array(fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(255)), { maxLength: 4 }), fc.double({ min: 0.2, max: 1, noNaN: true }), async (packing, damages, length) => {
      const packed = Buffer.from(packing === 'gzip' ? gzipSync(good) : packing === 'zstd' ? zstdCompressSync(good) : good)
      for (const [at, byte] of damages) packed[Math.floor(at * packed.length)] = byte
      await doneOrRefused(() => images.load(Readable.from([packed.subarray(0, Math.ceil(packed.length * length))]), { onLoaded: () => undefined }))
    }),
    { numRuns: runs, seed },
  )
})

test('a registry may say what it wants: pulls succeed or are refused', async () => {
  const packed = gzipSync(layer)
  const configBytes = Buffer.from(JSON.stringify(config))
  const manifest: Json = { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config: { mediaType: mediaTypes.dockerConfig, digest: digestOf(configBytes), size: configBytes.length }, layers: [{ mediaType: mediaTypes.dockerLayerGzip, digest: digestOf(packed), size: packed.length }] }
  let served: Readonly<Record<'manifest' | 'config' | 'layer', Buffer>> = { manifest: Buffer.alloc(0), config: configBytes, layer: packed }
  const server = createServer((req, res) => {
    const path = req.url ?? ''
    if (path === '/v2/') return void res.end('{}')
    if (path.includes('/manifests/')) return void res.writeHead(200, { 'Content-Type': mediaTypes.dockerManifest }).end(served.manifest)
    const bytes = path.includes(digestOf(configBytes)) ? served.config : served.layer
    const start = Number(/^bytes=([0-9]+)-/.exec(req.headers.range ?? '')?.[1] ?? 0)
    res.writeHead(start > 0 ? 206 : 200).end(bytes.subarray(start))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const name = `127.0.0.1:${(server.address() as AddressInfo).port}/app`
  try {
    await fc.assert(
      fc.asyncProperty(edits, fc.constantFrom('manifest', 'config', 'layer'), fc.nat(200), async (changes, what, byte) => {
        const damaged = Buffer.from(packed)
        damaged[byte % damaged.length] = byte
        served = {
          manifest: what === 'manifest' ? edited(manifest, changes) : Buffer.from(JSON.stringify(manifest)),
          config: what === 'config' ? edited(config, changes) : configBytes,
          layer: what === 'layer' ? damaged : packed,
        }
        await doneOrRefused(() => images.pull(name, {}))
      }),
      { numRuns: runs, seed },
    )
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})
