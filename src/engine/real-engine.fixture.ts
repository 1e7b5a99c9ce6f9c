/**
 * A real engine (kernel, conmon, crun or runc, overlayfs) behind the Engine API on a socket of its own, with one busybox image: for tests
 * and comparisons that look at a limit from inside the container.
 */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, request as httpRequest } from '#base/http-module.ts'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar, type Sample } from '#oci/layer/archive-samples.ts'
import { engineHandler } from './http/handler.ts'
import { openEngine, type Engine } from './open.ts'

export const busyboxMissing: string | false = existsSync('/bin/busybox') ? false : 'no static busybox is installed (Debian: apt-get install busybox-static)'

export interface Answer {
  readonly status: number
  readonly body: unknown
}

export interface ContainerRun {
  readonly created: Answer
  /** Undefined where the creation was refused. */
  readonly started: Answer | undefined
  readonly exitCode: number | undefined
  /** stdout and stderr together. */
  readonly output: string
  readonly warnings: readonly string[]
  /** Why it did not run. */
  readonly refusal: string
}

/** A client of one engine's socket. */
export class ApiClient {
  readonly #socketPath: string
  readonly #version: string

  constructor(socketPath: string, version = '1.50') {
    this.#socketPath = socketPath
    this.#version = version
  }

  at(version: string): ApiClient {
    return new ApiClient(this.#socketPath, version)
  }

  async call(method: string, path: string, body?: unknown): Promise<Answer> {
    const { status, bytes } = await this.bytes(method, path, body)
    const answer = bytes.toString()
    return { status, body: answer === '' ? undefined : jsonOr(answer) }
  }

  /** A Buffer is sent as it is, as an archive; anything else as JSON. */
  bytes(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly bytes: Buffer }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly bytes: Buffer }>()
    const request = httpRequest({ socketPath: this.#socketPath, method, path: `/v${this.#version}${path}`, headers: body === undefined ? {} : { 'content-type': Buffer.isBuffer(body) ? 'application/x-tar' : 'application/json' } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body))
    return promise
  }

  /** What a script printed that nothing refused to run. */
  async seen(script: string, hostConfig: object = {}, config: object = {}): Promise<string> {
    const run = await this.run(script, hostConfig, config)
    assert.equal(run.refusal, '')
    return run.output.trim()
  }

  /** Creates, starts, waits, reads what it printed and removes. `script` is for the container's sh. */
  async run(script: string, hostConfig: object = {}, config: object = {}): Promise<ContainerRun> {
    const created = await this.call('POST', '/containers/create', { Image: 'bb:1', Entrypoint: [], Cmd: ['sh', '-c', script], HostConfig: hostConfig, ...config })
    const warnings = strings(field(created.body, 'Warnings'))
    const id = text(field(created.body, 'Id'))
    if (created.status !== 201) return { created, started: undefined, exitCode: undefined, output: '', warnings, refusal: messageOf(created.body) }
    try {
      const started = await this.call('POST', `/containers/${id}/start`)
      if (started.status !== 204) return { created, started, exitCode: undefined, output: '', warnings, refusal: messageOf(started.body) }
      const ended = await this.call('POST', `/containers/${id}/wait`)
      const output = await this.output(id)
      return { created, started, exitCode: Number(field(ended.body, 'StatusCode')), output, warnings, refusal: '' }
    } finally {
      await this.call('DELETE', `/containers/${id}?force=1&v=1`)
    }
  }

  /** Creates and starts; the caller removes. */
  async start(script: string, hostConfig: object = {}, config: object = {}): Promise<string> {
    const created = await this.call('POST', '/containers/create', { Image: 'bb:1', Entrypoint: [], Cmd: ['sh', '-c', script], HostConfig: hostConfig, ...config })
    const id = text(field(created.body, 'Id'))
    const started = await this.call('POST', `/containers/${id}/start`)
    if (started.status !== 204) throw new Error(`not started: ${JSON.stringify([created, started])}`)
    return id
  }

  /** Runs a script in a running container and answers what it printed. */
  async exec(id: string, script: string): Promise<string> {
    const made = await this.call('POST', `/containers/${id}/exec`, { Cmd: ['sh', '-c', script], AttachStdout: true, AttachStderr: true })
    const { bytes } = await this.bytes('POST', `/exec/${text(field(made.body, 'Id'))}/start`, { Detach: false, Tty: false })
    return unframed(bytes)
  }

  async output(id: string): Promise<string> {
    return unframed((await this.bytes('GET', `/containers/${id}/logs?stdout=1&stderr=1`)).bytes)
  }

  remove(id: string): Promise<Answer> {
    return this.call('DELETE', `/containers/${id}?force=1&v=1`)
  }
}

function jsonOr(answer: string): unknown {
  try {
    return JSON.parse(answer)
  } catch (error) {
    if (error instanceof SyntaxError) return answer
    throw error
  }
}

export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

export function messageOf(body: unknown): string {
  return text(field(body, 'message'))
}

/** '' for what is no text. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}

/** The payloads of a multiplexed stream. */
function unframed(bytes: Buffer): string {
  let payload = ''
  for (let at = 0; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4)
    payload += bytes.toString('utf8', at + 8, at + 8 + length)
    at += 8 + length
  }
  return payload
}

/** A root with every applet of busybox, accounts, and some files under /data. */
export async function busyboxRoot({ processes }: Pick<Kernel, 'processes'>): Promise<Buffer> {
  const applets = (await processes.run(['/bin/busybox', '--list'])).stdout.toString().trim().split('\n')
  const files: Sample[] = [
    ...['bin', 'etc', 'tmp', 'root', 'data', 'data/deep', 'proc', 'sys', 'dev'].map((path): Sample => ({ path, type: 'directory' })),
    { path: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...applets.filter((name) => name !== 'busybox').map((name): Sample => ({ path: `bin/${name}`, type: 'symlink', link: 'busybox' })),
    { path: 'data/from-image', content: 'image\n' },
    { path: 'data/deep/file', content: 'deep\n' },
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\nbob:x:1000:\nstaff:x:50:bob\nextra:x:77:\n' },
  ]
  return sampleTar(files)
}

export interface RealEngine extends AsyncDisposable {
  readonly engine: Engine
  readonly kernel: Kernel
  readonly client: ApiClient
  readonly root: string
  readonly cgroup: string
}

/** Closes the kernel too. `name`: a few letters, unique among the suites; they name its cgroup, table and bridge. */
export async function openRealEngine(kernel: Kernel & AsyncDisposable, { name, subnet, usernsMapping }: { readonly name: string; readonly subnet: string; readonly usernsMapping?: IdMapping }): Promise<RealEngine> {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), `${name}-`))
  // Another's root must come through to its own.
  if (usernsMapping !== undefined) for (const folder of [dirname(root), root]) if ((statSync(folder).mode & 0o1) === 0) chmodSync(folder, 0o711)
  const cgroup = `berth-${name}-${process.pid}`
  const bridge = `b${name}0`
  const engine = await openEngine({
    kernel, blobs: await openFileBlobs(join(root, 'blobs')), paths: { state: join(root, 's'), run: join(root, 'r') }, names: { cgroup, table: `berth_${name}`, bridge },
    networks: { bridgeSubnet: subnet }, ...(usernsMapping === undefined ? {} : { usernsMapping }), clock: systemClock, random: systemRandom, log: silentLogger,
  })
  await engine.images.importRoot(Readable.from([await busyboxRoot(kernel)]), { name: 'bb:1' })
  const handler = engineHandler(engine)
  const server = createServer(handler.request).on('upgrade', handler.upgrade)
  const socketPath = join(root, 'd.sock')
  await new Promise<void>((done) => server.listen(socketPath, done))
  return {
    engine, kernel, root, cgroup, client: new ApiClient(socketPath),
    async [Symbol.asyncDispose]() {
      for (const { id } of engine.containers.list({ namespace: 'all' })) await engine.containers.remove(id, { force: true, volumes: true })
      server.closeAllConnections()
      server.close()
      await engine[Symbol.asyncDispose]()
      await kernel.links.deleteLink(bridge)
      await kernel.cgroups.remove(cgroup)
      await kernel[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    },
  }
}
