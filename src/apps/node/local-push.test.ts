/** The engine pushing to the registry beside it: mounts only, no blob is copied, and others can pull the image. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { openImages } from '#engine/images/open-images.ts'
import type { OpenedImages, OpenImagesOptions } from '#engine/images/open-images.ts'
import { openOverlaySnapshots } from '#engine/snapshots/overlay-snapshots.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openRegistry } from '#registry/registry.ts'
import { openFileStorage } from '#registry/storage/file-storage.ts'

test('a push to the registry of the same machine copies no blob, and anybody can pull it', async () => {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'lp-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rmSync(root, { recursive: true }))
  const kernel = stack.use(await openKernel())
  const credentials = { username: 'engine', password: 'secret' }
  const blobs = await openFileBlobs(join(root, 'b'))
  const registry = stack.use(await openRegistry({ storage: stack.use(await openFileStorage({ root: join(root, 'r'), blobs, clock: systemClock, random: systemRandom })), engine: credentials, clock: systemClock, random: systemRandom, logger: silentLogger }))
  const requests: string[] = []
  const server = createServer((req, res) => {
    requests.push(`${req.method} ${req.headers['content-length'] ?? ''}`)
    void registry.handle(req, res)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(() => server.closeAllConnections())
  stack.defer(() => void server.close())
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const open = async (name: string, options: Partial<OpenImagesOptions>): Promise<OpenedImages> => {
    const own = options.blobs ?? (await openFileBlobs(join(root, name, 'b')))
    const snapshots = stack.use(await openOverlaySnapshots({ root: join(root, name, 's'), mounts: kernel.mounts, confined: kernel.confined, blobs: own, logger: silentLogger }))
    return await openImages({ root: join(root, name, 'i'), blobs: own, snapshots, logger: silentLogger, ...options })
  }
  const here = await open('here', { blobs, localRegistry: { hosts: [host], credentials }, otherRoots: [() => registry.roots()], graceMs: -60_000 })
  const built = await here.importRoot(Readable.from([sampleTar([{ path: 'big', content: randomBytes(2_000_000) }])]), { name: `${host}/team/app:1` })
  const before = new Set((await Array.fromAsync(blobs.list())).map((blob) => blob.digest))
  const words: string[] = []
  const pushed = await here.push(`${host}/team/app:1`, { onProgress: ({ status }) => words.push(status) })
  const added = (await Array.fromAsync(blobs.list())).filter((blob) => !before.has(blob.digest))
  assert.deepEqual(added.map((blob) => blob.digest), [pushed.digest], 'only the manifest is new')
  assert.ok(words.some((word) => word.startsWith('Mounted from')), words.join('\n'))
  assert.equal(requests.filter((line) => line.startsWith('PUT')).length, 1)
  assert.ok(requests.every((line) => Number(line.split(' ')[1]) < 10_000))

  // The image goes, the registry keeps what its repositories link.
  await here.remove(built.id, { force: true })
  const there = await open('there', {})
  assert.equal((await there.pull(`${host}/team/app:1`, {})).id, built.id)
  assert.equal((await here.pull(`${host}/team/app:1`, {})).id, built.id)
  await assert.rejects(there.push(`${host}/team/app:1`, {}), /needs a login/)
})
