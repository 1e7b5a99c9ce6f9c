/** GNU tar as the judge: what it writes we unpack, what we write it unpacks, and it finds no difference. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, createReadStream, createWriteStream, existsSync, linkSync, lutimesSync, mkdirSync, mkdtempSync, openSync, closeSync, ftruncateSync, rmSync, statSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { after, before, test } from 'node:test'
import { present } from '#base/assert.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { packJob, unpackJob } from './jobs.ts'
import type { PackArgs, PackResult, UnpackArgs, UnpackResult } from './jobs.ts'

let kernel: Kernel & AsyncDisposable
let root: string

before(async () => {
  kernel = await openKernel()
  root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'gt-'))
  makeTree(join(root, 'tree'))
})
after(async () => {
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

function makeTree(tree: string): void {
  mkdirSync(join(tree, 'd'), { recursive: true })
  chmodSync(join(tree, 'd'), 0o2711)
  writeFileSync(join(tree, 'd/plain'), 'content')
  writeFileSync(join(tree, 'd/tool'), 'run', { mode: 0o755 })
  chmodSync(join(tree, 'd/tool'), 0o4755)
  linkSync(join(tree, 'd/plain'), join(tree, 'd/same'))
  symlinkSync('/etc/passwd', join(tree, 'd/link'))
  mkdirSync(join(tree, 'ü'.repeat(40), 'x'.repeat(120)), { recursive: true })
  writeFileSync(join(tree, 'ü'.repeat(40), 'x'.repeat(120), 'y'.repeat(200)), 'deep')
  symlinkSync('z'.repeat(180), join(tree, 'longlink'))
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0xfe, 0x41])]), 'no utf-8')
  writeFileSync(join(tree, 'empty'), '')
  writeFileSync(join(tree, 'block'), 'b'.repeat(512))
  lutimesSync(join(tree, 'block'), 1_000_000_000, 1_000_000_000)
  spawnSync('mkfifo', [join(tree, 'fifo')])
  const sparse = openSync(join(tree, 'sparse'), 'w')
  writeSync(sparse, Buffer.from('middle'), 0, 6, 5_000_000)
  ftruncateSync(sparse, 9_000_000)
  closeSync(sparse)
}

function tar(...args: string[]): { readonly status: number | null; readonly text: string } {
  const { status, stdout, stderr } = spawnSync('tar', args, { encoding: 'utf8' })
  return { status, text: `${stdout}${stderr}` }
}

async function unpack(archive: string, to: string): Promise<UnpackResult> {
  mkdirSync(to)
  const args: UnpackArgs = { kind: 'layer', compression: 'detect', base: '/' }
  return await kernel.confined.run<UnpackArgs, UnpackResult>(to, unpackJob, args, { input: createReadStream(archive) })
}

for (const flags of [['--format=gnu'], ['--format=gnu', '--sparse'], ['--format=posix', '--xattrs'], ['--format=posix', '--sparse', '--sparse-version=0.1'], ['--format=posix', '--sparse', '--sparse-version=1.0'], ['--format=oldgnu'], ['--format=gnu', '-z']]) {
  test(`what tar ${flags.join(' ')} writes is unpacked as it was`, async () => {
    const name = flags.join('')
    const archive = join(root, `${name}.tar`)
    assert.equal(tar('-C', join(root, 'tree'), '-cf', archive, ...flags, '.').status, 0)
    const to = join(root, `out${name}`)
    await unpack(archive, to)
    assert.deepEqual(tar('-C', to, '-df', archive), { status: 0, text: '' })
    assert.equal(statSync(join(to, 'd/plain')).nlink, 2)
    if (flags.includes('--sparse')) assert.ok(statSync(join(to, 'sparse')).blocks * 512 < 1_000_000, 'holes stay holes')
  })
}

test('what we write GNU tar reads without a word, and it means the same', async () => {
  const archive = join(root, 'ours.tar')
  const packing = kernel.confined.start<PackArgs, PackResult>(join(root, 'tree'), packJob, { kind: 'tree', path: '/', name: '' })
  await pipeline(packing.output, createWriteStream(archive))
  const { entries } = await packing.result
  assert.deepEqual(tar('-C', join(root, 'tree'), '-df', archive), { status: 0, text: '' })
  assert.equal(tar('-tf', archive).text.trim().split('\n').length, entries)
  const again = await unpack(archive, join(root, 'again'))
  assert.equal(again.entries, entries)
  assert.equal(existsSync(join(root, 'again/fifo')), true)
})
