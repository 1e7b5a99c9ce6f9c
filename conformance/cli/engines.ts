/**
 * The two engines of the differential run, each in network and mount namespaces of its own, where both serve /run/docker.sock, use the
 * same addresses and find the same image and the same registry: so their output may be compared without taking these out.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { startDockerd } from '../../bench/dockerd.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { systemRandom } from '../../src/base/random.ts'
import { engineHandler } from '../../src/engine/http/handler.ts'
import { openEngine } from '../../src/engine/open.ts'
import { openKernel } from '../../src/linux/real/kernel.ts'
import { openFileBlobs } from '../../src/oci/blobs/file-system.ts'

export const socketPath = '/run/docker.sock'

export interface ServedEngine extends AsyncDisposable {
  /** Paths of the engine's state, to be named alike. */
  readonly roots: readonly (readonly [path: string, name: string])[]
}

export async function serveDockerd(): Promise<ServedEngine> {
  const dockerd = await startDockerd()
  if (dockerd === undefined) throw new Error('dockerd is not installed (Debian package docker.io): nothing to compare with')
  const socket = dockerd.dockerHost.slice('unix://'.length)
  symlinkSync(socket, socketPath)
  return { roots: [[join(socket, '../data'), '<root>'], [join(socket, '../exec'), '<run>']], [Symbol.asyncDispose]: () => dockerd[Symbol.asyncDispose]() }
}

export async function serveBerth(): Promise<ServedEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'cc-'))
  const cgroup = `berth-cli-diff-${process.pid}`
  const kernel = await openKernel()
  const engine = await openEngine({
    kernel, blobs: await openFileBlobs(join(folder, 'blobs')), paths: { state: join(folder, 's'), run: join(folder, 'r') }, names: { cgroup, table: 'berth_cli_diff', bridge: 'docker0' },
    networks: { bridgeSubnet: '172.17.0.0/16', addressPools: [18, 19, 20, 21, 22, 23].map((second) => ({ base: `172.${second}.0.0/16`, length: 16 })) }, clock: systemClock, random: systemRandom, log: silentLogger,
  })
  const handler = engineHandler(engine)
  const server = createServer(handler.request).on('upgrade', handler.upgrade)
  await new Promise<void>((done) => server.listen(socketPath, done))
  return {
    roots: [[join(folder, 's'), '<root>'], [join(folder, 'r'), '<run>'], [`/${cgroup}/docker/`, '/docker/']],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await engine[Symbol.asyncDispose]()
      await kernel.cgroups.remove(cgroup)
      await kernel[Symbol.asyncDispose]()
      const mounts = spawnSync('findmnt', ['-rno', 'TARGET'], { encoding: 'utf8' }).stdout.split('\n').filter((path) => path.startsWith(`${folder}/`))
      for (const path of mounts.toReversed()) spawnSync('umount', ['-l', path])
      rmSync(folder, { recursive: true })
    },
  }
}

export interface Answer {
  readonly status: number
  readonly body: string
}

export function ask(method: string, path: string): Promise<Answer> {
  return new Promise((fulfil, reject) => {
    request({ socketPath, method, path }, (res) => {
      text(res).then((body) => fulfil({ status: res.statusCode ?? 0, body }), reject)
    }).once('error', reject).end()
  })
}

async function list<T>(path: string, pick: (body: string) => T[]): Promise<T[]> {
  const { status, body } = await ask('GET', path)
  if (status !== 200) throw new Error(`GET ${path}: ${status} ${body}`)
  return pick(body)
}

/** Removes everything that a case left, but the stand-in image. Whether that is still there under its name. */
export async function removeEverything(imageId: string, imageName: string): Promise<boolean> {
  const parse = <T>(body: string): T[] => {
    const found: T[] | null = JSON.parse(body)
    return found ?? []
  }
  for (const { Id } of await list('/v1.41/containers/json?all=1', (body) => parse<{ Id: string }>(body))) await ask('DELETE', `/v1.41/containers/${Id}?force=1&v=1`)
  const volumes = await list('/v1.41/volumes', (body) => {
    const found: { Volumes: { Name: string }[] | null } = JSON.parse(body)
    return found.Volumes ?? []
  })
  for (const { Name } of volumes) await ask('DELETE', `/v1.41/volumes/${encodeURIComponent(Name)}?force=1`)
  for (const { Id, Name } of await list('/v1.41/networks', (body) => parse<{ Id: string; Name: string }>(body))) if (!['bridge', 'host', 'none'].includes(Name)) await ask('DELETE', `/v1.41/networks/${Id}`)
  for (const { Id, RepoTags } of await list('/v1.41/images/json', (body) => parse<{ Id: string; RepoTags: string[] | null }>(body))) {
    if (Id !== `sha256:${imageId}`) await ask('DELETE', `/v1.41/images/${Id}?force=1`)
    else for (const tag of RepoTags ?? []) if (tag !== imageName) await ask('DELETE', `/v1.41/images/${tag}`)
  }
  await ask('POST', '/v1.41/build/prune?all=1')
  return (await ask('GET', `/v1.41/images/${imageName}/json`)).status === 200
}
