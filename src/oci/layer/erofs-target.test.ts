/** An image shows what a folder shows: the same archive, however odd, unpacked both ways gives the same tree or is refused both ways. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from './archive-samples.ts'
import type { Sample } from './archive-samples.ts'
import type { TarEntry } from './entry.ts'
import { packJob, unpackJob } from './jobs.ts'
import type { PackArgs, PackResult, UnpackArgs, UnpackResult } from './jobs.ts'
import { readTar } from './reader.ts'

let kernel: Kernel & AsyncDisposable
let root: string
before(async () => {
  kernel = await openKernel()
  root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'er-'))
})
after(async () => {
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

type Form = 'folder' | 'image'

/** Unpacks and hands the tree over; `undefined` when the archive is refused as bad. */
async function unpacked<T>(form: Form, tar: Readable, look: (folder: string) => Promise<T>): Promise<T | undefined> {
  const folder = mkdtempSync(join(root, 'u-'))
  const shown = mkdtempSync(join(root, 's-'))
  const args: UnpackArgs = { kind: 'layer', compression: 'detect', base: '/', ...(form === 'image' ? { image: '/image' } : {}) }
  try {
    await kernel.confined.run<UnpackArgs, UnpackResult>(folder, unpackJob, args, { input: tar })
    if (form === 'folder') return await look(folder)
    assert.deepEqual(readdirSync(folder), ['image'])
    await kernel.mounts.mount({ source: join(folder, 'image'), target: shown, type: 'erofs', flags: ['ro'] })
    return await look(shown)
  } catch (error) {
    assert.ok(isFault(error, 'invalidArgument'), String(error))
    return undefined
  } finally {
    await kernel.mounts.unmount(shown)
    rmSync(folder, { recursive: true })
    rmSync(shown, { recursive: true })
  }
}

/** One line per entry, as the tree is packed again. Folders that no entry described have the time at which they were made. */
async function lines(folder: string): Promise<string[]> {
  await using packing = kernel.confined.start<PackArgs, PackResult>(folder, packJob, { kind: 'layer', path: '/', name: '' })
  const found: string[] = []
  for await (const { entry, read } of eachRead(packing.output)) {
    const { type, path, linkPath, mode, uid, gid, sizeBytes, device } = entry
    const xattrs = [...entry.xattrs].map(([name, value]) => `${name}=${value.toString('hex')}`).sort()
    found.push([type, path.toString('latin1'), linkPath.toString('latin1'), mode.toString(8), uid, gid, sizeBytes, type === 'directory' ? '' : entry.modifiedNs, JSON.stringify(device), xattrs.join(), read].join(' '))
  }
  await packing.result
  return found
}

async function* eachRead(tar: Readable): AsyncGenerator<{ readonly entry: TarEntry; readonly read: string }> {
  for await (const item of readTar(tar)) {
    const hash = createHash('sha256')
    for (let chunk = await item.read(); chunk !== undefined; chunk = await item.read()) hash.update(chunk)
    yield { entry: item.entry, read: hash.digest('hex').slice(0, 12) }
  }
}

const name = fc.constantFrom('a', 'b', 'c', 'lib', '.wh.a', '.wh.b', '.wh..wh..opq', 'ä', 'x'.repeat(200))
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const content = fc.oneof(fc.constantFrom(0, 1, 2047, 2048, 2049, 4032, 4096, 4097, 10_000), fc.nat(9000)).map((length) => Buffer.alloc(length, `${length} `))
const xattrs = fc.dictionary(fc.constantFrom('user.x', 'trusted.y', 'security.capability', 'trusted.overlay.opaque', 'user.long'), fc.constantFrom(Buffer.from('01000002000400000000000000000000000000000', 'hex'), Buffer.from('01000002000400000000000000000000000000', 'hex'), Buffer.alloc(300, 1)), { maxKeys: 2 })
const owner = { uid: fc.constantFrom(0, 1000, 70_000, 4_000_000_000), gid: fc.constantFrom(0, 5), mode: fc.constantFrom(0o644, 0o4755, 0o2770, 0o1777, 0), modifiedNs: fc.constantFrom(0n, 1_700_000_000_000_000_000n, 1_700_000_000_123_456_789n, -5_000_000_000n) }
const sample: fc.Arbitrary<Sample> = fc.oneof(
  fc.record({ path, type: fc.constant('file' as const), content, ...owner }),
  fc.record({ path, type: fc.constant('file' as const), content, xattrs: xattrs.filter((all) => !('security.capability' in all)), ...owner }),
  fc.record({ path, type: fc.constant('directory' as const), ...owner }),
  fc.record({ path, type: fc.constant('symlink' as const), link: fc.oneof(path, fc.constantFrom('/a', '/', '../a', 'lib/../a', './b', '/x'.repeat(1200))), ...owner }),
  fc.record({ path, type: fc.constant('hardlink' as const), link: path, ...owner }),
  fc.record({ path, type: fc.constantFrom('charDevice' as const, 'blockDevice' as const), device: fc.constant({ major: 259, minor: 70_000 }), ...owner }),
  fc.record({ path, type: fc.constant('fifo' as const), ...owner }),
)

test('any archive unpacks to the same tree in a folder and in an image', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(sample, { maxLength: 12 }), async (samples) => {
      const tar = sampleTar(samples)
      const asFolder = await unpacked('folder', Readable.from([tar]), lines)
      assert.deepEqual(await unpacked('image', Readable.from([tar]), lines), asFolder)
    }),
    { numRuns: Number(process.env['BERTH_FUZZ_RUNS'] ?? 60), seed: Number(process.env['BERTH_FUZZ_SEED'] ?? 7) },
  )
})

test('folders of any size list what is in them, and names are found', async () => {
  const names = Array.from({ length: 3000 }, (_, index) => `${'n'.repeat(index % 200)}${index}`)
  const tar = sampleTar([...names.map((each): Sample => ({ path: `many/${each}`, content: each })), { path: 'many', type: 'directory', mode: 0o711 }])
  await unpacked('image', Readable.from([tar]), async (folder) => {
    assert.deepEqual(readdirSync(join(folder, 'many')).sort(), names.toSorted())
    for (const each of names) assert.equal(readFileSync(join(folder, 'many', each), 'utf8'), each)
    assert.equal(existsSync(join(folder, 'many/nowhere')), false)
    assert.equal(lstatSync(join(folder, 'many')).mode & 0o777, 0o711)
  })
})

test('sparse files keep their holes, of a terabyte as well, and names that go take a link along', async () => {
  const from = mkdtempSync(join(root, 'f-'))
  mkdirSync(join(from, 'd'))
  const made = spawnSync('sh', ['-c', 'truncate -s 1T d/huge && printf end | dd of=d/huge bs=1 seek=1000000000000 conv=notrunc && printf x > d/one && ln d/one d/two && ln d/one d/three && tar -c --sparse --format=posix -f ../sparse.tar d'], { cwd: from, encoding: 'utf8' })
  assert.equal(made.status, 0, made.stderr)
  const archive = join(root, 'sparse.tar')
  await unpacked('image', createReadStream(archive), async (folder) => {
    const { size, blocks } = statSync(join(folder, 'd/huge'))
    assert.equal(size, 2 ** 40)
    assert.ok(blocks > 0)
    assert.equal(spawnSync('dd', ['if=d/huge', 'bs=1', 'skip=999999999999', 'count=5', 'status=none'], { cwd: folder, encoding: 'latin1' }).stdout, '\0end\0')
    assert.equal(statSync(join(folder, 'd/one')).nlink, 3)
  })
  const again = sampleTar([{ path: 'one', content: 'x' }, { path: 'two', type: 'hardlink', link: 'one' }, { path: 'two', content: 'y' }])
  await unpacked('image', Readable.from([again]), async (folder) => assert.deepEqual([statSync(join(folder, 'one')).nlink, readFileSync(join(folder, 'two'), 'utf8')], [1, 'y']))
  rmSync(archive)
})
