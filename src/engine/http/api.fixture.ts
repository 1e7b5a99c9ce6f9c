/**
 * The Engine API on a socket, over fakes: what the tests of this room talk to. Containers are real (state, hub, queues); their runtime,
 * image, networks and volumes are those of `containers/fakes.ts`.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, OutgoingHttpHeaders, Server } from 'node:http'
import { createServer, request } from '#base/http-module.ts'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { fakeHost, fakeImages, fakeMounts, fakeNetworks, fakeRuntime, fakeSnapshots, fakeVolumes, type FakeRuntime } from '../containers/fakes.ts'
import { openContainers } from '../containers/manager.ts'
import type { Containers } from '../contract/containers.ts'
import type { Images } from '../contract/images.ts'
import { createEventBus } from '../events/event-bus.ts'
import { Sessions } from '../session/sessions.ts'
import type { EngineSystem } from './backend.ts'
import { engineHandler, engineServerOptions } from './handler.ts'

const system: EngineSystem = {
  engineVersion: '0.1.0', gitCommit: 'abc', buildTime: '', id: 'id', hostname: 'testhost', kernelVersion: '6.1', operatingSystem: 'Test', operatingSystemVersion: '1', fileSystem: 'extfs', initBinary: '', architecture: 'amd64', cpus: 2, memoryBytes: 1 << 30,
  cgroupMode: 'v1', seccomp: true, remapsUsers: false, rootDir: '/x', runtime: { name: 'fake', version: '1', path: '/fake', conmonVersion: '1' }, registryMirrors: [], insecureRegistries: [],
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  readonly json: () => Record<string, unknown>
}

export interface TestApi extends AsyncDisposable {
  readonly socketPath: string
  readonly server: Server
  readonly containers: Containers
  readonly runtime: FakeRuntime
  /** `body` is sent as JSON, or as it is when it is text. */
  readonly call: (method: string, path: string, body?: unknown, headers?: OutgoingHttpHeaders) => Promise<Answer>
  /** A container of the fake image; answers its id. */
  readonly created: (command: readonly string[], more?: object) => Promise<string>
}

function images(): Images {
  const refuse = async (): Promise<never> => {
    throw new Fault('unimplemented', 'the fake has no transfers')
  }
  const assembleIndex = (): never => {
    throw new Fault('unimplemented', 'the fake has no indexes')
  }
  return { ...fakeImages(), assembleIndex, tag: refuse, remove: refuse, prune: refuse, pull: refuse, push: refuse, tags: refuse, lookup: refuse, search: refuse, authenticate: refuse, load: refuse, save: refuse, importRoot: refuse, importUrl: refuse, put: refuse }
}

export async function openTestApi(): Promise<TestApi> {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'h-'))
  const socketPath = join(root, 's')
  const events = createEventBus({ clock: systemClock })
  const networks = fakeNetworks()
  const volumes = fakeVolumes()
  const runtime = fakeRuntime()
  const containers = await openContainers({
    runtime, images: fakeImages(), snapshots: fakeSnapshots(), networks, volumes, events, clock: systemClock, random: systemRandom, log: silentLogger, host: fakeHost, mounts: fakeMounts(), sockets: { sendDatagram: async () => undefined },
    stateDir: join(root, 'state'), runDir: join(root, 'run'), cgroupRoot: '/t', ps: async () => 'UID PID CMD\n',
  })
  const handler = engineHandler({ containers, images: images(), networks, volumes, snapshots: fakeSnapshots(), events, sessions: new Sessions(systemClock), builder: undefined, committer: undefined, runtime, system, clock: systemClock, log: silentLogger })
  const server = createServer(engineServerOptions, handler.request)
  server.on('upgrade', handler.upgrade)
  server.on('clientError', handler.clientError)
  server.listen(socketPath)
  await once(server, 'listening')
  const call: TestApi['call'] = async (method, path, body, headers = {}) => {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const req = request({ socketPath, method, path, agent: false, headers: text === undefined ? headers : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), ...headers } })
    req.end(text)
    // Where the answer comes before all was sent, the rest is lost.
    req.on('error', () => undefined)
    const [res]: IncomingMessage[] = await once(req, 'response')
    const chunks: Buffer[] = []
    if (res === undefined) throw new Error('no response')
    for await (const chunk of res) chunks.push(Buffer.from(chunk))
    const bytes = Buffer.concat(chunks)
    return { status: res.statusCode ?? 0, headers: res.headers, body: bytes, json: () => Object.fromEntries(Object.entries(JSON.parse(bytes.toString()))) }
  }
  return {
    socketPath,
    server,
    containers,
    runtime,
    call,
    async created(command, more = {}) {
      const { status, json, body } = await call('POST', '/v1.50/containers/create', { Image: 'bb:1', Cmd: command, ...more })
      if (status !== 201) throw new Error(`create: ${status} ${body.toString()}`)
      return String(json()['Id'])
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await containers[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    },
  }
}
