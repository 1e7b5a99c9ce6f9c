/** A build's cache goes elsewhere and comes back: a second machine runs nothing of what the first has run. */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { isFault, Fault } from '#base/fault.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { digestOf } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import type { BuildMessage, LentBlobs } from '../contract/builds.ts'
import type { BuildRequest } from '../http/backend.ts'
import { buildTests, openBuildLaboratory, shellFiles, withShell, type BuildLaboratory, type Built } from './builder.fixture.ts'
import { encodeConfig, parseConfig } from './transfer/cache-config.ts'

const dockerfile = `${withShell}RUN echo one > /one\nRUN true\nFROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nCOPY --from=0 /one /copied\nRUN echo two > /two\n`
const context = sampleTar([{ path: 'Dockerfile', content: dockerfile }, ...shellFiles])

let other: BuildLaboratory
let host: string
const files = new Map<string, { readonly bytes: Buffer; readonly type: string }>()

const { build, opened } = buildTests('transfer', openKernel, async ({ kernel, folder }) => {
  const root = join(folder, 'second')
  await mkdir(root)
  other = await openBuildLaboratory(kernel, root, 'transfer2')
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://x')
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const bytes = Buffer.concat(chunks)
      if (url.pathname === '/v2/') return void response.end('{}')
      if (request.method === 'POST') return void response.writeHead(202, { Location: `${url.pathname}1` }).end()
      if (request.method === 'PUT') {
        const digest = url.searchParams.get('digest')
        files.set(digest === null ? url.pathname : `/v2/cache/blobs/${digest}`, { bytes, type: request.headers['content-type'] ?? '' })
        return void response.writeHead(201, { 'Docker-Content-Digest': digestOf(bytes) }).end()
      }
      const found = files.get(url.pathname)
      if (found === undefined) return void response.writeHead(404).end('{}')
      response.writeHead(200, { 'Content-Type': found.type, 'Content-Length': found.bytes.length }).end(request.method === 'HEAD' ? undefined : found.bytes)
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return async () => {
    await other[Symbol.asyncDispose]()
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
})

/** On the second machine, which knows nothing; answers how many commands it ran. */
async function elsewhere(change: Partial<BuildRequest>): Promise<{ readonly built: Built; readonly ran: number }> {
  await other.builder.prune({ all: true })
  const before = other.commandsRun()
  const built = await other.build(context, change)
  return { built, ran: other.commandsRun() - before }
}

test('a cache in a registry, of all steps or of the result alone', async () => {
  const first = await build(dockerfile, shellFiles, { cacheTo: [{ kind: 'registry', reference: `${host}/cache:max`, mode: 'max' }, { kind: 'registry', reference: `${host}/cache:min`, mode: 'min' }] })
  const max = await elsewhere({ cacheFrom: [{ kind: 'registry', reference: `${host}/cache:max` }] })
  assert.equal(max.ran, 0)
  assert.deepEqual(max.built.image.config.rootfs, first.image.config.rootfs)
  assert.equal((await elsewhere({})).ran, 3)
  const min = await elsewhere({ cacheFrom: [{ kind: 'registry', reference: `${host}/cache:min` }] })
  assert.ok(min.ran > 0 && min.ran < 3, String(min.ran))
})

test('a cache that cannot be read is told and is none', async () => {
  const { built, ran } = await elsewhere({ cacheFrom: [{ kind: 'registry', reference: `${host}/cache:nothing` }] })
  assert.equal(ran, 3)
  assert.match(built.output, /\[Warning\] the cache of .*cache:nothing cannot be read/)
})

test('a cache in a layout that the client lends', async () => {
  const layout = new Map<string, Buffer>()
  const blobs: LentBlobs = {
    async *read(digest) {
      yield layout.get(digest) ?? assert.fail(`no ${digest}`)
    },
    async write({ digest, sizeBytes }, content) {
      const chunks: Buffer[] = []
      for await (const chunk of content) chunks.push(chunk)
      const bytes = Buffer.concat(chunks)
      assert.deepEqual([digestOf(bytes), bytes.length], [digest, sizeBytes])
      layout.set(digest, bytes)
    },
  }
  const result = await opened().laboratory.builder.build({ ...(await requestOf()), cacheTo: [{ kind: 'local', blobs, mode: 'max' }] })
  const digest = result.cacheManifest?.digest ?? assert.fail('no manifest')
  assert.ok(layout.has(digest))
  assert.equal((await elsewhere({ cacheFrom: [{ kind: 'local', digest, blobs }] })).ran, 0)
  const broken: LentBlobs = {
    ...blobs,
    async *read(each) {
      const bytes = layout.get(each) ?? assert.fail(`no ${each}`)
      if (bytes.readUInt16BE(0) === 0x1f8b) throw new Fault('notFound', 'the layer is gone')
      yield bytes
    },
  }
  for await (const blob of other.blobs.list()) await other.blobs.remove(blob.digest)
  const { built, ran } = await elsewhere({ cacheFrom: [{ kind: 'local', digest, blobs: broken }] })
  assert.ok(ran >= 2, String(ran))
  assert.match(built.output, /a cached layer cannot be fetched, so that its step is run: the layer is gone/)
})

async function requestOf(): Promise<BuildRequest> {
  let request: BuildRequest | undefined
  const { builder } = opened().laboratory
  const build = builder.build.bind(builder)
  builder.build = async (asked) => {
    request = asked
    return build(asked)
  }
  await opened().laboratory.build(context)
  builder.build = build
  const { Readable } = await import('node:stream')
  return { ...(request ?? assert.fail('nothing was asked')), context: { kind: 'archive', tar: Readable.from([Buffer.from(context)]) } }
}

test('an image carries the records of its layers', async () => {
  const { image } = await build(dockerfile, shellFiles, { cacheTo: [{ kind: 'inline' }] })
  const records: unknown = JSON.parse(Buffer.from(String(Reflect.get(image.config, 'moby.buildkit.cache.v0')), 'base64').toString())
  assert.ok(Array.isArray(records) && records.length >= 4)
})

test('what others write into a cache is no step of ours, and what is malformed is refused', () => {
  const foreign = Buffer.from(JSON.stringify({ layers: [{ blob: 'x', parent: -1 }], records: [{ digest: `sha256:${'a'.repeat(64)}`, results: [{ layer: 0 }], inputs: [[{ link: 1 }]] }] }))
  assert.deepEqual(parseConfig(foreign).records, [])
  const own = { layers: [{ blob: 'b', diffId: 'd', mediaType: 'm', sizeBytes: 1 }], records: [{ key: 'a'.repeat(64), created: 'c', description: 'e', layer: 0 }] }
  assert.deepEqual(parseConfig(encodeConfig(own)), own)
  assert.throws(() => parseConfig(Buffer.from('{')), (error) => isFault(error, 'invalidArgument'))
})

test('what a failed command left can be kept as an image', async () => {
  const told: BuildMessage[] = []
  await assert.rejects(build(`${withShell}WORKDIR /w\nENV A=b\nRUN echo half > done && exit 3\n`, shellFiles, { keepFailedRoot: true, onMessage: (message) => told.push(message) }), /returned a non-zero code: 3/)
  const failed = told.find((message) => message.kind === 'failedRoot') ?? assert.fail('nothing was kept')
  const image = await opened().laboratory.options.images.resolve(failed.imageId)
  assert.deepEqual([image.config.config?.WorkingDir, image.config.config?.Env?.at(-1)], ['/w', 'A=b'])
  const { readFile } = await import('node:fs/promises')
  assert.equal(await opened().laboratory.withFiles(image, (root) => readFile(join(root, 'w/done'), 'utf8')), 'half\n')
})

test('a cache mount goes elsewhere as a tar, and a build there begins with it', async () => {
  const using = (command: string): string => `${withShell}RUN --mount=type=cache,id=gathered,target=/c ${command}\n`
  await build(using('busybox mkdir -p /c/d && echo kept > /c/d/f && busybox chown 7:8 /c/d/f'), shellFiles)
  const here = opened().laboratory.builder.cacheMounts
  const { signal } = new AbortController()
  assert.ok((await here.list()).some(({ id }) => id === 'gathered'))
  await other.builder.cacheMounts.import('gathered', await here.export('gathered', signal), signal)
  const { image } = await other.build(sampleTar([{ path: 'Dockerfile', content: using("busybox stat -c '%u:%g' /c/d/f > /seen && busybox cat /c/d/f >> /seen") }, ...shellFiles]))
  const { readFile } = await import('node:fs/promises')
  assert.equal(await other.withFiles(image, (root) => readFile(join(root, 'seen'), 'utf8')), '7:8\nkept\n')
  await assert.rejects(here.export('never', signal), (error) => isFault(error, 'notFound'))
})
