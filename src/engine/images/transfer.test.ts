/** Pull and push against a registry that the test serves: shared and foreign blobs, broken networks, lying servers; imports from an address. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { digestOf, shortDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import type { TransferProgress } from '../contract/images.ts'
import { machine, publish, serve } from './transfer.fixture.ts'
import type { Served } from './transfer.fixture.ts'

let kernel: Kernel & AsyncDisposable

before(async () => {
  kernel = await openKernel()
})
after(() => kernel[Symbol.asyncDispose]())

const noise = sampleTar([{ path: 'noise', content: randomBytes(3_000_000) }])
const small = sampleTar([{ path: 'hello', content: 'world' }])

function requestsFor(registry: Served, digest: Digest): number {
  return registry.requests.filter((line) => line === `GET /v2/app/blobs/${digest}`).length
}

test('an image is pulled, its layers unpacked, and a second pull fetches nothing but the manifest', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const published = publish(registry.repository('app'), [small, noise])
  const progress: TransferProgress[] = []
  const image = await here.images.pull(`${registry.host}/app`, { onProgress: (step) => progress.push(step) })
  assert.deepEqual(image.repoTags, [`${registry.host}/app:latest`])
  assert.deepEqual(image.repoDigests, [`${registry.host}/app@${published.digest}`])
  const target = join(here.root, 't')
  mkdirSync(target)
  await here.snapshots.prepare('c', image.topLayer)
  await here.snapshots.mount('c', target)
  assert.equal(readFileSync(join(target, 'hello'), 'utf8'), 'world')
  assert.equal(readFileSync(join(target, 'noise')).length, 3_000_000)
  await here.snapshots.unmount(target)
  const words = progress.map(({ status }) => status)
  for (const word of ['Pulling from app', 'Pulling fs layer', 'Downloading', 'Download complete', 'Extracting', 'Pull complete', `Digest: ${published.digest}`, `Status: Downloaded newer image for ${registry.host}/app:latest`]) assert.ok(words.includes(word), word)
  registry.requests.length = 0
  progress.length = 0
  await here.images.pull(`${registry.host}/app`, { onProgress: (step) => progress.push(step) })
  assert.deepEqual(registry.requests.filter((line) => line.includes('/blobs/')), [])
  assert.deepEqual(progress.map(({ status }) => status), ['Pulling from app', `Digest: ${published.digest}`, `Status: Image is up to date for ${registry.host}/app:latest`])
})

test('a pull tells which layers of a new image are here already', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  publish(registry.repository('app'), [small])
  await here.images.pull(`${registry.host}/app`, {})
  const { layers } = publish(registry.repository('app'), [small, noise])
  const progress: TransferProgress[] = []
  await here.images.pull(`${registry.host}/app`, { onProgress: (step) => progress.push(step) })
  const told = layers.map((layer) => progress.flatMap(({ id, status }) => (id === shortDigest(layer) ? [status] : [])))
  assert.deepEqual(told[0], ['Already exists'])
  assert.equal(told[1]?.[0], 'Pulling fs layer')
  assert.equal(told[1]?.at(-1), 'Pull complete')
})

test('a push of what is not here fails after it was announced, in words that tell an unknown repository from an unknown tag', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  publish(registry.repository('app'), [small])
  await here.images.pull(`${registry.host}/app`, {})
  for (const [name, message] of [['other', `An image does not exist locally with the tag: ${registry.host}/other`], ['app:nope', `tag does not exist: ${registry.host}/app:nope`]] as const) {
    const progress: TransferProgress[] = []
    await assert.rejects(here.images.push(`${registry.host}/${name}`, { onProgress: (step) => progress.push(step) }), { message })
    assert.deepEqual(progress.map(({ status }) => status), [`The push refers to repository [${registry.host}/${name.split(':')[0]}]`])
  }
})

test('a download that breaks off goes on where it ended, within a pull and in the next one', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { layers: [layer] } = publish(registry.repository('app'), [noise])
  const digest = present(layer, 'layer')
  const bytes = present(registry.repository('app').blobs.get(digest), 'blob')
  const starts: number[] = []
  const cut = (upTo: (start: number) => number) => (req: IncomingMessage, res: ServerResponse): boolean => {
    if (!req.url?.endsWith(digest)) return false
    const start = Number(/^bytes=([0-9]+)-$/.exec(req.headers.range ?? '')?.[1] ?? 0)
    starts.push(start)
    res.writeHead(start > 0 ? 206 : 200, { 'Content-Length': bytes.length - start })
    const end = upTo(start)
    if (end >= bytes.length) res.end(bytes.subarray(start))
    else res.write(bytes.subarray(start, end), () => res.destroy())
    return true
  }
  const controller = new AbortController()
  registry.misbehave = cut((start) => {
    if (start > 0) controller.abort()
    return start + 1_000_000
  })
  await assert.rejects(here.images.pull(`${registry.host}/app`, { signal: controller.signal }), (error) => isFault(error, 'canceled'))
  const [left] = await Array.fromAsync(here.blobs.abandoned())
  assert.ok(present(left, 'what was downloaded').sizeBytes > 0)
  registry.misbehave = cut(() => bytes.length)
  starts.length = 0
  const image = await here.images.pull(`${registry.host}/app`, {})
  assert.equal(starts[0], left?.sizeBytes)
  assert.equal(image.sizeBytes, 3_000_000)
  assert.deepEqual(await Array.fromAsync(here.blobs.abandoned()), [])
})

test('what a lying server sends is refused and leaves nothing', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { layers: [layer] } = publish(registry.repository('app'), [noise])
  const digest = present(layer, 'layer')
  const good = present(registry.repository('app').blobs.get(digest), 'blob')
  for (const [lie, message] of [
    [gzipSync(small), /unpacks to|ended the download|digest/],
    [Buffer.concat([good, Buffer.from('x')]), /more than/],
    [Buffer.concat([good.subarray(0, good.length - 9), Buffer.alloc(9, 7)]), /damaged|digest|unpacks to/],
  ] as const) {
    registry.repository('app').blobs.set(digest, lie)
    if (lie.length < good.length) registry.repository('app').blobs.set(digest, Buffer.concat([lie, Buffer.alloc(good.length - lie.length)]))
    await assert.rejects(here.images.pull(`${registry.host}/app`, {}), (error) => error instanceof Error && message.test(error.message))
    assert.deepEqual(await here.images.list(), [])
    assert.equal(here.snapshots.hasLayer(digestOf(noise)), false)
    assert.deepEqual(await Array.fromAsync(here.blobs.abandoned()), [])
  }
  const manifest = present(registry.repository('app').manifests.get('latest'), 'manifest')
  registry.repository('app').manifests.set(digestOf('promised'), manifest)
  await assert.rejects(here.images.pull(`${registry.host}/app@${digestOf('promised')}`, {}), (error) => isFault(error, 'dataLoss') && /has the digest/.test(error.message))
})

test('unknown images and refused logins say what Docker says', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  await assert.rejects(here.images.pull(`${registry.host}/app:gone`, {}), (error) => isFault(error, 'notFound') && /^manifest for .*app:gone not found: .*manifest unknown/.test(error.message))
  registry.misbehave = (req, res) => {
    if (req.url === '/v2/') return false
    res.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end()
    return true
  }
  await assert.rejects(here.images.pull(`${registry.host}/app`, {}), /pull access denied for .*, repository does not exist or may require 'docker login'/)
  await assert.rejects(here.images.pull('127.0.0.1:1/app', {}), (error) => isFault(error, 'unavailable') && /127\.0\.0\.1:1 cannot be reached/.test(error.message))
})

test('a push to a foreign registry compresses once; what was pushed is pulled as the same image', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const built = await here.images.importRoot(Readable.from([small]), { name: `${registry.host}/app:1` })
  const progress: string[] = []
  const pushed = await here.images.push(`${registry.host}/app:1`, { onProgress: ({ status }) => progress.push(status) })
  assert.equal(pushed.tag, '1')
  assert.ok(progress.includes('Pushed'))
  assert.deepEqual((await here.images.resolve(built.id)).repoDigests, [`${registry.host}/app@${pushed.digest}`])
  const again = await here.images.push(`${registry.host}/app:1`, { onProgress: ({ status }) => progress.push(status) })
  assert.equal(again.digest, pushed.digest)
  assert.ok(progress.includes('Layer already exists'))
  await using other = await machine(kernel)
  assert.equal((await other.images.pull(`${registry.host}/app:1`, {})).id, built.id)
  await other.images.tag(built.id, `${registry.host}/app:2`)
  assert.equal((await other.images.push(`${registry.host}/app:2`, {})).digest, pushed.digest)
  assert.equal(requestsFor(registry, digestOf(small)), 0)
})

test('a root file system is imported from an address: over redirects, compressed or not, and its password is shown to its own host alone', async () => {
  await using here = await machine(kernel)
  const tar = sampleTar([{ path: 'hello', content: 'world' }])
  const seen: string[] = []
  const server = createServer((req, res) => {
    seen.push(`${req.headers.host?.split(':')[0]} ${req.url} ${req.headers.authorization ?? '-'}`)
    if (req.url === '/moved') return void res.writeHead(302, { location: `http://localhost:${port}/root.tgz` }).end()
    if (req.url === '/away') return void res.writeHead(302, { location: 'file:///etc/passwd' }).end()
    if (req.url === '/root.tgz') return void res.end(gzipSync(tar))
    if (req.url === '/root.tar') return void res.writeHead(200, { 'content-length': tar.length }).end(tar)
    if (req.url === '/short') return void res.writeHead(200, { 'content-length': tar.length }).write(tar.subarray(0, 600), () => res.destroy())
    res.writeHead(404).end('nothing here\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    const progress: TransferProgress[] = []
    const plain = await here.images.importUrl(`127.0.0.1:${port}/root.tar`, { name: 'plain', onProgress: (line) => progress.push(line) })
    assert.deepEqual([plain.repoTags, plain.config.history?.at(-1)?.comment], [['plain:latest'], `Imported from 127.0.0.1:${port}/root.tar`])
    assert.deepEqual(progress, [{ status: `Downloading from http://127.0.0.1:${port}/root.tar` }, { status: 'Importing', currentBytes: tar.length, totalBytes: tar.length }])
    const later: TransferProgress[] = []
    const moved = await here.images.importUrl(`http://me:secret@127.0.0.1:${port}/moved`, { onProgress: (line) => later.push(line) })
    assert.deepEqual(moved.config.rootfs.diff_ids, plain.config.rootfs.diff_ids)
    assert.deepEqual(seen.slice(1), [`127.0.0.1 /moved Basic ${Buffer.from('me:secret').toString('base64')}`, 'localhost /root.tgz -'])
    assert.equal(later[0]?.status, `Downloading from http://xxxxx:xxxxx@127.0.0.1:${port}/moved`)
    assert.equal(moved.config.history?.at(-1)?.comment, `Imported from http://xxxxx:xxxxx@127.0.0.1:${port}/moved`)
    for (const [source, code, words] of [
      [`http://me:secret@127.0.0.1:${port}/gone`, 'notFound', `failed to GET http://xxxxx:xxxxx@127.0.0.1:${port}/gone with status 404 Not Found: nothing here`],
      [`127.0.0.1:${port}/away`, 'internal', `127.0.0.1:${port} redirects to what is no address of HTTP`],
      [`127.0.0.1:${port}/short`, 'unavailable', /^the download from 127\.0\.0\.1:\d+ broke off after \d+ bytes: /],
      [`https://127.0.0.1:${port}/root.tar`, 'internal', /^127\.0\.0\.1:\d+ cannot be reached: /],
      ['file:///etc/passwd', 'invalidArgument', 'unsupported protocol scheme "file": expected http or https'],
      ['http://', 'invalidArgument', /is no address/],
    ] as const) await assert.rejects(here.images.importUrl(source, {}), (error) => isFault(error, code) && (typeof words === 'string' ? error.message === words : words.test(error.message)), source)
    const asked = seen.length
    await assert.rejects(here.images.importUrl(`127.0.0.1:${port}/root.tar`, { name: 'BAD' }), (error) => isFault(error, 'invalidArgument'))
    assert.equal(seen.length, asked)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
