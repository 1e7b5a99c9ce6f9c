/** Large files of a context become files of a layer without being copied, once; whatever else takes them has bytes of its own. */
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { present } from '#base/assert.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { digestOf } from '#oci/digest.ts'
import { sampleTar, type Sample } from '#oci/layer/archive-samples.ts'
import type { Image } from '../contract/images.ts'
import { buildTests, shellFiles, withShell } from './builder.fixture.ts'

const { build, fileOf, treeOf, opened } = buildTests('large', openKernel)

const at = 1_700_000_000_000_000_000n
const large = (letter: string): string => letter.repeat(5 << 20)
const big: Sample = { path: 'big', content: large('b'), mode: 0o4711, uid: 5, gid: 6, modifiedNs: at }

/** Builds, and answers which files were linked, a list for each step that asked for any. */
async function linksOf(dockerfile: string, files: readonly Sample[]): Promise<{ readonly image: Image; readonly links: readonly (readonly string[])[] }> {
  const spy = mock.method(opened().laboratory.snapshots, 'link')
  try {
    const { image } = await build(dockerfile, files, { noCache: true })
    return { image, links: spy.mock.calls.map(({ arguments: [, linked] }) => linked.map(({ path }) => path)).filter(({ length }) => length > 0) }
  } finally {
    spy.mock.restore()
  }
}

/** A layer that holds one file and nothing else. */
function layerOf(path: string, content: string, attributes: Omit<Sample, 'path' | 'content'>): string {
  return digestOf(sampleTar([{ path, content, ...attributes }]))
}

test('the first copy is a link, others are not, and each has the owner, mode, time and bytes that it should', async () => {
  const { image, links } = await linksOf('FROM scratch\nCOPY big /one\nCOPY --chown=7:8 --chmod=640 big /two\n', [big])
  assert.deepEqual(links, [['/one']])
  assert.deepEqual(image.config.rootfs.diff_ids, [layerOf('one', large('b'), { mode: 0o4711, modifiedNs: at }), layerOf('two', large('b'), { mode: 0o640, uid: 7, gid: 8, modifiedNs: at })])
  assert.equal(await fileOf(image, 'one'), large('b'))
})

test('folders that are copied with a large file in them keep their times', async () => {
  const samples: readonly Sample[] = [{ path: 'd', type: 'directory', modifiedNs: at + 7n }, { path: 'd/big', content: large('d'), modifiedNs: at }]
  const { image, links } = await linksOf('FROM scratch\nCOPY d/ /\nCOPY . /all/\n', samples)
  assert.deepEqual(links, [['/big']])
  const again = await linksOf('FROM scratch\nCOPY . /\n', [{ path: '.dockerignore', content: 'Dockerfile\n.dockerignore\n' }, ...samples])
  assert.deepEqual(again.links, [['/d/big']])
  const [folder, file] = samples
  // A folder that a step makes hides what its name was below.
  assert.deepEqual(again.image.config.rootfs.diff_ids, [digestOf(sampleTar([present(folder, 'folder'), { path: 'd/.wh..wh..opq', mode: 0 }, present(file, 'file')]))])
  assert.equal(await fileOf(image, 'all/d/big'), large('d'))
})

test('links in a destination are followed, and what comes later in a step stands', async () => {
  const samples: readonly Sample[] = [{ path: 'a/big', content: large('a') }, { path: 'b/big', content: large('b') }, { path: 'c/big', content: 'small' }, { path: 'links/l', type: 'symlink', link: '/real' }, { path: 'real/x', content: 'x' }]
  const { image, links } = await linksOf('FROM scratch\nCOPY real /real\nCOPY links /links\nCOPY a/big b/big /links/l/\nCOPY a/big c/big /d/\n', samples)
  assert.deepEqual(links, [['/real/big']])
  assert.equal(await fileOf(image, 'real/big'), large('b'))
  assert.equal(await fileOf(image, 'd/big'), 'small')
})

test('names of one file, files with attributes and times of less than a second are copied', async () => {
  const samples: readonly Sample[] = [
    { path: 'h/one', content: large('h') }, { path: 'h/two', type: 'hardlink', link: 'h/one' },
    { path: 'marked', content: large('m'), xattrs: { 'user.mark': Buffer.from('yes') } },
    { path: 'exact', content: large('e'), modifiedNs: at + 5n },
  ]
  const { image, links } = await linksOf('FROM scratch\nCOPY h /h/\nCOPY marked exact /h/\n', samples)
  assert.deepEqual(links, [])
  for (const [name, letter] of [['one', 'h'], ['two', 'h'], ['marked', 'm'], ['exact', 'e']] as const) assert.equal(await fileOf(image, `h/${name}`), large(letter))
})

test('a command that writes into a lent file, or changes a copied one, changes neither what is copied later nor the layer', async () => {
  const { image, links } = await linksOf(`${withShell}RUN --mount=type=bind,source=big,target=/lent,rw echo spoilt > /lent\nCOPY big /one\nRUN echo changed >> /one\nCOPY big /two\n`, [...shellFiles, big])
  assert.deepEqual(links.flat().filter((path) => !path.startsWith('/bin/')), ['/one'])
  assert.equal(await fileOf(image, 'one'), `${large('b')}changed\n`)
  assert.equal(await fileOf(image, 'two'), large('b'))
  assert.deepEqual((await treeOf(image)).filter((line) => / \.\/(one|two)$/.test(line)), ['f 4711 0:0 ./one', 'f 4711 0:0 ./two'])
})

test('a large archive that is added, and large files of many, are whole', async () => {
  const inner: readonly Sample[] = [{ path: 'in/big', content: large('i') }, { path: 'in/small', content: 's' }]
  const { image, links } = await linksOf('FROM scratch\nADD archive.tar /to/\nCOPY archive.tar /kept\n', [{ path: 'archive.tar', content: sampleTar(inner) }])
  assert.deepEqual(links, [['/to/in/big'], ['/kept']])
  assert.equal(await fileOf(image, 'to/in/big'), large('i'))
  assert.equal(await fileOf(image, 'to/in/small'), 's')
})
