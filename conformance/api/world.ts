/**
 * The same small world, made over the API alone on whichever engine listens: one image with two names, a network, a volume, containers
 * that run, wait and have ended, one finished exec. What is asked afterwards is the same for both engines, version by version.
 */
import { request } from 'node:http'
import { sampleTar, type Sample } from '../../src/oci/layer/archive-samples.ts'

export interface Answer {
  readonly status: number
  readonly contentType: string
  /** Parsed where it is JSON; lines of JSON become a list. */
  readonly body: unknown
}

export interface Engine {
  readonly socketPath: string
  /** `10.77.1`: the first three numbers of its own user-defined network. */
  readonly prefix: string
}

export function call({ socketPath }: Engine, method: string, path: string, body?: object | Buffer): Promise<Answer> {
  const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  const type = Buffer.isBuffer(body) ? 'application/x-tar' : 'application/json'
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, method, path, agent: false, timeout: 30_000, headers: bytes === undefined ? {} : { 'Content-Type': type, 'Content-Length': bytes.length } }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk) => chunks.push(Buffer.from(chunk)))
      res.on('error', reject)
      res.on('end', () => resolve({ status: res.statusCode ?? 0, contentType: res.headers['content-type'] ?? '', body: parsed(Buffer.concat(chunks).toString()) }))
    })
    req.on('timeout', () => req.destroy(new Error(`${method} ${path} did not answer within 30 s`)))
    req.on('error', reject)
    req.end(bytes)
  })
}

function parsed(text: string): unknown {
  const values: unknown[] = []
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    try {
      values.push(JSON.parse(line))
    } catch (error) {
      if (error instanceof SyntaxError) return text
      throw error
    }
  }
  return values.length <= 1 ? values[0] : values
}

async function must(engine: Engine, method: string, path: string, body?: object | Buffer): Promise<Record<string, unknown>> {
  const answer = await call(engine, method, `/v1.41${path}`, body)
  if (answer.status >= 400) throw new Error(`${method} ${path} on ${engine.socketPath}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return typeof answer.body === 'object' && answer.body !== null && !Array.isArray(answer.body) ? Object.fromEntries(Object.entries(answer.body)) : {}
}

export interface World {
  readonly execId: string
  /** Seconds since 1970, before anything was made. */
  readonly startedAt: number
}

export async function makeWorld(engine: Engine, busybox: Buffer, startedAt: number): Promise<World> {
  const changes = ['CMD ["sh"]', 'ENV WORLD=api', 'LABEL made=here', 'EXPOSE 80', 'WORKDIR /tmp', 'VOLUME /data'].map((line) => `changes=${encodeURIComponent(line)}`).join('&')
  await must(engine, 'POST', `/images/create?fromSrc=-&repo=world&tag=1&${changes}`, rootTar(busybox))
  await must(engine, 'POST', '/images/world:1/tag?repo=world&tag=two')
  await must(engine, 'POST', '/networks/create', { Name: 'shop', CheckDuplicate: true, Labels: { aisle: '3' }, IPAM: { Config: [{ Subnet: `${engine.prefix}.0/24`, Gateway: `${engine.prefix}.1` }] } })
  await must(engine, 'POST', '/networks/create', { Name: 'plain' })
  await must(engine, 'POST', '/volumes/create', { Name: 'shelf', Labels: { kind: 'wood' } })
  await must(engine, 'POST', '/volumes/create', { Name: 'bare' })
  await must(engine, 'POST', '/containers/create?name=web', {
    Image: 'world:1', Cmd: ['sh', '-c', 'echo hello; sleep 0.3; echo trouble >&2; touch /new; rm /etc/group; sleep 1000'], Env: ['A=b'], Labels: { shop: 'yes' }, ExposedPorts: { '81/udp': {} },
    Healthcheck: { Test: ['CMD', 'true'], Interval: 3_600_000_000_000 }, StopSignal: 'SIGKILL',
    HostConfig: {
      Binds: ['shelf:/shelf', '/usr/share:/host:ro'], NetworkMode: 'shop', PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }, Memory: 64 << 20, NanoCpus: 500_000_000, PidsLimit: 50,
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 }, CapAdd: ['SYS_TIME'], ExtraHosts: ['far:1.2.3.4'], Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }], Tmpfs: { '/scratch': 'size=1m' }, Init: false,
    },
    NetworkingConfig: { EndpointsConfig: { shop: { Aliases: ['store'], IPAMConfig: { IPv4Address: `${engine.prefix}.9` } } } },
  })
  await must(engine, 'POST', '/containers/web/start')
  await must(engine, 'POST', '/containers/create?name=idle', { Image: 'world:two', Tty: true, OpenStdin: true, HostConfig: { Privileged: true } })
  await must(engine, 'POST', '/containers/create?name=gone', { Image: 'world:1', Cmd: ['sh', '-c', 'exit 3'], HostConfig: { NetworkMode: 'none' } })
  await must(engine, 'POST', '/containers/gone/start')
  await must(engine, 'POST', '/containers/gone/wait')
  await must(engine, 'POST', '/containers/create?name=onhost', { Image: 'world:1', Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'host', Mounts: [{ Type: 'volume', Source: 'shelf', Target: '/m', ReadOnly: true }, { Type: 'tmpfs', Target: '/t' }] } })
  await must(engine, 'POST', '/containers/onhost/start')
  await must(engine, 'POST', '/containers/onhost/pause')
  await must(engine, 'POST', '/containers/create?name=default', { Image: 'world:1', Cmd: ['sleep', '1000'] })
  await must(engine, 'POST', '/containers/default/start')
  const { Id } = await must(engine, 'POST', '/containers/web/exec', { Cmd: ['sh', '-c', 'exit 7'], AttachStdout: true, Env: ['X=y'], User: '0' })
  await must(engine, 'POST', `/exec/${String(Id)}/start`, { Detach: false })
  return { execId: String(Id), startedAt }
}

export async function unmakeWorld(engine: Engine): Promise<void> {
  for (const name of ['web', 'idle', 'gone', 'onhost', 'default']) await call(engine, 'DELETE', `/v1.41/containers/${name}?force=1&v=1`)
  for (const name of ['shop', 'plain']) await call(engine, 'DELETE', `/v1.41/networks/${name}`)
}

function rootTar(busybox: Buffer): Buffer {
  const applets = ['sh', 'sleep', 'touch', 'rm', 'true', 'echo']
  const files: Sample[] = [
    ...['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev', 'data'].map((path): Sample => ({ path, type: 'directory' })),
    { path: 'bin/busybox', content: busybox, mode: 0o755 },
    ...applets.map((name): Sample => ({ path: `bin/${name}`, type: 'symlink', link: 'busybox' })),
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\n' },
  ]
  return sampleTar(files)
}

/** Every GET of the API outside swarm and plugins, and the refusals of those. */
export function questions(world: World): readonly string[] {
  const until = Math.floor(Date.now() / 1000)
  const filter = (filters: object): string => `filters=${encodeURIComponent(JSON.stringify(filters))}`
  const containers = ['web', 'idle', 'gone', 'onhost', 'default']
  return [
    ...containers.map((name) => `/containers/${name}/json`),
    '/containers/web/json?size=1',
    '/containers/json?all=1', '/containers/json', '/containers/json?limit=2', '/containers/json?all=1&size=1',
    ...[{ status: ['exited'] }, { status: ['nonsense'] }, { exited: ['3'] }, { exited: ['x'] }, { name: ['^we'] }, { name: ['/web$'] }, { id: ['zzzz'] }, { label: ['shop=yes'] }, { label: ['shop', 'none'] }, { network: ['shop'] }, { network: ['host'] }, { volume: ['shelf'] },
      { volume: ['/shelf'] }, { ancestor: ['world:1'] }, { ancestor: ['world'] }, { ancestor: ['nothing'] }, { before: ['gone'] }, { since: ['gone'] }, { before: ['nobody'] }, { expose: ['80'] }, { expose: ['81/udp'] }, { expose: ['70-90/tcp'] }, { publish: ['80'] }, { publish: ['x'] },
      { health: ['healthy', 'starting'] }, { health: ['none'] }, { health: ['nonsense'] }, { 'is-task': ['false'] }, { 'is-task': ['true'] }, { 'is-task': ['x'] }, { isolation: ['default'] }, { unknown: ['x'] }].map((filters) => `/containers/json?all=1&${filter(filters)}`),
    '/containers/json?filters=nonsense', '/containers/json?limit=x', '/containers/json?filters=%7B%22label%22%3A%7B%22shop%3Dyes%22%3Atrue%7D%7D',
    '/containers/web/changes', '/containers/idle/changes', '/containers/nobody/changes',
    '/containers/web/top', '/containers/web/top?ps_args=aux', '/containers/web/top?ps_args=-o%20comm', '/containers/gone/top', '/containers/web/top?ps_args=--nonsense',
    '/containers/web/stats?stream=0', '/containers/web/stats?stream=0&one-shot=1', '/containers/gone/stats?stream=0', '/containers/onhost/stats?stream=0', '/containers/nobody/stats',
    '/containers/web/logs?stdout=1&stderr=1&tail=x', '/containers/web/logs', '/containers/web/logs?stdout=1&since=x', '/containers/nobody/logs?stdout=1', '/containers/web/logs?stdout=1&details=1', '/containers/idle/logs?stdout=1',
    '/containers/nobody/json', '/containers/web/archive', '/containers/web/archive?path=/nothing', '/containers/nobody/archive?path=/', '/containers/nobody/export', '/containers/nobody/attach/ws',
    `/exec/${world.execId}/json`, '/exec/nothing/json',
    '/images/json', '/images/json?all=1', '/images/json?filter=world', ...[{ reference: ['world'] }, { reference: ['world:t*'] }, { dangling: ['true'] }, { dangling: ['x'] }, { label: ['made=here'] }, { label: ['made=there'] }, { before: ['nothing'] }, { since: ['world:1'] }, { unknown: ['x'] }].map((filters) => `/images/json?${filter(filters)}`),
    '/images/world:1/json', '/images/nothing/json', '/images/world:1/history', '/images/nothing/history', '/images/search', '/images/nothing/get', '/images/UPPER/json', '/distribution/UPPER/json',
    '/networks', ...[{ driver: ['bridge'] }, { type: ['custom'] }, { type: ['builtin'] }, { type: ['x'] }, { name: ['sho'] }, { label: ['aisle=3'] }, { dangling: ['true'] }, { dangling: ['x'] }, { scope: ['local'] }, { scope: ['swarm'] }, { unknown: ['x'] }].map((filters) => `/networks?${filter(filters)}`),
    '/networks/shop', '/networks/bridge', '/networks/host', '/networks/none', '/networks/nothing', '/networks/shop?verbose=1', '/networks/shop?scope=swarm', '/networks/shop?verbose=x',
    '/volumes', ...[{ name: ['she'] }, { label: ['kind=wood'] }, { dangling: ['true'] }, { dangling: ['false'] }, { dangling: ['x'] }, { driver: ['local'] }, { unknown: ['x'] }].map((filters) => `/volumes?${filter(filters)}`),
    '/volumes/shelf', '/volumes/bare', '/volumes/nothing',
    '/info', '/version', '/_ping', '/system/df',
    ...[{}, { type: ['network'] }, { type: ['volume'] }, { type: ['image'] }, { type: ['container'], event: ['die'] }, { container: ['web'], event: ['start', 'exec_create'] }, { label: ['shop=yes'] }, { image: ['world:1'] }, { volume: ['shelf'] }, { network: ['shop'] }, { scope: ['local'] }, { scope: ['swarm'] }, { daemon: ['x'] }, { unknown: ['x'] }].map((filters) => `/events?since=${world.startedAt}&until=${until}&${filter(filters)}`),
    '/events?since=x', '/events?since=20&until=10', '/events?until=1&filters=nonsense',
    '/swarm', '/nodes', '/nodes/x', '/services', '/services/x', '/services/x/logs', '/tasks', '/tasks/x', '/tasks/x/logs', '/secrets', '/secrets/x', '/configs', '/configs/x', '/swarm/unlockkey',
    '/plugins', '/plugins/nothing/json', '/nonsense',
  ]
}
