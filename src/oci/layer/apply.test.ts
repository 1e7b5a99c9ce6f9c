/** Unpacking into a folder: metadata, whiteouts in both directions, replacements, and archives made to do harm. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import type { RawFiles } from '#linux/contract/raw-files.ts'
import { applyTar } from './apply.ts'
import { inChunks, sampleTar } from './archive-samples.ts'
import type { Sample } from './archive-samples.ts'
import { FolderTarget } from './folder-target.ts'
import { readTar } from './reader.ts'
import { writeTree } from './walk.ts'

const testRoot = present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT')

/** Remembers what the kernel would do; the real one is judged where the linux room is at hand. */
class RecordingFiles implements RawFiles {
  readonly nodes: string[] = []
  readonly attributes = new Map<string, Map<string, Buffer>>()
  makeNode(path: Uint8Array | string, node: { readonly type: string; readonly major?: number; readonly minor?: number }): void {
    this.nodes.push(`${Buffer.from(path).toString()} ${node.type} ${node.major ?? ''}:${node.minor ?? ''}`)
    writeFileSync(Buffer.from(path), '')
  }
  setXattr(path: Uint8Array | string, name: string, value: Uint8Array): void {
    const key = Buffer.from(path).toString()
    const own = this.attributes.get(key) ?? new Map<string, Buffer>()
    this.attributes.set(key, own.set(name, Buffer.from(value)))
  }
  xattrs(path: Uint8Array | string): ReadonlyMap<string, Buffer> {
    return this.attributes.get(Buffer.from(path).toString()) ?? new Map()
  }
  readonly times = new Map<string, bigint>()
  setTimes(path: Uint8Array | string, _accessedNs: bigint, modifiedNs: bigint): void {
    this.times.set(basename(Buffer.from(path).toString()), modifiedNs)
  }
  syncFileSystem(): void {}
}

interface Place extends Disposable {
  readonly root: string
  readonly files: RecordingFiles
  apply(samples: readonly Sample[], options?: { readonly kind?: 'layer' | 'tree'; readonly keepKinds?: boolean }): Promise<void>
}

function place(): Place {
  const root = mkdtempSync(join(testRoot, 'ap-'))
  const files = new RecordingFiles()
  return {
    root,
    files,
    async apply(samples, options = {}) {
      const target = new FolderTarget({ base: root, files, isUsed: options.kind === 'tree' })
      await applyTar(inChunks(sampleTar(samples), 700), target, { kind: options.kind ?? 'layer', ...(options.keepKinds === undefined ? {} : { keepKinds: options.keepKinds }) })
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  }
}

test('times before 1970 and parts of a second are kept', async () => {
  using to = place()
  await to.apply([{ path: 'whole', modifiedNs: 1_234_567_890_000_000_000n }, { path: 'before', modifiedNs: -5_000_000_000n }, { path: 'part', modifiedNs: 1_000_000_001n }])
  assert.equal(statSync(join(to.root, 'whole'), { bigint: true }).mtimeNs, 1_234_567_890_000_000_000n)
  assert.equal(to.files.times.get('before'), -5_000_000_000n)
  assert.equal(to.files.times.get('part'), 1_000_000_001n)
})

test('files, folders, links and their metadata are as the archive says', async () => {
  using to = place()
  await to.apply([
    { path: 'bin', type: 'directory', mode: 0o711 },
    { path: 'bin/tool', content: 'run', mode: 0o4755, uid: 7, gid: 8, xattrs: { 'security.capability': Buffer.from([1, 0, 10, 255]) } },
    { path: 'bin/same', type: 'hardlink', link: 'bin/tool' },
    { path: 'sbin', type: 'symlink', link: 'bin' },
    { path: 'abs', type: 'symlink', link: '/bin/tool' },
    { path: 'deep/er/file', content: 'implied parents' },
  ])
  const tool = statSync(join(to.root, 'bin/tool'))
  assert.deepEqual([tool.mode & 0o7777, tool.uid, tool.gid, tool.nlink], [0o4755, 7, 8, 2])
  assert.equal(statSync(join(to.root, 'bin')).mode & 0o7777, 0o711)
  assert.equal(readlinkSync(join(to.root, 'sbin')), 'bin')
  assert.equal(readFileSync(join(to.root, 'deep/er/file'), 'utf8'), 'implied parents')
  assert.equal(statSync(join(to.root, 'deep')).mode & 0o7777, 0o755)
  assert.deepEqual(to.files.attributes.get(join(to.root, 'bin/tool'))?.get('security.capability'), Buffer.from([1, 0, 10, 255]))
})

test('whiteouts become overlay marks, whatever their order', async () => {
  using to = place()
  await to.apply([
    { path: 'gone/.wh.file' },
    { path: 'opaque', type: 'directory' },
    { path: 'opaque/.wh..wh..opq' },
    { path: '.wh..wh.plnk', type: 'directory' },
    { path: '.wh.folder' },
    { path: 'kept', type: 'directory' },
    { path: '.wh.kept' },
  ])
  assert.deepEqual(to.files.nodes, [`${to.root}/gone/file charDevice 0:0`, `${to.root}/folder charDevice 0:0`])
  assert.equal(to.files.attributes.get(join(to.root, 'opaque'))?.get('trusted.overlay.opaque')?.toString(), 'y')
  assert.equal(to.files.attributes.get(join(to.root, 'kept'))?.get('trusted.overlay.opaque')?.toString(), 'y')
  assert.equal(existsSync(join(to.root, '.wh..wh.plnk')), false)
  await assert.rejects(to.apply([{ path: 'x/.wh...' }]), (error) => isFault(error, 'invalidArgument'))
  await assert.rejects(to.apply([{ path: 'x', type: 'charDevice', device: { major: 0, minor: 0 } }]), /0:0/)
})

test('a later entry replaces an earlier one of another type', async () => {
  using to = place()
  await to.apply([
    { path: 'a', type: 'directory' },
    { path: 'a/b', content: '1' },
    { path: 'a', type: 'symlink', link: 'elsewhere' },
    { path: 'c', content: 'file' },
    { path: 'c', type: 'directory' },
    { path: 'c/d', content: '2' },
    { path: 'c/d', content: '3' },
  ])
  assert.ok(lstatSync(join(to.root, 'a')).isSymbolicLink())
  assert.equal(readFileSync(join(to.root, 'c/d'), 'utf8'), '3')
})

test('archives that try to leave their root are refused, naming the entry', async () => {
  using to = place()
  const outside = `${to.root}-outside`
  const bad: readonly (readonly [Sample[], RegExp])[] = [
    [[{ path: '../out' }], /'\.\.\/out'.*could leave/],
    [[{ path: '/etc/x' }], /absolute/],
    [[{ path: 'l', type: 'symlink', link: '../../etc' }], /leads out/],
    [[{ path: 'h', type: 'hardlink', link: '../x' }], /could leave/],
    [[{ path: 'h', type: 'hardlink', link: '/etc/passwd' }], /absolute/],
    [[{ path: 'h', type: 'hardlink', link: 'missing' }], /cannot be unpacked/],
    [[{ path: 'f', content: 'x' }, { path: 'f/g' }], /no folder/],
  ]
  for (const [samples, message] of bad) await assert.rejects(to.apply(samples), (error) => isFault(error, 'invalidArgument') && message.test(error.message), String(message))
  assert.equal(existsSync(outside), false)
})

test('marks of overlayfs in an archive are not taken over', async () => {
  using to = place()
  await to.apply([{ path: 'd', type: 'directory', xattrs: { 'trusted.overlay.redirect': Buffer.from('/etc'), 'user.ok': Buffer.from('1') } }])
  assert.deepEqual([...(to.files.attributes.get(join(to.root, 'd'))?.keys() ?? [])], ['user.ok'])
})

test('into a tree, a folder follows the link that stands there, and kinds can be kept', async () => {
  using to = place()
  mkdirSync(join(to.root, 'real'))
  symlinkSync('real', join(to.root, 'link'))
  await to.apply([{ path: 'link', type: 'directory' }, { path: 'link/x', content: '1' }, { path: '.wh.y', content: 'plain' }], { kind: 'tree' })
  assert.equal(readFileSync(join(to.root, 'real/x'), 'utf8'), '1')
  assert.equal(readFileSync(join(to.root, '.wh.y'), 'utf8'), 'plain')
  await assert.rejects(to.apply([{ path: 'real', content: 'file' }], { kind: 'tree', keepKinds: true }), /cannot overwrite directory 'real' with non-directory/)
})

test('a tree becomes a layer with parents first, hard links kept and marks as whiteouts', async () => {
  using from = place()
  mkdirSync(join(from.root, 'd'))
  chmodSync(join(from.root, 'd'), 0o700)
  writeFileSync(join(from.root, 'd/a'), 'hello')
  await from.apply([{ path: 'd/b', type: 'hardlink', link: 'd/a' }, { path: 'd/l', type: 'symlink', link: 'a' }, { path: 'd/.wh..wh..opq' }])
  const chunks: Buffer[] = []
  const options = { kind: 'layer' as const, base: Buffer.from(from.root), name: Buffer.alloc(0), files: from.files, output: async (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk)) }
  const { sizeBytes } = await writeTree(options)
  assert.equal(sizeBytes, 6)
  const listed: string[] = []
  for await (const item of readTar(inChunks(Buffer.concat(chunks)))) listed.push(`${item.entry.type} ${item.entry.path.toString()}${item.entry.linkPath.length > 0 ? ` -> ${item.entry.linkPath.toString()}` : ''}`)
  assert.deepEqual(listed, ['directory d', 'file d/.wh..wh..opq', 'file d/a', 'hardlink d/b -> d/a', 'symlink d/l -> a'])
})
