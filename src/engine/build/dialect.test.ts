/** What BuildKit's clients get that the classic builder's do not, and the other way round. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { buildTests, shellFiles, withShell } from './builder.fixture.ts'

const { build, treeOf, fileOf } = buildTests('dialect', openKernel)
const buildkit = { dialect: 'buildkit' } as const
const owned = [{ path: 'a', content: 'a', uid: 501, gid: 20 }, { path: 'd', type: 'directory' as const, uid: 7, gid: 8 }, { path: 'd/f', content: 'f', uid: 9, gid: 9 }]

test('files of an archive keep their owners for BuildKit’s clients, unless COPY names one', async () => {
  const dockerfile = 'FROM scratch\nCOPY a d/f /x/\nADD --chmod=600 a /y\nCOPY --chown=3:4 a /z\n'
  const { image } = await build(dockerfile, owned, buildkit)
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./x', 'f 644 501:20 ./x/a', 'f 644 9:9 ./x/f', 'f 600 501:20 ./y', 'f 644 3:4 ./z'])
  const { image: classic } = await build(dockerfile, owned)
  assert.deepEqual(await treeOf(classic), ['d 755 0:0 ./x', 'f 644 0:0 ./x/a', 'f 644 0:0 ./x/f', 'f 600 0:0 ./y', 'f 644 3:4 ./z'])
})

test('what the kernel’s file systems were mounted on stays for BuildKit’s clients, nothing else', async () => {
  const dockerfile = `${withShell}RUN --mount=type=tmpfs,target=/t/u true\n`
  const { image } = await build(dockerfile, shellFiles, buildkit)
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./dev', 'd 755 0:0 ./proc', 'd 755 0:0 ./sys'])
  const { image: classic } = await build(dockerfile, shellFiles)
  assert.deepEqual(await treeOf(classic), [])
})

test('an image from scratch begins in / for BuildKit’s clients', async () => {
  assert.equal((await build('FROM scratch\nCOPY a /\n', owned, buildkit)).image.config.config?.WorkingDir, '/')
  assert.equal((await build('FROM scratch\nCOPY a /\n', owned)).image.config.config?.WorkingDir, undefined)
})

test('a proxy of the request has both its names for BuildKit’s clients, and wins', async () => {
  const dockerfile = `${withShell}ENV HTTP_PROXY=file\nRUN echo $HTTP_PROXY $http_proxy > /out\n`
  const request = { buildArgs: { HTTP_PROXY: 'request' } }
  assert.equal(await fileOf((await build(dockerfile, shellFiles, { ...request, ...buildkit })).image, 'out'), 'request request\n')
  assert.equal(await fileOf((await build(dockerfile, shellFiles, request)).image, 'out'), 'file\n')
})

test('a folder that WORKDIR makes belongs to the user for BuildKit’s clients', async () => {
  const dockerfile = 'FROM scratch\nUSER 5:6\nWORKDIR /w\n'
  assert.deepEqual(await treeOf((await build(dockerfile, [], buildkit)).image), ['d 755 5:6 ./w'])
  assert.deepEqual(await treeOf((await build(dockerfile, [])).image), ['d 755 0:0 ./w'])
})
