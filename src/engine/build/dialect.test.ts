/** What BuildKit's clients get that the classic builder's do not, and the other way round. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
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

test('ARG gives way to ENV and ends with its stage for the classic builder’s clients', async () => {
  const dockerfile = `${withShell.replace('scratch', 'scratch AS base')}ENV A=env\nARG A=arg\nARG B=b\nRUN echo $A $B > /one\nFROM base\nRUN echo $A $B > /two\n`
  const { image } = await build(dockerfile, shellFiles, buildkit)
  assert.deepEqual([await fileOf(image, 'one'), await fileOf(image, 'two')], ['arg b\n', 'env b\n'])
  const { image: classic } = await build(dockerfile, shellFiles)
  assert.deepEqual([await fileOf(classic, 'one'), await fileOf(classic, 'two')], ['env b\n', 'env\n'])
})

test('commands of BuildKit’s clients see its host name, or the one that is asked for, and no variable of it', async () => {
  const dockerfile = `${withShell}RUN echo "$(busybox hostname) [$(busybox env | busybox grep ^HOSTNAME=)]" > /out\n`
  const name = async (change: Parameters<typeof build>[2]): Promise<string> => fileOf((await build(dockerfile, shellFiles, change)).image, 'out')
  assert.equal(await name(buildkit), 'buildkitsandbox []\n')
  assert.equal(await name({ ...buildkit, hostname: 'asked' }), 'asked []\n')
  assert.equal(await name({ ...buildkit, hostname: 'asked', buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: 'argument' } }), 'argument []\n')
  assert.match(await name({}), /^([0-9a-f]{12}) \[HOSTNAME=\1\]\n$/)
})

test('commands stand in the cgroup that is asked for', async () => {
  const { image } = await build(`${withShell}RUN busybox cat /proc/1/cgroup > /out; busybox cat /proc/self/mountinfo >> /out\n`, shellFiles, { cgroupParent: 'mine/here' })
  assert.match(await fileOf(image, 'out'), /\/mine\/here\/[0-9a-f]{64}/)
})

const archive = { path: 'x.tar', content: sampleTar([{ path: 'in', type: 'directory', mode: 0o711, uid: 3, gid: 4 }, { path: 'in/f', content: 'f', mode: 0o640, uid: 3, gid: 4 }]) }

test('an archive keeps its modes; whether --chown holds for it is the builder’s', async () => {
  const dockerfile = 'FROM scratch\nADD --chown=5:6 --chmod=700 x.tar /t/\n'
  assert.deepEqual(await treeOf((await build(dockerfile, [archive], buildkit)).image), ['d 755 5:6 ./t', 'd 711 5:6 ./t/in', 'f 640 5:6 ./t/in/f'])
  assert.deepEqual(await treeOf((await build(dockerfile, [archive])).image), ['d 755 0:0 ./t', 'd 711 3:4 ./t/in', 'f 640 3:4 ./t/in/f'])
})

test('folders made on the way have the mode of --chmod, and the owner of --chown, but above folders of the classic builder’s', async () => {
  const dockerfile = 'FROM scratch\nCOPY --chmod=750 a /x/y/\nCOPY --chmod=go-r a /z/\nCOPY --chown=3:4 d /v/w\n'
  const tree = ['d 755 3:4 ./v', 'd 755 3:4 ./v/w', 'f 644 3:4 ./v/w/f', 'd 750 0:0 ./x', 'd 750 0:0 ./x/y', 'f 750 501:20 ./x/y/a', 'd 755 0:0 ./z', 'f 600 501:20 ./z/a']
  assert.deepEqual(await treeOf((await build(dockerfile, owned, buildkit)).image), tree)
  assert.deepEqual(await treeOf((await build(dockerfile, owned)).image), tree.map((line) => (line.endsWith('./v') ? 'd 755 0:0 ./v' : line.replace('501:20', '0:0'))))
})

test('what is of another kind gives way to the classic builder’s copies, and stops BuildKit’s', async () => {
  const files = [...owned, { path: 'e', type: 'directory' as const }, { path: 'e/l', type: 'directory' as const }, { path: 'e/l/g', content: 'g' }, { path: 'l', type: 'symlink' as const, link: '/d' }]
  const dockerfile = 'FROM scratch\nCOPY d /d\nCOPY . /t/\nCOPY e /t/\n'
  const { image } = await build(dockerfile, files)
  assert.deepEqual((await treeOf(image)).filter((line) => line.includes('./t/l')), ['d 755 0:0 ./t/l', 'f 644 0:0 ./t/l/g'])
  await assert.rejects(build(dockerfile, files, buildkit), /Dockerfile:4: COPY failed: cannot copy to non-directory: \/t\/l/)
})

test('the history tells of triggers to the classic builder’s clients alone', async () => {
  const told = async (change: Parameters<typeof build>[2]): Promise<unknown> => (await build('FROM scratch\nENV A=1\nONBUILD RUN x\n', [], change)).image.config.history?.map((entry) => entry.created_by)
  assert.deepEqual(await told(buildkit), ['ENV A=1'])
  assert.deepEqual(await told({}), ['ENV A=1', 'ONBUILD RUN x'])
})
