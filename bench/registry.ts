/**
 * `npm run bench -- registry`: manifest GETs, blob downloads and uploads, our registry in a process of its own against Debian's
 * docker-registry. The client is this process, the same for both.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enterNamespaces } from '../tools/instance.ts'
import { startDockerRegistry } from './docker-registry.ts'
import { compare, isChosen, timed } from './measure.ts'

const manifestGets = 2000
const connections = 16
const blobBytes = 200 * 1024 * 1024
/** Memory does not follow the size of what is stored. */
const largeBytes = 1024 ** 3
const largeTitle = 'a blob of 1 GiB, there and back'

const agent = new Agent({ keepAlive: true, maxSockets: connections })

/** One exchange; the answer's body is thrown away. */
function exchange(method: string, url: string, options: { readonly body?: Buffer; readonly type?: string } = {}): Promise<{ readonly status: number; readonly location: string | undefined }> {
  return new Promise((resolve, reject) => {
    const headers = { ...(options.type === undefined ? {} : { 'Content-Type': options.type }), ...(options.body === undefined ? {} : { 'Content-Length': options.body.length }) }
    const req = request(url, { method, agent, headers }, (res) => {
      res.resume().once('end', () => resolve({ status: res.statusCode ?? 0, location: res.headers.location })).once('error', reject)
    })
    req.once('error', reject)
    req.end(options.body)
  })
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

async function upload(host: string, blob: Buffer, digest = digestOf(blob)): Promise<string> {
  const begun = await exchange('POST', `http://${host}/v2/bench/blobs/uploads/`)
  const target = new URL(begun.location ?? '', `http://${host}/`)
  target.searchParams.set('digest', digest)
  const done = await exchange('PUT', target.href, { body: blob, type: 'application/octet-stream' })
  if (done.status !== 201) throw new Error(`${host} answered an upload with ${done.status}`)
  return digest
}

const manifestType = 'application/vnd.docker.distribution.manifest.v2+json'

async function publish(host: string, blob: Buffer): Promise<string> {
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
  const layer = { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', digest: await upload(host, blob), size: blob.length }
  const manifest = { schemaVersion: 2, mediaType: manifestType, config: { mediaType: 'application/vnd.docker.container.image.v1+json', digest: await upload(host, config), size: config.length }, layers: [layer] }
  const { status } = await exchange('PUT', `http://${host}/v2/bench/manifests/latest`, { body: Buffer.from(JSON.stringify(manifest)), type: manifestType })
  if (status !== 201) throw new Error(`${host} answered a manifest with ${status}`)
  return layer.digest
}

async function getMany(url: string): Promise<void> {
  let left = manifestGets
  const one = async (): Promise<void> => {
    while (left-- > 0) await exchange('GET', url)
  }
  await Promise.all(Array.from({ length: connections }, one))
}

/** Our registry in a process of its own. */
async function startOurs(): Promise<AsyncDisposable & { readonly host: string; readonly pid: number }> {
  const root = mkdtempSync(join(tmpdir(), 'or-'))
  const server = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'registry-server.ts'), root], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise<string>((resolve, reject) => {
    server.once('error', reject)
    server.stdout.setEncoding('utf8').once('data', (text: string) => resolve(text.trim()))
  })
  return {
    host: `127.0.0.1:${port}`,
    pid: server.pid ?? 0,
    async [Symbol.asyncDispose]() {
      server.kill('SIGTERM')
      await new Promise((resolve) => server.once('close', resolve))
      rmSync(root, { recursive: true })
    },
  }
}

function peakMemory(pid: number): string {
  return /VmHWM:\s*(.*)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 'unknown'
}

export async function benchRegistry(): Promise<void> {
  enterNamespaces()
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  await using ours = await startOurs()
  await using theirs = await startDockerRegistry()
  const hosts = [{ name: 'berth', host: ours.host }, ...(theirs === undefined ? [] : [{ name: 'docker-registry', host: theirs.host }])]
  const blob = randomBytes(blobBytes)
  const digest = digestOf(blob)
  for (const { host } of hosts) await publish(host, blob)
  const each = async (title: string, work: (host: string) => Promise<unknown>): Promise<void> => {
    if (isChosen(title)) await compare(title, hosts.map(({ name, host }) => ({ name, run: () => timed(() => work(host)) })), { pairs: 10, warmups: 1 })
  }
  await each(`${manifestGets} manifest GETs at ${connections} connections`, (host) => getMany(`http://${host}/v2/bench/manifests/latest`))
  await each(`download of ${blobBytes / 1024 ** 2} MiB`, (host) => exchange('GET', `http://${host}/v2/bench/blobs/${digest}`))
  // This process is slower than what it measures; curl is not.
  await each(`download of ${blobBytes / 1024 ** 2} MiB by curl`, async (host) => {
    const { status, error } = spawnSync('curl', ['-sS', '-f', '-o', '/dev/null', `http://${host}/v2/bench/blobs/${digest}`], { stdio: ['ignore', 'ignore', 'inherit'] })
    if (status !== 0) throw error ?? new Error(`curl ended with ${status}`)
  })
  let round = 0
  await each('upload of 50 MiB', (host) => {
    // New content each time, or the second upload would be known already.
    const part = Buffer.from(blob.subarray(0, 50 * 1024 ** 2))
    part.writeUInt32LE((round += 1))
    return upload(host, part)
  })
  const tellPeaks = (when: string): void => console.log(`peak memory ${when}: berth ${peakMemory(ours.pid)}${theirs === undefined ? '' : `, docker-registry ${peakMemory(theirs.pid)}`}`)
  tellPeaks('so far')
  if (isChosen(largeTitle)) {
    const large = randomBytes(largeBytes)
    const largeDigest = digestOf(large)
    // While this process was busy, the other side has closed what it kept alive.
    agent.destroy()
    for (const { host } of hosts) await exchange('GET', `http://${host}/v2/bench/blobs/${await upload(host, large, largeDigest)}`)
    tellPeaks(`after ${largeTitle}`)
  }
  agent.destroy()
}
