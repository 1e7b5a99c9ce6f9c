/**
 * A builder on the real kernel with real snapshots and networks, for tests and for the comparison with dockerd: images are kept
 * in memory.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { Readable } from 'node:stream'
import { systemClock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { RegistryClient } from '#oci/client/registry-client.ts'
import { sampleTar, type Sample } from '#oci/layer/archive-samples.ts'
import type { Image, ImageConfig } from '../contract/images.ts'
import { readHostFacts } from '../containers/host.ts'
import type { BuildRequest } from '../http/backend.ts'
import { openNetworks, type BridgeNetworks } from '../networks/networks.ts'
import { openRuntime } from '../runtime/conmon-runtime.ts'
import { chainIdOf } from '../snapshots/chain.ts'
import { openOverlaySnapshots, type OverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import { openBuildCache } from './cache.ts'
import { openBuilder, type Builder, type BuilderOptions } from './builder.ts'

export interface Built {
  readonly image: Image
  readonly output: string
}

export interface BuildLaboratory extends AsyncDisposable {
  builder: Builder
  readonly options: BuilderOptions
  readonly snapshots: OverlaySnapshots
  readonly networks: BridgeNetworks
  readonly blobs: Blobs
  /** How many commands RUN has really run. */
  commandsRun(): number
  build(context: Buffer, change?: Partial<BuildRequest>): Promise<Built>
  /** Calls `look` with the image's files mounted read-only. */
  withFiles<T>(image: Image, look: (root: string) => Promise<T>): Promise<T>
}

const quietRequest: Omit<BuildRequest, 'context' | 'onMessage' | 'signal'> = {
  dockerfile: 'Dockerfile',
  tags: [],
  buildArgs: {},
  labels: {},
  target: '',
  noCache: false,
  pull: false,
  quiet: false,
  squash: false,
  remove: true,
  forceRemove: false,
  platforms: [],
  networkMode: 'default',
  extraHosts: [],
  cacheFrom: [],
  shmSizeBytes: undefined,
  memoryBytes: undefined,
  cpuShares: undefined,
  cpuQuotaUs: undefined,
  cpuPeriodUs: undefined,
  cpusetCpus: undefined,
  ulimits: [],
  credentials: async () => undefined,
}

/** `folder` exists and is the laboratory's own; the caller deletes it. */
export async function openBuildLaboratory(kernel: Kernel, folder: string, name = 'build'): Promise<BuildLaboratory> {
  const blobs = await openFileBlobs(join(folder, 'blobs'))
  const snapshots = await openOverlaySnapshots({ root: join(folder, 'snapshots'), mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger })
  const networks = await openNetworks({
    links: kernel.links,
    namespaces: kernel.namespaces,
    nftables: kernel.nftables, sockets: kernel.poller,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    stateDir: join(folder, 'networks'),
    runDir: join(folder, 'run'),
    table: `berth_${name}_test`,
    defaultBridge: { name: `t-${name}`, subnet: '10.211.0.0/24' },
    addressPools: [],
  })
  const images = memoryImages()
  const cgroup = `berth-${name}-${process.pid}`
  let commands = 0
  const facts = await kernel.probe()
  const runtime = await openRuntime({ kernel, facts, runFolder: join(folder, 'rt'), cgroup, clock: systemClock, log: silentLogger })
  const options: BuilderOptions = {
    images,
    snapshots,
    blobs,
    registries: {
      connect: async (registry) => {
        const own = new RegistryClient({ registry })
        return { own, [Symbol.dispose]: () => own[Symbol.dispose]() }
      },
    },
    runtime: {
      create: (request) => runtime.create(request),
      attach: (id, sink) => runtime.attach(id, sink),
      start: (id) => {
        commands += 1
        return runtime.start(id)
      },
      delete: (id, how) => runtime.delete(id, how),
      onExit: (listener) => runtime.onExit(listener),
    },
    networks,
    host: await readHostFacts(facts),
    cgroupRoot: `/${cgroup}`,
    confined: kernel.confined,
    processes: kernel.processes,
    mounts: kernel.mounts,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    cache: await openBuildCache(join(folder, 'build'), systemClock),
    stateDir: join(folder, 'build'),
    platform: 'linux/amd64',
  }
  let looks = 0
  const laboratory: BuildLaboratory = {
    builder: await openBuilder(options),
    options,
    snapshots,
    networks,
    blobs,
    commandsRun: () => commands,
    async build(context, change = {}) {
      let output = ''
      const { images: [built] } = await laboratory.builder.build({
        ...quietRequest,
        context: { kind: 'archive', tar: Readable.from([Buffer.from(context)]) },
        onMessage: (message) => {
          if (message.kind === 'stream') output += message.text
        },
        signal: new AbortController().signal,
        ...change,
      })
      return { image: await images.resolve(built?.imageId ?? ''), output }
    },
    async withFiles(image, look) {
      const key = `look-${(looks += 1)}`
      const target = join(folder, key)
      await mkdir(target)
      await snapshots.prepare(key, image.topLayer)
      await snapshots.mount(key, target, { readonly: true })
      try {
        return await look(target)
      } finally {
        await snapshots.unmount(target)
        await snapshots.remove(key)
        await rm(target, { recursive: true })
      }
    },
    async [Symbol.asyncDispose]() {
      runtime.close()
      await kernel.cgroups.remove(cgroup)
      await networks.tearDown()
      await snapshots[Symbol.asyncDispose]()
    },
  }
  return laboratory
}

function memoryImages(): BuilderOptions['images'] {
  const images = new Map<string, Image>()
  return {
    collect: async () => 0,
    list: async () => [...new Set(images.values())],
    resolve: async (name) => images.get(name) ?? Promise.reject(new Fault('notFound', `No such image: ${name}`)),
    pull: async (name) => Promise.reject(new Fault('notFound', `pull access denied for ${name}`)),
    tag: async (id, name) => void images.set(name, images.get(id) ?? (await Promise.reject(new Fault('notFound', id)))),
    put: async (config: ImageConfig) => {
      const id = `sha256:${createHash('sha256').update(JSON.stringify(config)).digest('hex')}`
      let topLayer: string | undefined
      for (const diffId of config.rootfs.diff_ids) topLayer = chainIdOf(topLayer, diffId)
      const image: Image = { id, config, repoTags: [], repoDigests: [], topLayer, sizeBytes: 0, createdAt: config.created ?? '', lastTaggedAtMs: undefined }
      images.set(id, image)
      return image
    },
  }
}

/** What a test file builds with: a laboratory of its own, opened before its tests and gone after them. */
export interface BuildTests {
  /** Once the tests run. */
  readonly opened: () => { readonly kernel: Kernel; readonly laboratory: BuildLaboratory; readonly folder: string }
  readonly build: (dockerfile: string, files?: readonly Sample[], change?: Partial<BuildRequest>) => Promise<Built>
  /** The image's files as `find` sees them: type, mode, owner, path, link target; without `/bin`. */
  readonly treeOf: (image: Image) => Promise<string[]>
  readonly fileOf: (image: Image, path: string) => Promise<string>
}

/** `prepare` runs when the laboratory is open, and what it answers before it closes: hooks of one file do not wait for each other. */
export function buildTests(name: string, openKernel: () => Promise<Kernel & AsyncDisposable>, prepare: (opened: ReturnType<BuildTests['opened']>) => void | Promise<void | (() => Promise<void>)> = () => undefined): BuildTests {
  let open: { readonly kernel: Kernel & AsyncDisposable; readonly laboratory: BuildLaboratory; readonly folder: string } | undefined
  let cleanUp: void | (() => Promise<void>)
  const opened = (): NonNullable<typeof open> => open ?? assert.fail('the laboratory is not open')
  before(async () => {
    const folder = await mkdtemp(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), `${name}-`))
    const kernel = await openKernel()
    open = { kernel, folder, laboratory: await openBuildLaboratory(kernel, folder, name) }
    cleanUp = await prepare(open)
  })
  after(async () => {
    const { kernel, laboratory, folder } = opened()
    await cleanUp?.()
    await laboratory[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
    await kernel[Symbol.asyncDispose]()
  })
  return {
    opened,
    build: (dockerfile, files = [], change = {}) => opened().laboratory.build(sampleTar([{ path: 'Dockerfile', content: dockerfile }, ...files]), change),
    treeOf: (image) =>
      opened().laboratory.withFiles(image, async (root) => {
        const { stdout } = await opened().kernel.processes.run(['find', '.', '-mindepth', '1', '-printf', '%y %m %U:%G %p %l\\n'], { cwd: root })
        const lines = stdout.toString().trim().split('\n').map((line) => line.trimEnd())
        return lines.filter((line) => !/ \.\/bin/.test(line)).sort((a, b) => (a.slice(a.indexOf('./')) < b.slice(b.indexOf('./')) ? -1 : 1))
      }),
    fileOf: (image, path) => opened().laboratory.withFiles(image, (root) => readFile(join(root, path), 'utf8')),
  }
}

/** A shell for RUN: the machine's own busybox. */
export const shellFiles: readonly Sample[] = [{ path: 'busybox', content: readFileSync('/bin/busybox'), mode: 0o755 }]
export const withShell = 'FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n'
