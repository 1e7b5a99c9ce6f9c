/**
 * The engine's neighbours in memory, for tests of the life cycle and of the HTTP room: a runtime whose programs are functions, one image,
 * networks without packets, volumes without files. They keep the contracts' promises that the tests rely on, and nothing else.
 */
import { PassThrough, type Readable } from 'node:stream'
import { appendFile } from 'node:fs/promises'
import { rfc3339Nano, systemClock, type Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { Image, ImageResolver, Images } from '../contract/images.ts'
import type { Endpoint, Network, Networks } from '../contract/networks.ts'
import type { ProcessSpec } from '../contract/runtime-spec.ts'
import type { Attachment, ContainerExit, CreateRequest, ExecRequest, OutputChannel, OutputSink, RecoveredContainer, RunningExec, Runtime, RuntimeFailure, TerminalSize } from '../contract/runtime.ts'
import type { Snapshots } from '../contract/snapshots.ts'
import type { Volume, Volumes } from '../contract/volumes.ts'
import type { HostFacts } from './host.ts'

/** A program: writes, reads, and answers its exit code. `signals` are those sent to it; SIGKILL ends it without asking. */
export type Program = (io: ProgramIo) => Promise<number>

export interface ProgramIo {
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly stdin: Readable
  readonly signals: AsyncIterable<number>
  write(channel: OutputChannel, text: string): Promise<void>
}

export const programs: Readonly<Record<string, Program>> = {
  true: async () => 0,
  false: async () => 1,
  echo: async (io) => {
    await io.write('stdout', `${io.args.slice(1).join(' ')}\n`)
    return 0
  },
  grumble: async (io) => {
    await io.write('stderr', `${io.args.slice(1).join(' ')}\n`)
    return 3
  },
  cat: async (io) => {
    for await (const chunk of io.stdin) await io.write('stdout', String(chunk))
    return 0
  },
  env: async (io) => {
    await io.write('stdout', `${io.env.join('\n')}\n`)
    return 0
  },
  /** Ends with 128 + the first signal. */
  wait: async (io) => {
    for await (const signal of io.signals) return 128 + signal
    return 0
  },
  /** Says so, and ignores every signal but SIGKILL. */
  stubborn: async (io) => {
    for await (const signal of io.signals) await io.write('stdout', `no to ${signal}\n`)
    return 0
  },
}

interface FakeProcess {
  readonly request: CreateRequest
  readonly sinks: Set<OutputSink>
  readonly stdin: PassThrough
  readonly signals: PassThrough
  readonly closed: PromiseWithResolvers<void>
  state: 'created' | 'running' | 'paused' | 'exited'
  finish: (exitCode: number) => void
}

export interface FakeRuntime extends Runtime {
  readonly live: ReadonlyMap<string, unknown>
  /** Ends a container from outside. */
  crash(id: string, exitCode: number): void
  /** Sizes that running execs were given. */
  readonly execSizes: readonly TerminalSize[]
  /** Calls of `expect`. */
  expected: number
}

export function fakeRuntime(clock: Clock = systemClock): FakeRuntime {
  const processes = new Map<string, FakeProcess>()
  const listeners = new Set<(exit: ContainerExit) => void>()
  const execSizes: TerminalSize[] = []
  let nextPid = 1000

  const get = (id: string): FakeProcess => {
    const process = processes.get(id)
    if (process === undefined) throw new Fault('notFound', `no runtime container ${id}`)
    return process
  }

  const runtime: FakeRuntime = {
    live: processes,
    execSizes,
    crash: (id, exitCode) => get(id).finish(exitCode),
    info: async () => ({ name: 'fake', version: '1', path: '/fake', conmonVersion: '1', cgroupMode: 'v1' }),
    async create(request) {
      if (processes.has(request.id)) throw new Fault('alreadyExists', `runtime container ${request.id} exists`)
      requireProgram(request.spec.process)
      processes.set(request.id, { request, sinks: new Set(), stdin: new PassThrough(), signals: new PassThrough({ objectMode: true }), closed: Promise.withResolvers(), state: 'created', finish: () => undefined })
      nextPid += 1
      return { pid: nextPid }
    },
    async start(id) {
      const process = get(id)
      process.state = 'running'
      const { promise, resolve } = Promise.withResolvers<number>()
      process.finish = resolve
      const write = async (channel: OutputChannel, text: string): Promise<void> => {
        const { logPath } = process.request
        for (const line of text.split('\n').slice(0, -1)) if (logPath !== undefined) await appendFile(logPath, `${rfc3339Nano(clock.nowNs())} ${channel} F ${line}\n`)
        await Promise.all([...process.sinks].map(async (sink) => sink.write(channel, Buffer.from(text))))
      }
      void runProgram(process.request.spec.process, process, write).then(resolve)
      void promise.then((exitCode) => {
        process.state = 'exited'
        process.closed.resolve()
        for (const listener of listeners) listener({ id, exitCode, oomKilled: false, finishedAtNs: clock.nowNs() })
      })
    },
    async signal(id, signal) {
      const process = get(id)
      if (process.state === 'exited') throw new Fault('conflict', `runtime container ${id} has exited`)
      if (signal === 9) process.finish(137)
      else process.signals.write(signal)
    },
    expected: 0,
    expect() {
      runtime.expected += 1
    },
    async pause(id) {
      get(id).state = 'paused'
    },
    async resume(id) {
      get(id).state = 'running'
    },
    async update() {},
    async delete(id) {
      processes.get(id)?.finish(137)
      processes.delete(id)
    },
    async attach(id, sink) {
      const process = get(id)
      process.sinks.add(sink)
      return attachmentOf(process, sink)
    },
    async resize() {},
    async exec(_id, request) {
      requireProgram(request.process)
      return { ...fakeExec(request), resize: async (size) => void execSizes.push(size) }
    },
    onOom: () => ({ [Symbol.dispose]: () => undefined }),
    onExit(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => listeners.delete(listener) }
    },
    async recover(ids) {
      return ids.map((id): RecoveredContainer => {
        const process = processes.get(id)
        return process === undefined ? { id, state: 'absent' } : { id, state: process.state, pid: 1 }
      })
    },
    processes: async () => [process.pid],
    stats: async () => ({
      readAtNs: clock.nowNs(),
      cpu: { totalNs: 1_000_000n, userNs: 500_000n, systemNs: 500_000n, throttledPeriods: 0, periods: 0, throttledNs: 0n },
      memory: { usageBytes: 4096, inactiveFileBytes: 0, counters: {} },
      pids: { current: 1 },
      blockIo: [],
    }),
    async rotateLog() {},
    async reopenLog() {},
  }
  return runtime
}

function requireProgram({ args }: ProcessSpec): void {
  const [name = ''] = args
  if (Object.hasOwn(programs, name)) return
  const failure: RuntimeFailure = { kind: name === '/etc/passwd' ? 'permissionDenied' : 'executableNotFound', runtimeMessage: `executable file not found: ${name}` }
  throw new Fault('invalidArgument', failure.runtimeMessage, { details: { runtimeFailure: failure } })
}

function runProgram({ args, env }: ProcessSpec, { stdin, signals }: Pick<FakeProcess, 'stdin' | 'signals'>, write: ProgramIo['write']): Promise<number> {
  const program = programs[args[0] ?? '']
  return program === undefined ? Promise.resolve(127) : program({ args, env, stdin, signals, write })
}

function attachmentOf(process: FakeProcess, sink: OutputSink): Attachment {
  const own = Promise.withResolvers<void>()
  const close = (): void => {
    process.sinks.delete(sink)
    own.resolve()
  }
  const stdin = process.request.stdin === 'none' ? undefined : process.stdin
  return { stdin, closed: Promise.race([process.closed.promise, own.promise]), close, [Symbol.dispose]: close }
}

function fakeExec({ process: spec, sink, stdin: wantsStdin }: ExecRequest): Omit<RunningExec, 'resize'> {
  const stdin = new PassThrough()
  const exited = runProgram(spec, { stdin, signals: new PassThrough({ objectMode: true }) }, async (channel, text) => {
    await sink?.write(channel, Buffer.from(text))
  })
  const close = (): void => undefined
  const attachment: Attachment | undefined = sink === undefined ? undefined : { stdin: wantsStdin ? stdin : undefined, closed: exited.then(() => undefined), close, [Symbol.dispose]: close }
  return { pid: 2000, attachment, exited }
}

export const fakeImage: Image = {
  id: `sha256:${'ab'.repeat(32)}`,
  config: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, config: { Env: ['PATH=/bin', 'FROM_IMAGE=1'], Cmd: ['true'] } },
  repoTags: ['bb:1'],
  repoDigests: [],
  topLayer: undefined,
  sizeBytes: 100,
  createdAt: '2026-01-01T00:00:00Z',
  lastTaggedAtMs: undefined,
}

export function fakeImages(image: Image = fakeImage): ImageResolver & Pick<Images, 'list' | 'manifests'> {
  return {
    async resolve(name) {
      if (image.repoTags.includes(name) || image.id === name || image.id.startsWith(`sha256:${name}`)) return image
      throw new Fault('notFound', `No such image: ${name.includes(':') ? name : `${name}:latest`}`)
    },
    list: async () => [image],
    manifests: async () => {
      throw new Fault('unimplemented', 'the fake has no manifests')
    },
  }
}

function refuse(what: string): never {
  throw new Fault('unimplemented', `the fake has no ${what}`)
}

export function fakeSnapshots(): Snapshots {
  const keys = new Set<string>()
  return {
    has: async () => true,
    usage: async () => ({ sizeBytes: 0, inodes: 0 }),
    changes: async () => [],
    folders: async () => ({ upper: '/fake/upper', lower: [] }),
    prepare: async (key) => void keys.add(key),
    mount: async () => undefined,
    unmount: async () => undefined,
    remove: async (key) => void keys.delete(key),
    keys: async () => [...keys],
    link: () => refuse('link'),
    diff: () => refuse('diff'),
    commit: () => refuse('commit'),
    unpack: () => refuse('unpack'),
    collect: async () => 0,
    readArchive: () => refuse('archives'),
    statPath: () => refuse('archives'),
    writeArchive: () => refuse('archives'),
    exportRoot: () => refuse('archives'),
  }
}

/** Has the networks `bridge` and `inner`, an internal one. */
export function fakeNetworks(): Networks {
  const sandboxes = new Map<string, Endpoint[]>()
  const bridge: Network = { id: 'b'.repeat(64), name: 'bridge', driver: 'bridge', scope: 'local', createdAtNs: 0n, internal: false, attachable: false, enableIPv6: false, ipam: { driver: 'default', options: {}, config: [{ subnet: '172.29.0.0/16', gateway: '172.29.0.1' }] }, options: {}, labels: {} }
  const known: readonly Network[] = [bridge, { ...bridge, id: 'c'.repeat(64), name: 'inner', internal: true }]
  return {
    create: () => refuse('networks of its own'),
    async get(name) {
      const found = known.find((network) => network.name === name || network.id.startsWith(name))
      if (found !== undefined) return found
      throw new Fault('notFound', `network ${name} not found`)
    },
    list: async () => known,
    remove: () => refuse('networks of its own'),
    endpoints: async () => [...sandboxes.values()].flat(),
    async openSandbox(containerId) {
      sandboxes.set(containerId, sandboxes.get(containerId) ?? [])
      return { containerId, netnsPath: `/fake/netns/${containerId.slice(0, 12)}` }
    },
    async connect(containerId, networkId, { aliases = [], ports = [] }) {
      const endpoint: Endpoint = {
        id: 'e'.repeat(64), networkId, networkName: known.find(({ id }) => id === networkId)?.name ?? '', containerId, aliases, macAddress: '02:42:ac:1d:00:02', ipv4Address: '172.29.0.2', ipv4PrefixLength: 16, gateway: '172.29.0.1',
        ipv6Address: '', ipv6PrefixLength: 0, ipv6Gateway: '', ports: ports.map((port) => ({ ...port, hostIp: port.hostIp || '0.0.0.0', hostPort: port.hostPort || 32768 })),
      }
      sandboxes.set(containerId, [...(sandboxes.get(containerId) ?? []), endpoint])
      return endpoint
    },
    async disconnect(containerId) {
      sandboxes.set(containerId, [])
    },
    closeSandbox: async (containerId) => void sandboxes.delete(containerId),
    resolver: async () => ({ nameservers: ['192.0.2.53'], search: [], options: [] }),
    recover: async () => [...sandboxes.values()].flat(),
  }
}

export const fakeHost: HostFacts = {
  architecture: 'amd64', cpus: 2, memoryBytes: 1 << 30, hostname: 'testhost', cgroupMode: 'v1', seccomp: false, unavailableCapabilities: new Set(), rlimitCeilings: new Map(), recursiveReadonly: true,
  limits: {
    memory: true, swap: true, swappiness: true, reservation: true, oomKillDisable: true, pids: true, cpuShares: true, cpuQuota: true, cpuRealtime: false,
    blkioWeight: false, blkioWeightDevice: false, blkioRates: true, cpuset: { cpus: '0-1', mems: '0' },
  },
}

/** A host without mounts. */
export function fakeMounts(): Mounts {
  return { mount: async () => undefined, bindInside: async () => undefined, bindShifted: async () => undefined, overlay: async () => undefined, unmount: async () => undefined, table: async () => [] }
}

export function fakeVolumes(): Volumes {
  const volumes = new Map<string, Volume>()
  const users = new Map<string, Set<string>>()
  const usersOf = (name: string): Set<string> => users.get(name) ?? new Set()
  return {
    async create({ name, anonymousName, labels = {}, options = {} }) {
      const chosen = name ?? anonymousName ?? `${volumes.size}`.padStart(64, '0')
      const volume: Volume = volumes.get(chosen) ?? { name: chosen, driver: 'local', mountpoint: `/fake/volumes/${chosen}`, createdAtMs: 0, labels, options, anonymous: name === undefined }
      volumes.set(chosen, volume)
      return volume
    },
    async get(name) {
      const volume = volumes.get(name)
      if (volume === undefined) throw new Fault('notFound', `get ${name}: no such volume`)
      return volume
    },
    list: async () => [...volumes.values()],
    async remove(name) {
      if (usersOf(name).size > 0) throw new Fault('conflict', `remove ${name}: volume is in use`)
      if (!volumes.delete(name)) throw new Fault('notFound', `get ${name}: no such volume`)
    },
    usage: async (name) => ({ sizeBytes: 0, references: usersOf(name).size }),
    acquire: async (name, id) => void users.set(name, usersOf(name).add(id)),
    release: async (name, id) => void usersOf(name).delete(id),
    users: (name) => [...usersOf(name)],
    mount: async (name) => `/fake/volumes/${name}`,
    mountSubpath: async (name, _id, subpath) => `/fake/volumes/${name}/${subpath}`,
    unmount: async () => undefined,
    copyUp: async () => undefined,
  }
}

