/**
 * `npm run conformance -- registry-clients`: the clients that people have push an image to our registry and pull it again from an
 * empty store, with a login, over files and over object storage. A case passes when the digest that the client says it pushed, the one
 * the registry serves, the bytes' own and the one a fresh client says it pulled are the same, and the image is the same. An index with
 * attestations passes when a client that can has copied it whole, bytes unchanged (`registry-clients/indexes.ts`).
 *
 * Runs itself again inside private network and mount namespaces. A client that is not installed is skipped with a line.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openRegistry } from '#registry/registry.ts'
import type { RegistryStorage } from '#registry/storage/contract.ts'
import { openFileStorage } from '#registry/storage/file-storage.ts'
import { openObjectStorage } from '#registry/storage/objects/object-storage.ts'
import { openS3Objects } from '#registry/storage/objects/s3-objects.ts'
import { startS3Server } from '#registry/storage/objects/s3-server.suite.ts'
import { startDockerd } from '../bench/dockerd.ts'
import { writeResult } from './record.ts'
import type { Verdict } from './record.ts'
import { digestIn, must, user } from './registry-clients/command.ts'
import { indexCases } from './registry-clients/indexes.ts'
import { startContainerd } from './registry-clients/containerd.ts'

const inside = 'BERTH_CONFORMANCE_INSIDE'

interface Surroundings {
  /** `127.0.0.1:PORT` of the registry. */
  readonly host: string
  /** A folder for this client alone. */
  readonly folder: string
  /** An image as a docker archive, `sample:1` in it. */
  readonly archive: string
}

interface Outcome {
  readonly pushed: string
  readonly pulled: string
  /** Identities of the image before and after. */
  readonly ids?: readonly [string, string]
}

interface Client {
  readonly name: string
  readonly program: string
  readonly run: (at: Surroundings) => Promise<Outcome>
}

const skopeo: Client = {
  name: 'skopeo', program: 'skopeo',
  run: async ({ host, folder, archive }) => {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')]
    await must('skopeo', ['copy', `docker-archive:${archive}`, `oci:${first}:x`])
    await must('skopeo', ['copy', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds', user, '--digestfile', join(folder, 'digest'), `oci:${first}:x`, `docker://${host}/skopeo/image:1`])
    await must('skopeo', ['copy', '--preserve-digests', '--src-tls-verify=false', `docker://${host}/skopeo/image:1`, `oci:${second}:x`])
    const indexOf = (layout: string): string => digestIn(readFileSync(join(layout, 'index.json'), 'utf8'))
    const tree = (layout: string): Promise<string> => must('sh', ['-c', `cd "${layout}/blobs/sha256" && sha256sum * | sort`])
    return { pushed: readFileSync(join(folder, 'digest'), 'utf8'), pulled: indexOf(second), ids: [await tree(first), await tree(second)] }
  },
}

/** buildah and podman share their stores and words. */
function containersTool(program: 'buildah' | 'podman'): Client {
  return {
    name: program, program,
    run: async ({ host, folder, archive }) => {
      const store = (name: string): readonly string[] => ['--root', join(folder, name), '--runroot', join(folder, `${name}-run`), '--storage-driver', 'vfs']
      const name = `${host}/${program}/image:1`
      const idOf = async (where: string): Promise<string> => (await must(program, [...store(where), 'images', '--no-trunc', '--format', '{{.ID}}'])).split('\n')[0] ?? ''
      await must(program, [...store('one'), 'pull', '-q', `docker-archive:${archive}`])
      const id = await idOf('one')
      await must(program, [...store('one'), 'push', '-q', '--tls-verify=false', '--creds', user, '--digestfile', join(folder, 'digest'), id, `docker://${name}`])
      await must(program, [...store('two'), 'pull', '-q', '--tls-verify=false', name])
      const pulled = await must(program, [...store('two'), 'images', '--digests', '--format', '{{.Digest}}'])
      return { pushed: readFileSync(join(folder, 'digest'), 'utf8'), pulled, ids: [id, await idOf('two')] }
    },
  }
}

const ctr: Client = {
  name: 'ctr', program: 'ctr',
  run: async ({ host, folder, archive }) => {
    await using containerd = await startContainerd(folder)
    const command = (...args: string[]): Promise<string> => must('ctr', ['-a', containerd.socket, 'images', ...args])
    const digestOf = async (name: string): Promise<string> => digestIn((await command('ls', `name==${name}`)).split('\n')[1] ?? '')
    const name = `${host}/ctr/image:1`
    await command('import', '--snapshotter', 'native', '--base-name', 'sample', archive)
    const source = (await command('ls', '-q')).split('\n')[0] ?? ''
    const pushed = await digestOf(source)
    await command('push', '--plain-http', '--user', user, name, source)
    await command('rm', source)
    await command('pull', '--plain-http', '--snapshotter', 'native', name)
    return { pushed, pulled: await digestOf(name) }
  },
}

function dockerClient(name: string, program: string): Client {
  return {
    name, program,
    run: async ({ host, folder, archive }) => {
      await using dockerd = await startDockerd()
      if (dockerd === undefined) throw new Error('dockerd is not installed')
      const config = join(folder, 'config')
      mkdirSync(config)
      writeFileSync(join(config, 'config.json'), JSON.stringify({ auths: { [host]: { auth: Buffer.from(user).toString('base64') } } }))
      const docker = (...args: string[]): Promise<string> => must(program, ['-H', dockerd.dockerHost, ...args], { DOCKER_CONFIG: config })
      const image = `${host}/${name.replace(' ', '')}/image:1`
      await docker('load', '-i', archive)
      await docker('tag', 'sample:1', image)
      const id = await docker('inspect', '--format', '{{.Id}}', image)
      const pushed = digestIn((await docker('push', image)).split('\n').findLast((line) => line.includes('digest:')) ?? '')
      await docker('rmi', '-f', id)
      const pulled = digestIn((await docker('pull', image)).split('\n').find((line) => line.includes('Digest:')) ?? '')
      return { pushed, pulled, ids: [id, await docker('inspect', '--format', '{{.Id}}', image)] }
    },
  }
}

const clients: readonly Client[] = [skopeo, containersTool('buildah'), containersTool('podman'), ctr, dockerClient('docker 20.10', '/usr/bin/docker'), dockerClient('docker 28', '/usr/local/bin/docker')]

const storages: readonly { readonly name: string; readonly open: (root: string) => Promise<RegistryStorage> }[] = [
  { name: 'files', open: async (root) => openFileStorage({ root: join(root, 'registry'), blobs: await openFileBlobs(join(root, 'content')), clock: systemClock, random: systemRandom }) },
  {
    name: 'S3',
    open: async (root) => {
      const server = await startS3Server(root)
      const storage = openObjectStorage({ objects: await openS3Objects(server.options), clock: systemClock, random: systemRandom })
      return { content: storage.content, records: storage.records, [Symbol.asyncDispose]: async () => {
        await storage[Symbol.asyncDispose]()
        await server[Symbol.asyncDispose]()
      } }
    },
  },
]

export async function run(): Promise<void> {
  if (process.env[inside] === undefined) {
    const tool = join(import.meta.dirname, '../tools/conformance.ts')
    const result = spawnSync('unshare', ['--net', '--mount', '--propagation', 'private', '--', process.execPath, '--disable-warning=ExperimentalWarning', tool, 'registry-clients'], { stdio: 'inherit', env: { ...process.env, [inside]: '1' } })
    process.exitCode = result.status ?? 1
    return
  }
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  const folder = mkdtempSync(join(tmpdir(), 'rc-'))
  try {
    const archive = join(folder, 'image.tar')
    writeFileSync(archive, sampleArchive())
    const cases: { name: string; verdict: Verdict }[] = []
    for (const storage of storages) cases.push(...(await judge(storage.name, await storage.open(join(folder, storage.name)), join(folder, `${storage.name}-clients`), archive)))
    writeResult('registry-clients', { suite: 'push and pull by the clients that people have', commit: versions(), cases })
    if (cases.some(({ verdict }) => verdict === 'failed')) process.exitCode = 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function judge(name: string, opened: RegistryStorage, folder: string, archive: string): Promise<{ name: string; verdict: Verdict }[]> {
  await using storage = opened
  await using registry = await openRegistry({ storage, htpasswd: `${user.split(':')[0] ?? ''}:${hashSync('pw', 4)}`, clock: systemClock, random: systemRandom, logger: silentLogger })
  const server = createServer((req, res) => void registry.handle(req, res))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  const host = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  const cases: { name: string; verdict: Verdict }[] = []
  for (const client of clients) {
    const own = join(folder, client.name.replace(' ', '-'))
    mkdirSync(own, { recursive: true })
    const problems = await problemsOf(client, { host, folder: own, archive })
    for (const problem of problems ?? []) console.log(`${name}, ${client.name}: ${problem}`)
    cases.push({ name: `${name}: ${client.name}`, verdict: problems === undefined ? 'skipped' : problems.length === 0 ? 'passed' : 'failed' })
  }
  for (const { client, problems } of await indexCases(host, join(folder, 'indexes'))) {
    for (const problem of problems ?? []) console.log(`${name}, index by ${client}: ${problem}`)
    cases.push({ name: `${name}: index by ${client}`, verdict: problems === undefined ? 'skipped' : problems.length === 0 ? 'passed' : 'failed' })
  }
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
  return cases
}

/** undefined where the client is not installed. */
async function problemsOf(client: Client, at: Surroundings): Promise<readonly string[] | undefined> {
  if (spawnSync(client.program, ['--version']).error !== undefined) {
    console.log(`${client.name} is not installed: skipped`)
    return undefined
  }
  try {
    const { pushed, pulled, ids } = await client.run(at)
    const repository = client.program.endsWith('/docker') ? client.name.replace(' ', '') : client.name
    const served = await fetch(`http://${at.host}/v2/${repository}/image/manifests/1`, { headers: { Accept: '*/*' } })
    const own = `sha256:${createHash('sha256').update(Buffer.from(await served.arrayBuffer())).digest('hex')}`
    const digests = { pushed: pushed.trim(), served: served.headers.get('docker-content-digest') ?? 'none', own, pulled }
    return [
      ...(new Set(Object.values(digests)).size === 1 && pulled.startsWith('sha256:') ? [] : [`digests differ: ${JSON.stringify(digests)}`]),
      ...(ids === undefined || ids[0] === ids[1] ? [] : [`the image differs: ${ids.join(' / ')}`]),
    ]
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)]
  }
}

function sampleArchive(): Buffer {
  const layers = [sampleTar([{ path: 'hello', content: 'world'.repeat(200_000) }]), sampleTar([{ path: 'other', content: 'layer'.repeat(1000) }])]
  const diffIds = layers.map((layer) => `sha256:${createHash('sha256').update(layer).digest('hex')}`)
  const config = JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Cmd: ['/hello'] }, rootfs: { type: 'layers', diff_ids: diffIds }, history: layers.map((_, index) => ({ created_by: `layer ${index}` })) })
  const manifest = [{ Config: 'config.json', RepoTags: ['sample:1'], Layers: layers.map((_, index) => `${index}/layer.tar`) }]
  return sampleTar([{ path: 'config.json', content: config }, ...layers.map((layer, index) => ({ path: `${index}/layer.tar`, content: layer })), { path: 'manifest.json', content: JSON.stringify(manifest) }])
}

function versions(): string {
  return clients.map(({ name, program }) => `${name} ${/\d+\.\d+[.\w+~-]*/.exec(spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[0] ?? '-'}`).join(', ')
}
