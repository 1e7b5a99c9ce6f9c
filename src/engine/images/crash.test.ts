/**
 * kill -9 at any instant: every acknowledged image is whole, nothing half-made is left. The file runs itself again as the
 * process that imports, commits, tags and removes images without end.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { silentLogger } from '#base/log.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openOverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import { openImages } from './open-images.ts'

interface CrashPlace {
  readonly blobs: Awaited<ReturnType<typeof openFileBlobs>>
  readonly snapshots: Awaited<ReturnType<typeof openOverlaySnapshots>>
  readonly images: Awaited<ReturnType<typeof openImages>>
}

async function openCrashPlace(root: string, kernel: Awaited<ReturnType<typeof openKernel>>): Promise<CrashPlace> {
  const blobs = await openFileBlobs(`${root}/b`)
  const snapshots = await openOverlaySnapshots({ root: `${root}/s`, mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger })
  const images = await openImages({ root: `${root}/i`, blobs, snapshots, graceMs: 0, logger: silentLogger })
  return { blobs, snapshots, images }
}

/** One round of work; tells `acknowledge` of every image that is stored for good. */
async function round(place: CrashPlace, number: number, acknowledge: (name: string) => void): Promise<void> {
  const { images, snapshots } = place
  const name = `keep:${number}`
  const base = await images.importRoot(Readable.from([sampleTar([{ path: 'f', content: randomBytes(200_000) }, { path: `n${number}` }])]), { name })
  acknowledge(name)
  const key = `step-${number}`
  await snapshots.prepare(key, base.topLayer)
  await snapshots.writeArchive(key, '/', Readable.from([sampleTar([{ path: 'made', content: name }])]))
  const layer = await snapshots.diff(key)
  await snapshots.commit(key, layer)
  const built = await images.put({ ...base.config, rootfs: { type: 'layers', diff_ids: [...base.config.rootfs.diff_ids, layer.diffId] } }, { parentId: base.id, name: `built:${number}` })
  acknowledge(`built:${number}`)
  await images.tag(built.id, 'latest-one')
  await snapshots.prepare(`left-${number}`, built.topLayer)
  const short = await images.importRoot(Readable.from([sampleTar([{ path: 'short', content: randomBytes(50_000) }])]), { name: `short:${number}` })
  await images.remove(short.id, { force: true })
}

const rounds = 6

/** Runs the worker until it has acknowledged some images, and kills it a little later. */
async function runAndKill(root: string, first: number): Promise<readonly string[]> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_TEST_CONTEXT: undefined, BERTH_CRASH_ROOT: root, BERTH_CRASH_FIRST: String(first) } })
  let text = ''
  const enough = randomInt(3, 12)
  let extraReads = randomInt(0, 3)
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
    if (text.split('\n').length > enough && extraReads-- <= 0) child.kill('SIGKILL')
  })
  await new Promise((resolve) => child.once('close', resolve))
  return text.split('\n').slice(0, -1)
}

const workRoot = process.env['BERTH_CRASH_ROOT']
if (workRoot !== undefined) {
  const place = await openCrashPlace(workRoot, await openKernel())
  for (let number = Number(process.env['BERTH_CRASH_FIRST']); ; number += 1) await round(place, number, (name) => process.stdout.write(`${name}\n`))
}

test('acknowledged images survive kill -9, and the next start tidies up', async () => {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'cr-'))
  await using kernel = await openKernel()
  const acknowledged: string[] = []
  for (let at = 0; at < rounds; at += 1) {
    acknowledged.push(...(await runAndKill(root, at * 1000)))
    const { blobs, snapshots, images } = await openCrashPlace(root, kernel)
    for (const name of acknowledged) {
      const image = await images.resolve(name)
      assert.ok(await snapshots.has(present(image.topLayer, name)), name)
    }
    for await (const blob of blobs.list()) assert.equal(createHash('sha256').update(readFileSync(blobs.path(blob.digest))).digest('hex'), blob.digest.slice(7))
    for (const key of await snapshots.keys()) await snapshots.remove(key)
    const target = join(root, 'seen')
    mkdirSync(target)
    const last = present(acknowledged.findLast((name) => name.startsWith('built:')), 'a built image')
    await snapshots.prepare('look', (await images.resolve(last)).topLayer)
    await snapshots.mount('look', target)
    assert.equal(readFileSync(join(target, 'made'), 'utf8'), last.replace('built', 'keep'))
    await snapshots.unmount(target)
    await snapshots.remove('look')
    rmdirSync(target)
    await snapshots[Symbol.asyncDispose]()
    for (const place of ['t', 'm', 'a']) assert.deepEqual(readdirSync(join(root, 's', place)), [], place)
  }
  assert.ok(acknowledged.length >= rounds * 2)
  rmSync(root, { recursive: true })
})
