/**
 * An index of two platforms with their attestations, copied from one repository to another by every client that can: what arrives must
 * be the same bytes, with everything that they refer to. Berth's engine is told by docker's CLIs: pull, tag and push within a registry,
 * and save and load between two engines. BUILDX names buildx, if it is not in the path.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { startDockerd } from '../../bench/dockerd.ts'
import { openRealEngine } from '../../src/engine/real-engine.fixture.ts'
import { must, user } from './command.ts'
import { startContainerd } from './containerd.ts'

const ociIndex = 'application/vnd.oci.image.index.v1+json'
const ociManifest = 'application/vnd.oci.image.manifest.v1+json'

export interface IndexCase {
  readonly client: string
  /** undefined where the client is not installed. */
  readonly problems: readonly string[] | undefined
}

interface Copying {
  /** `HOST/index/source:1`. */
  readonly from: string
  /** A repository without a tag: `1` is what is looked at. */
  readonly to: string
  readonly folder: string
  /** A DOCKER_CONFIG that can log in. */
  readonly config: string
}

interface IndexClient {
  readonly name: string
  readonly program: string
  readonly copy: (copying: Copying) => Promise<void>
}

const skopeo: IndexClient = {
  name: 'skopeo', program: 'skopeo',
  copy: async ({ from, to, folder }) => {
    const archive = join(folder, 'archive.tar')
    await must('skopeo', ['copy', '--all', '--preserve-digests', '--src-tls-verify=false', `docker://${from}`, `oci-archive:${archive}:x`])
    await must('skopeo', ['copy', '--all', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds', user, `oci-archive:${archive}:x`, `docker://${to}:1`])
  },
}

const ctr: IndexClient = {
  name: 'ctr', program: 'ctr',
  copy: async ({ from, to, folder }) => {
    await using containerd = await startContainerd(folder)
    await must('ctr', ['-a', containerd.socket, 'content', 'fetch', '--plain-http', '--all-platforms', from])
    await must('ctr', ['-a', containerd.socket, 'images', 'push', '--plain-http', '--user', user, `${to}:1`, from])
  },
}

function imagetools(buildx: string): IndexClient {
  return {
    name: 'buildx imagetools', program: buildx,
    copy: async ({ from, to, config, folder }) => {
      await must(buildx, ['imagetools', 'create', '--tag', `${to}:1`, from], { DOCKER_CONFIG: config, BUILDX_CONFIG: join(folder, 'buildx') })
    },
  }
}

/** One engine pulls both platforms, saves the index, and another loads and pushes it; the first also pushes within the registry. */
function berth(name: string, docker: string, short: string): IndexClient {
  return {
    name, program: docker,
    copy: async ({ from, to, config, folder }) => {
      await using first = await openRealEngine(await openKernel(), { name: `${short}a`, subnet: '172.29.112.0/24' })
      await using second = await openRealEngine(await openKernel(), { name: `${short}b`, subnet: '172.29.113.0/24' })
      const tell = (root: string, ...args: string[]): Promise<string> => must(docker, ['-H', `unix://${root}/d.sock`, ...args], { DOCKER_CONFIG: config })
      await tell(first.root, 'pull', from)
      await tell(first.root, 'tag', from, `${to}:mounted`)
      await tell(first.root, 'push', `${to}:mounted`)
      for (const platform of ['linux/arm64', 'linux/amd64']) await tell(first.root, 'pull', '--platform', platform, from)
      const archive = join(folder, 'saved.tar')
      await tell(first.root, 'save', '-o', archive, from)
      await must('skopeo', ['copy', '--all', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds', user, `oci-archive:${archive}:1`, `docker://${to}:skopeo`])
      await readByOthers(archive, { name: from, id: await tell(first.root, 'inspect', '--format', '{{.Id}}', from) })
      await tell(second.root, 'load', '-i', archive)
      await tell(second.root, 'tag', from, `${to}:1`)
      await tell(second.root, 'push', `${to}:1`)
    },
  }
}

/** Who keeps one platform of an image finds this machine's in the archive. */
async function readByOthers(archive: string, { name, id }: { readonly name: string; readonly id: string }): Promise<void> {
  // podman wants a short path.
  const folder = mkdtempSync(join(tmpdir(), 'ri-'))
  const podman = (...args: string[]): Promise<string> => must('podman', ['--root', join(folder, 'p'), '--runroot', join(folder, 'r'), '--storage-driver', 'vfs', ...args])
  await podman('load', '-q', '-i', archive)
  const loaded = await podman('images', '--no-trunc', '--format', '{{.ID}}')
  rmSync(folder, { recursive: true })
  await using dockerd = await startDockerd()
  const docker = (...args: string[]): Promise<string> => must('docker', ['-H', dockerd?.dockerHost ?? '', ...args])
  await docker('load', '-i', archive)
  const found = [`sha256:${loaded.replace('sha256:', '')}`, await docker('inspect', '--format', '{{.Id}}', name)]
  for (const other of found) if (other !== id) throw new Error(`the saved image is ${id}, loaded elsewhere it is ${other}`)
}

function clients(): readonly IndexClient[] {
  return [skopeo, ctr, imagetools(process.env['BUILDX'] ?? 'docker-buildx'), berth('docker 20.10 to Berth', '/usr/bin/docker', 'rco'), berth('docker 28 to Berth', '/usr/local/bin/docker', 'rcn')]
}

export async function indexCases(host: string, folder: string): Promise<readonly IndexCase[]> {
  const config = join(folder, 'config')
  mkdirSync(config, { recursive: true })
  writeFileSync(join(config, 'config.json'), JSON.stringify({ auths: { [host]: { auth: Buffer.from(user).toString('base64') } } }))
  const from = `${host}/index/source:1`
  const layout = writeLayout(join(folder, 'layout'))
  await must('skopeo', ['copy', '--all', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds', user, `oci:${layout.path}:x`, `docker://${from}`])
  const cases: IndexCase[] = []
  for (const client of clients()) {
    if (spawnSync(client.program, ['--version']).error !== undefined) {
      cases.push({ client: client.name, problems: undefined })
      continue
    }
    const repository = `index/${client.name.toLowerCase().replaceAll(/[ .]/g, '-')}`
    const own = join(folder, repository)
    mkdirSync(own, { recursive: true })
    cases.push({ client: client.name, problems: await problemsOf(client, { from, to: `${host}/${repository}`, folder: own, config }, layout.blobs) })
  }
  return cases
}

async function problemsOf(client: IndexClient, copying: Copying, blobs: ReadonlyMap<string, Buffer>): Promise<readonly string[]> {
  try {
    await client.copy(copying)
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)]
  }
  const slash = copying.to.indexOf('/')
  const base = `http://${copying.to.slice(0, slash)}/v2/${copying.to.slice(slash + 1)}`
  const tags: { readonly tags: readonly string[] } = JSON.parse(await (await fetch(`${base}/tags/list`)).text())
  const problems: string[] = []
  for (const tag of tags.tags) {
    const served = digestOf(Buffer.from(await (await fetch(`${base}/manifests/${tag}`, { headers: { Accept: '*/*' } })).arrayBuffer()))
    if (!blobs.has(served) || served !== [...blobs.keys()].at(-1)) problems.push(`${tag} is ${served}, not the index ${[...blobs.keys()].at(-1)}`)
  }
  if (!tags.tags.includes('1')) problems.push('nothing was pushed as 1')
  for (const [digest, bytes] of blobs) {
    const kind = bytes.includes('"schemaVersion"') ? 'manifests' : 'blobs'
    const answer = await fetch(`${base}/${kind}/${digest}`, { headers: { Accept: '*/*' } })
    if (answer.status !== 200 || digestOf(Buffer.from(await answer.arrayBuffer())) !== digest) problems.push(`${kind}/${digest}: ${answer.status}`)
  }
  return problems
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** An OCI layout of the index; its blobs by digest, the index last. */
function writeLayout(path: string): { readonly path: string; readonly blobs: ReadonlyMap<string, Buffer> } {
  const blobs = new Map<string, Buffer>()
  const put = (mediaType: string, content: Buffer | object): { readonly mediaType: string; readonly digest: string; readonly size: number } => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
    blobs.set(digestOf(bytes), bytes)
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }
  const images = ['amd64', 'arm64'].map((architecture) => {
    const layers = [sampleTar([{ path: 'hello', content: architecture.repeat(100_000) }]), sampleTar([{ path: 'common', content: 'the same everywhere' }])]
    const config = { architecture, os: 'linux', config: { Cmd: ['/hello'] }, rootfs: { type: 'layers', diff_ids: layers.map(digestOf) } }
    return { ...put(ociManifest, { schemaVersion: 2, mediaType: ociManifest, config: put('application/vnd.oci.image.config.v1+json', config), layers: layers.map((layer) => put('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(layer))) }), platform: { architecture, os: 'linux' } }
  })
  const attestations = images.map(({ digest }) => ({
    ...put(ociManifest, {
      schemaVersion: 2, mediaType: ociManifest,
      config: put('application/vnd.oci.image.config.v1+json', { architecture: 'unknown', os: 'unknown', config: {}, rootfs: { type: 'layers', diff_ids: [digest] } }),
      layers: [{ ...put('application/vnd.in-toto+json', { _type: 'https://in-toto.io/Statement/v0.1', subject: [{ name: '_', digest: { sha256: digest.slice(7) } }], predicateType: 'https://slsa.dev/provenance/v0.2', predicate: {} }), annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' } }],
    }),
    annotations: { 'vnd.docker.reference.digest': digest, 'vnd.docker.reference.type': 'attestation-manifest' }, platform: { architecture: 'unknown', os: 'unknown' },
  }))
  const index = put(ociIndex, { schemaVersion: 2, mediaType: ociIndex, manifests: [...images, ...attestations] })
  mkdirSync(join(path, 'blobs/sha256'), { recursive: true })
  for (const [digest, bytes] of blobs) writeFileSync(join(path, 'blobs/sha256', digest.slice(7)), bytes)
  writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [{ ...index, annotations: { 'org.opencontainers.image.ref.name': 'x' } }] }))
  return { path, blobs }
}
