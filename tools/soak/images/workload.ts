/** What clients do to images while the engine is killed: each worker has names of its own, the layers are shared by all. */
import { createHash } from 'node:crypto'
import type { SeededRandom } from '../../../src/sim/random.ts'
import { sampleTar, type Sample } from '../../../src/oci/layer/archive-samples.ts'
import { bodyOf, type ImageEngine, Refused } from './engine.ts'

export const workers = 3
const poolLayers = 6
export const poolImages = 9

export interface Workplace {
  readonly engine: ImageEngine
  /** `host:port` of a registry that is not killed. */
  readonly foreign: string
  /** The instance's own. */
  readonly own: string
  readonly busybox: Buffer
}

const noAuth = { 'X-Registry-Auth': Buffer.from('{}').toString('base64url') }

/** The files of a layer of the pool: always the same for the same number. */
function poolFiles(number: number, busybox: Buffer): Sample[] {
  const files = Array.from({ length: 10 + number * 25 }, (_, index): Sample => ({ path: `pool${number}/f${index}`, content: Buffer.alloc(200 + ((index * 7919 + number) % 9000), `${number} ${index} `) }))
  return number === 0 ? [...files, { path: 'pool0/busybox', content: busybox, mode: 0o755 }] : files
}

/** A context whose Dockerfile stacks three layers of the pool. */
function poolContext(image: number, busybox: Buffer): Buffer {
  const layers = [0, 1 + (image % (poolLayers - 1)), 1 + ((image * 2 + 1) % (poolLayers - 1))]
  const dockerfile = ['FROM scratch', ...layers.map((layer) => `COPY pool${layer} /p${layer}`), `LABEL image=${image}`].join('\n')
  return sampleTar([{ path: 'Dockerfile', content: dockerfile }, ...[...new Set(layers)].flatMap((layer) => poolFiles(layer, busybox))])
}

const tarType = { 'Content-Type': 'application/x-tar' }

/** Fills the foreign registry, then leaves nothing of it here. */
export async function fillPool(place: Workplace): Promise<void> {
  for (let image = 0; image < poolImages; image += 1) {
    const name = `${place.foreign}/pool/i${image}`
    await build(place, `${name}:v1`, poolContext(image, place.busybox))
    await push(place, name, 'v1')
    await remove(place, `${name}:v1`)
    await publishIndex(`http://${place.foreign}/v2/pool/i${image}`)
  }
}

interface Part {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

/** Beside `v1`, as `multi`: an index of it, of its twin for another platform, and of what is attested of both. */
async function publishIndex(repository: string): Promise<void> {
  const types = { manifest: 'application/vnd.oci.image.manifest.v1+json', index: 'application/vnd.oci.image.index.v1+json', config: 'application/vnd.oci.image.config.v1+json', statement: 'application/vnd.in-toto+json' }
  const send = async (url: string, mediaType: string, bytes: Buffer): Promise<void> => {
    const answer = await fetch(url, { method: 'PUT', body: new Uint8Array(bytes), headers: { 'Content-Type': mediaType } })
    if (!answer.ok) throw new Error(`PUT ${url}: ${answer.status} ${await answer.text()}`)
  }
  const put = async (mediaType: string, document: object): Promise<Part> => {
    const bytes = Buffer.from(JSON.stringify(document))
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    if (mediaType === types.manifest) await send(`${repository}/manifests/${digest}`, mediaType, bytes)
    else {
      const begun = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' })
      const place = new URL(begun.headers.get('location') ?? '', begun.url)
      place.searchParams.set('digest', digest)
      await send(place.href, 'application/octet-stream', bytes)
    }
    return { mediaType, digest, size: bytes.length }
  }
  const served = await fetch(`${repository}/manifests/v1`, { headers: { Accept: types.manifest } })
  const bytes = Buffer.from(await served.arrayBuffer())
  const manifest: { readonly config: Part; readonly layers: readonly Part[] } = JSON.parse(bytes.toString())
  const config: object = JSON.parse(await (await fetch(`${repository}/blobs/${manifest.config.digest}`)).text())
  const images = [
    { mediaType: types.manifest, digest: served.headers.get('docker-content-digest') ?? '', size: bytes.length, platform: { os: 'linux', architecture: 'amd64' } },
    { ...(await put(types.manifest, { ...manifest, config: await put(types.config, { ...config, architecture: 'arm64' }) })), platform: { os: 'linux', architecture: 'arm64' } },
  ]
  const attestations = await Promise.all(images.map(async ({ digest }) => ({
    ...(await put(types.manifest, { schemaVersion: 2, mediaType: types.manifest, config: await put(types.config, { about: digest }), layers: [await put(types.statement, { statement: digest })] })),
    platform: { os: 'unknown', architecture: 'unknown' }, annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': digest },
  })))
  await send(`${repository}/manifests/multi`, types.index, Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: types.index, manifests: [...images, ...attestations] })))
}

async function build({ engine }: Workplace, tag: string, context: Buffer): Promise<void> {
  await engine.run(() => ({ method: 'POST', path: '/build', query: { t: tag, rm: '1' }, stream: bodyOf(context), headers: tarType }))
}

async function push({ engine }: Workplace, name: string, tag: string): Promise<void> {
  await engine.run(() => ({ method: 'POST', path: `/images/${name}/push`, query: { tag }, headers: noAuth }))
}

async function remove({ engine }: Workplace, name: string): Promise<void> {
  try {
    await engine.run(() => ({ method: 'DELETE', path: `/images/${name}`, query: { force: '1' } }))
  } catch (error) {
    // The first request may have removed it before its answer was cut off.
    if (!(error instanceof Refused) || error.status !== 404) throw error
  }
}

/** What a worker was told is there; anything else it finds is fine. */
export interface Worker {
  readonly number: number
  readonly random: SeededRandom
  readonly here: Set<string>
  built: number
}

type Step = (place: Workplace, worker: Worker) => Promise<string>

function ownImage({ number, random }: Worker): number {
  return number + workers * random.between(0, poolImages / workers - 1)
}

const pull: Step = async (place, worker) => {
  const name = `${place.foreign}/pool/i${ownImage(worker)}`
  await place.engine.run(() => ({ method: 'POST', path: '/images/create', query: { fromImage: name, tag: 'v1' }, headers: noAuth }))
  worker.here.add(`${name}:v1`)
  return `pull ${name}`
}

/** An index: one platform of it or, by and by, both. */
const pullIndex: Step = async (place, worker) => {
  const name = `${place.foreign}/pool/i${ownImage(worker)}`
  const platform = worker.random.pick(['', 'linux/amd64', 'linux/arm64'])
  await place.engine.run(() => ({ method: 'POST', path: '/images/create', query: { fromImage: name, tag: 'multi', ...(platform === '' ? {} : { platform }) }, headers: noAuth }))
  worker.here.add(`${name}:multi`)
  return `pull ${platform} ${name}:multi`
}

const buildOne: Step = async (place, worker) => {
  const name = `built/w${worker.number}:b${worker.built}`
  worker.built += 1
  const content = Buffer.from(Array.from({ length: 2000 }, () => worker.random.between(0, 255)))
  const dockerfile = [`FROM ${place.foreign}/pool/i${ownImage(worker)}:v1`, 'COPY fresh /fresh', ...(worker.random.chance(0.4) ? ['RUN ["/p0/busybox", "cp", "/fresh", "/copied"]'] : []), 'COPY many /many'].join('\n')
  const context = sampleTar([{ path: 'Dockerfile', content: dockerfile }, { path: 'fresh', content }, ...Array.from({ length: 60 }, (_, index): Sample => ({ path: `many/f${index}`, content: `${name} ${index}` }))])
  await build(place, name, context)
  worker.here.add(name)
  return `build ${name}`
}

const pushOne: Step = async (place, worker) => {
  const name = someOf(worker)
  if (name === undefined) return await pull(place, worker)
  const to = `${worker.random.chance(0.5) ? place.own : place.foreign}/pushed/w${worker.number}`
  const tag = `t${worker.random.between(0, 2)}`
  await place.engine.run(() => ({ method: 'POST', path: `/images/${name}/tag`, query: { repo: to, tag } }))
  await push(place, to, tag)
  worker.here.add(`${to}:${tag}`)
  return `push ${name} as ${to}:${tag}`
}

const removeOne: Step = async (place, worker) => {
  const name = someOf(worker)
  if (name === undefined) return 'nothing to remove'
  worker.here.delete(name)
  await remove(place, name)
  return `remove ${name}`
}

const prune: Step = async (place, worker) => {
  const path = worker.random.chance(0.5) ? '/images/prune' : '/build/prune'
  try {
    await place.engine.run(() => ({ method: 'POST', path, query: path === '/build/prune' ? { all: '1' } : {} }))
  } catch (error) {
    // Somebody else prunes.
    if (!(error instanceof Refused) || error.status !== 409) throw error
  }
  return `prune ${path}`
}

const saveAndLoad: Step = async (place, worker) => {
  const name = someOf(worker)
  if (name === undefined) return await pull(place, worker)
  const archive = await place.engine.run(() => ({ method: 'GET', path: '/images/get', query: { names: name } }))
  await place.engine.run(() => ({ method: 'POST', path: '/images/load', query: { quiet: '1' }, stream: bodyOf(archive), headers: tarType }))
  return `save and load ${name}`
}

function someOf({ here, random }: Worker): string | undefined {
  return here.size === 0 ? undefined : random.pick([...here])
}

const steps: readonly Step[] = [pull, pull, pullIndex, pullIndex, buildOne, buildOne, pushOne, pushOne, removeOne, removeOne, prune, saveAndLoad]

/** One step of the worker's choice; it holds when it returns. */
export async function oneStep(place: Workplace, worker: Worker): Promise<string> {
  return await worker.random.pick(steps)(place, worker)
}
