/**
 * `npm run soak -- registry [ROUNDS]`: kill -9 of a registry at 200 random moments, while four clients push, delete and read and its
 * collector runs ten times a second with a grace of five seconds. After each kill the next registry opens the same folder; every
 * acknowledged image is whole, and a push that was cut succeeds when it is repeated. In the end nothing is left that nothing names.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { randomInt, systemRandom } from '../../src/base/random.ts'
import { enterNamespaces } from '../instance.ts'

const repository = resolve(import.meta.dirname, '../..')
const clients = 4
const tagsPerClient = 5
const graceMs = 5000
const longestLifeMs = 600
const host = '127.0.0.1:5055'

interface Image {
  readonly manifest: string
  readonly blobs: readonly string[]
}

function digestOf(content: string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

function makeImage(): Image {
  // Half of the layers are old acquaintances, which the collector may have its eyes on.
  const layer = randomInt(systemRandom, 2) === 0 ? `layer ${randomInt(systemRandom, 6)}`.repeat(5000) : randomBytes(40_000).toString('hex')
  const blobs = ['{}', layer]
  const [config, only] = blobs.map((content) => ({ digest: digestOf(content), size: content.length }))
  const manifest = JSON.stringify({
    schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config }, layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...only }],
  })
  return { manifest, blobs }
}

async function ask(method: string, path: string, body?: string): Promise<Response> {
  return await fetch(new URL(path, `http://${host}`), { method, headers: { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }, ...(body === undefined ? {} : { body }) })
}

/** As a client does it: ask, upload in two chunks what is missing, then the manifest. Throws what the registry refuses. */
async function push(name: string, tag: string, image: Image): Promise<void> {
  for (const blob of image.blobs) {
    if ((await ask('HEAD', `/v2/${name}/blobs/${digestOf(blob)}`)).ok) continue
    const location = (await ask('POST', `/v2/${name}/blobs/uploads/`)).headers.get('location') ?? ''
    const half = Math.floor(blob.length / 2)
    await ask('PATCH', location, blob.slice(0, half))
    await expect(await ask('PUT', `${location}?digest=${digestOf(blob)}`, blob.slice(half)), 201)
  }
  await expect(await ask('PUT', `/v2/${name}/manifests/${tag}`, image.manifest), 201)
}

async function expect(answer: Response, status: number): Promise<void> {
  if (answer.status !== status) throw new Error(`${answer.url}: ${answer.status} instead of ${status}: ${await answer.text()}`)
}

async function mustBeWhole(name: string, tag: string, image: Image): Promise<void> {
  const manifest = await (await ask('GET', `/v2/${name}/manifests/${tag}`)).text()
  if (manifest !== image.manifest) throw new Error(`${name}:${tag} is not what was acknowledged: ${manifest}`)
  for (const blob of image.blobs) {
    const found = await (await ask('GET', `/v2/${name}/blobs/${digestOf(blob)}`)).text()
    if (found !== blob) throw new Error(`a blob of ${name}:${tag} is not what was acknowledged: ${found.slice(0, 200)}`)
  }
}

/** A client of one repository, which nobody else writes to: it knows what must be there. */
class Client {
  readonly name: string
  /** What was acknowledged and not touched since. */
  readonly acknowledged = new Map<string, Image>()
  /** What was being pushed when the registry was killed. */
  cut: { readonly tag: string; readonly image: Image } | undefined
  pushes = 0

  constructor(name: string) {
    this.name = name
  }

  async work(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const tag = `t${randomInt(systemRandom, tagsPerClient)}`
      const former = this.acknowledged.get(tag)
      const image = makeImage()
      // Until the answer is here, either may stand; a manifest goes with every tag that names it.
      for (const [other, { manifest }] of this.acknowledged) if (other === tag || manifest === former?.manifest) this.acknowledged.delete(other)
      this.cut = { tag, image }
      try {
        if (former !== undefined) await ask('DELETE', `/v2/${this.name}/manifests/${digestOf(former.manifest)}`)
        await push(this.name, tag, image)
      } catch (error) {
        // The connection breaks when the registry is killed; anything else is a refusal.
        if (error instanceof TypeError) return
        throw error
      }
      this.acknowledged.set(tag, image)
      this.cut = undefined
      this.pushes += 1
    }
  }

  async check(): Promise<void> {
    for (const [tag, image] of this.acknowledged) await mustBeWhole(this.name, tag, image)
    if (this.cut === undefined) return
    const { tag, image } = this.cut
    await push(this.name, tag, image)
    this.acknowledged.set(tag, image)
    this.cut = undefined
    await mustBeWhole(this.name, tag, image)
  }
}

async function serve(settings: string): Promise<ChildProcess> {
  // The program itself, without the shell before it: it is the one to be killed.
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(repository, 'src/apps/berth.ts'), 'registry', 'serve', '--config', settings], { stdio: ['ignore', 'ignore', 'ignore'] })
  for (let attempt = 0; attempt < 400; attempt += 1) {
    if (await ask('GET', '/healthz').then(({ ok }) => ok, () => false)) return child
    if (child.exitCode !== null) break
    await delay(25)
  }
  child.kill('SIGKILL')
  throw new Error('the registry did not open its folder again')
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const ended = new Promise((done) => child.once('close', done))
  child.kill(signal)
  await ended
}

export async function run(options: readonly string[]): Promise<void> {
  enterNamespaces()
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  const rounds = Number(options[0] ?? 200)
  const root = mkdtempSync(join(tmpdir(), 'sr-'))
  const settings = join(root, 'registry.yaml')
  writeFileSync(settings, `address: ${host}\nstorage: { folder: data }\ncollect: { grace: ${graceMs}ms, every: 100ms }\n`)
  const everybody = Array.from({ length: clients }, (_, index) => new Client(`client/${index}`))
  try {
    for (let round = 0; round < rounds; round += 1) {
      const child = await serve(settings)
      try {
        await Promise.all(everybody.map((client) => client.check()))
        let isOver = false
        const working = everybody.map((client) => client.work(() => isOver))
        await Promise.race([delay(randomInt(systemRandom, longestLifeMs)), ...working.map((each) => each.then(() => new Promise(() => {})))])
        isOver = true
        await end(child, 'SIGKILL')
        await Promise.all(working)
      } finally {
        child.kill('SIGKILL')
      }
      if ((round + 1) % 20 === 0) console.log(`${round + 1} kills, ${everybody.reduce((sum, { pushes }) => sum + pushes, 0)} pushes acknowledged`)
    }
    await checkLeftovers(settings, root, everybody)
    console.log(`registry: ${rounds} kills, nothing lost, nothing left over`)
  } finally {
    rmSync(root, { recursive: true })
  }
}

async function checkLeftovers(settings: string, root: string, everybody: readonly Client[]): Promise<void> {
  const child = await serve(settings)
  try {
    await Promise.all(everybody.map((client) => client.check()))
    for (let count = 0; count < 3; count += 1) {
      await delay(graceMs + 500)
      await ask('POST', '/collect')
    }
    await Promise.all(everybody.map((client) => client.check()))
  } finally {
    await end(child, 'SIGTERM')
  }
  const known = new Set(everybody.flatMap(({ acknowledged }) => [...acknowledged.values()]).flatMap(({ manifest, blobs }) => [manifest, ...blobs]).map(digestOf))
  const kept = readdirSync(join(root, 'data/content/blobs/sha256')).map((hex) => `sha256:${hex}`)
  // A push that was cut after its manifest was taken has left a manifest that no tag of ours names; retention is what removes such.
  const untagged = kept.filter((digest) => !known.has(digest)).length
  const linked = new Set(readdirSync(join(root, 'data/registry'), { recursive: true, encoding: 'utf8' }).map((path) => /(?:_blobs|_manifests)\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1]).filter((hex) => hex !== undefined))
  const orphans = kept.filter((digest) => !linked.has(digest.slice('sha256:'.length)))
  const ingests = readdirSync(join(root, 'data/content/ingests'))
  if (orphans.length > 0 || ingests.length > 0) throw new Error(`left over: blobs ${orphans.join(', ')}, ingests ${ingests.join(', ')}`)
  console.log(`${kept.length} blobs are kept, ${untagged} of them of manifests whose push was cut before its answer`)
}
