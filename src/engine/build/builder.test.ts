/** The builder on the real kernel: what instructions do to files and configuration, what is cached, what is refused. */
import assert from 'node:assert/strict'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar, type Sample } from '#oci/layer/archive-samples.ts'
import type { BuildCacheEntry, BuildRequest } from '../http/backend.ts'
import { buildTests, openBuildLaboratory, shellFiles, withShell, type BuildLaboratory } from './builder.fixture.ts'
import { openBuilder } from './builder.ts'

const shell = shellFiles
let folder: string
let kernel: Kernel
let laboratory: BuildLaboratory

const { build, treeOf, fileOf } = buildTests('build', openKernel, (opened) => {
  folder = opened.folder
  kernel = opened.kernel
  laboratory = opened.laboratory
})

test('COPY places files, folders and links with modes, and root owns them', async () => {
  const { image, output } = await build('FROM scratch\nCOPY a.txt /\nCOPY dir /d\nCOPY a.txt b*.txt /many/\nCOPY --chown=1000:50 a.txt /owned/x\nCOPY --chmod=750 a.txt /mode\n', [
    { path: 'a.txt', content: 'A', uid: 501, gid: 20 },
    { path: 'b1.txt', content: 'B' },
    { path: 'dir', type: 'directory', mode: 0o700, uid: 7 },
    { path: 'dir/run.sh', content: '#!', mode: 0o4755 },
    { path: 'dir/sub', type: 'directory', mode: 0o770 },
    { path: 'dir/link', type: 'symlink', link: '../../a.txt' },
    { path: 'dir/hard', type: 'hardlink', link: 'dir/run.sh' },
  ])
  assert.deepEqual(await treeOf(image), [
    'f 644 0:0 ./a.txt', 'd 755 0:0 ./d', 'f 4755 0:0 ./d/hard', 'l 777 0:0 ./d/link ../../a.txt', 'f 4755 0:0 ./d/run.sh', 'd 770 0:0 ./d/sub',
    'd 755 0:0 ./many', 'f 644 0:0 ./many/a.txt', 'f 644 0:0 ./many/b1.txt', 'f 750 0:0 ./mode', 'd 755 1000:50 ./owned', 'f 644 1000:50 ./owned/x',
  ])
  assert.equal(image.config.rootfs.diff_ids.length, 5)
  assert.match(output, /^Step 1\/6 : FROM scratch\n ---> \nStep 2\/6 : COPY a.txt \/\n ---> [0-9a-f]{12}\n/)
  assert.match(output, new RegExp(`Successfully built ${image.id.slice(7, 19)}\n$`))
})

test('RUN runs with the variables, user and folder of its stage, and its changes are a layer', async () => {
  const { image, output } = await build(`${withShell}ARG WHO=world\nENV GREETING="hello $WHO"\nWORKDIR /w/x\nRUN echo "$GREETING $WHO" > out && echo said\nUSER 1000\nRUN echo hi > /tmp/y || echo refused\n`, shell)
  assert.equal(await fileOf(image, 'w/x/out'), 'hello world world\n')
  assert.match(output, /\nsaid\n/)
  assert.match(output, /refused/)
  assert.deepEqual(image.config.config?.Env, ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'GREETING=hello world'])
  assert.equal(image.config.config?.WorkingDir, '/w/x')
  assert.equal(image.config.config?.User, '1000')
})

test('a here-document is a script, with its own interpreter when it names one', async () => {
  const { image } = await build(`${withShell}RUN <<EOF\necho one > /one\necho two > /two\nEOF\nRUN busybox cat <<X > /three\nthree $GREETING\nX\nCOPY <<"raw" <<cooked /files/\n$PATH\nraw\nit's $V\ncooked\nENV V=1\nCOPY <<late /\n"$V"\nlate\nRUN <<X\n#!/bin/busybox sh\necho $0 > /four\nX\n`, shell)
  assert.equal(await fileOf(image, 'four'), '/dev/pipes/X\n')
  assert.equal(await fileOf(image, 'two'), 'two\n')
  assert.equal(await fileOf(image, 'three'), 'three \n')
  assert.equal(await fileOf(image, 'files/raw'), '$PATH\n')
  assert.equal(await fileOf(image, 'files/cooked'), "it's \n")
  assert.equal(await fileOf(image, 'late'), '"1"\n')
})

test('a second build runs nothing and gives the same image; a changed file runs what depends on it', async () => {
  const dockerfile = `${withShell}COPY a /a\nRUN echo 1 > /one\nLABEL x=y\nCOPY b /b\nRUN echo 2 > /two\n`
  const files = (b: string, modifiedNs: bigint): Sample[] => [...shell, { path: 'a', content: 'a', modifiedNs }, { path: 'b', content: b, modifiedNs }]
  const first = await build(dockerfile, files('b', 0n))
  const before = laboratory.commandsRun()
  const second = await build(dockerfile, files('b', 1_000_000_000n))
  assert.equal(second.image.id, first.image.id)
  assert.equal(laboratory.commandsRun(), before)
  assert.equal(second.output.match(/Using cache/g)?.length, 7)
  const third = await build(dockerfile, files('changed', 0n))
  assert.equal(laboratory.commandsRun(), before + 1)
  assert.notEqual(third.image.id, first.image.id)
  await build(dockerfile, files('b', 0n), { noCache: true })
  assert.equal(laboratory.commandsRun(), before + 3)
})

test('with images named as the cache, only their steps are known', async () => {
  const files = [...shell]
  const run = async (dockerfile: string, change: Partial<BuildRequest>): Promise<number | undefined> => (await build(dockerfile, files, change)).output.match(/Using cache/g)?.length
  const dockerfile = `${withShell}ENV CACHED=from\nRUN echo cached > /from\n`
  const longer = `${dockerfile}RUN echo more > /more\n`
  await run(dockerfile, { tags: ['cache-source:latest'] })
  await run(longer, {})
  const all = await run(longer, {})
  assert.ok(all !== undefined && all > 3)
  assert.equal(await run(longer, { cacheFrom: [{ kind: 'image', reference: 'cache-source:latest' }] }), all - 1)
  assert.equal(await run(longer, { cacheFrom: [{ kind: 'image', reference: 'no-such-image:latest' }] }), undefined)
})

test('what a command says on stderr is bright red', async () => {
  const { output } = await build(`${withShell}RUN echo plain; echo wrong >&2\n`, shell)
  assert.match(output, /(^|\n)plain\n/)
  assert.ok(output.includes('\x1b[91mwrong\n\x1b[0m'), output)
})

test('the cache knows variables, build arguments and here-documents', async () => {
  const run = async (dockerfile: string, change: Partial<BuildRequest> = {}): Promise<number> => {
    const before = laboratory.commandsRun()
    await build(`${withShell}${dockerfile}`, shell, change)
    return laboratory.commandsRun() - before
  }
  assert.equal(await run('ENV V=1\nENV W=$V\nRUN echo $W > /w\n'), 1)
  assert.equal(await run('ENV V=2\nENV W=$V\nRUN echo $W > /w\n'), 1)
  assert.equal(await run('ARG A=1\nRUN echo $A > /a\n'), 1)
  assert.equal(await run('ARG A=1\nRUN echo $A > /a\n', { buildArgs: { A: '2' } }), 1)
  assert.equal(await run('ARG A=1\nRUN echo $A > /a\n', { buildArgs: { A: '1' } }), 0)
  assert.equal(await run('RUN <<X\necho 1 > /h\nX\n'), 1)
  assert.equal(await run('RUN <<X\necho 2 > /h\nX\n'), 1)
  assert.equal(await run('RUN echo proxied > /p\n', { buildArgs: { http_proxy: 'http://a' } }), 1)
  assert.equal(await run('RUN echo proxied > /p\n', { buildArgs: { http_proxy: 'http://b' } }), 0)
})

test('only the stages that the target needs are built, and COPY --from takes files with their owners', async () => {
  const { image, output } = await build(
    `${withShell}RUN busybox mkdir -p /out/deep && echo made > /out/deep/f && busybox chown -R 5:6 /out && busybox ln -s deep/f /out/l\nFROM scratch AS unused\nCOPY missing /\nFROM scratch\nCOPY --from=0 /out /app\nCOPY --from=0 /out/l /file\n`,
    shell,
  )
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./app', 'd 755 5:6 ./app/deep', 'f 644 5:6 ./app/deep/f', 'l 777 0:0 ./app/l deep/f', 'f 644 5:6 ./file'])
  assert.doesNotMatch(output, /unused/)
})

test('a step that changes nothing makes no layer, and no mount point of the runtime stays', async () => {
  const { image } = await build(`${withShell}RUN true\nRUN echo x > /x\n`, shell)
  assert.deepEqual(await treeOf(image), ['f 644 0:0 ./x'])
  assert.equal(image.config.rootfs.diff_ids.length, 3)
  assert.equal(image.config.history?.filter(({ empty_layer }) => empty_layer === true).length, 1)
})

test('ADD unpacks archives, plain or compressed, and copies what is none', async () => {
  const inner = sampleTar([{ path: 'etc', type: 'directory' }, { path: 'etc/conf', content: 'c', uid: 3, gid: 4 }])
  const { image } = await build('FROM scratch\nADD a.tar b.tar.gz plain.gz /x/\nADD --unpack=false a.tar /kept/\nCOPY a.tar /copied/\n', [
    { path: 'a.tar', content: inner },
    { path: 'b.tar.gz', content: gzipSync(sampleTar([{ path: 'from-gzip', content: 'g' }])) },
    { path: 'plain.gz', content: gzipSync('no archive inside') },
  ])
  assert.deepEqual(await treeOf(image), ['d 755 0:0 ./copied', 'f 644 0:0 ./copied/a.tar', 'd 755 0:0 ./kept', 'f 644 0:0 ./kept/a.tar', 'd 755 0:0 ./x', 'd 755 0:0 ./x/etc', 'f 644 3:4 ./x/etc/conf', 'f 644 0:0 ./x/from-gzip', 'f 644 0:0 ./x/plain.gz'])
})

test('.dockerignore keeps files out of COPY; its last match wins', async () => {
  const { image } = await build('FROM scratch\nCOPY . /\n', [
    { path: '.dockerignore', content: '*\n!keep\nkeep/not\n# comment\n!Dockerfile2\n' },
    { path: 'keep', type: 'directory', mode: 0o711 },
    { path: 'keep/yes', content: '' },
    { path: 'keep/not', content: '' },
    { path: 'other', content: '' },
  ])
  assert.deepEqual(await treeOf(image), ['d 711 0:0 ./keep', 'f 644 0:0 ./keep/yes'])
})

test('the configuration follows the instructions', async () => {
  const { image } = await build(
    'FROM scratch AS base\nONBUILD ENV TRIGGERED=yes\nCMD ["old"]\nFROM base\nLABEL a=1 "b c"="d e"\nEXPOSE 80 90-91/udp\nVOLUME /v\nENTRYPOINT ["/e"]\nSTOPSIGNAL SIGINT\nSHELL ["/bin/bash", "-c"]\nCMD echo $HOME\nHEALTHCHECK --retries=3 CMD curl x\n',
    [],
    { labels: { extra: 'label' } },
  )
  const { Env, ...config } = image.config.config ?? {}
  assert.ok(Env?.includes('TRIGGERED=yes'))
  assert.deepEqual(config, {
    Labels: { a: '1', 'b c': 'd e', extra: 'label' },
    ExposedPorts: { '80/tcp': {}, '90/udp': {}, '91/udp': {} },
    Volumes: { '/v': {} },
    Entrypoint: ['/e'],
    StopSignal: 'SIGINT',
    Shell: ['/bin/bash', '-c'],
    Cmd: ['/bin/bash', '-c', 'echo $HOME'],
    Healthcheck: { Test: ['CMD-SHELL', 'curl x'], Retries: 3 },
  })
})

test('refusals name the line, and nothing is left of a failed build', async () => {
  const refused = async (dockerfile: string, pattern: RegExp, files: readonly Sample[] = []): Promise<void> => {
    await assert.rejects(build(dockerfile, files), (error) => isFault(error) && pattern.test(error.message), dockerfile)
  }
  await refused('FROM scratch\nCOPY nope /\n', /^Dockerfile:2: COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist$/)
  await refused('FROM scratch\nCOPY ../x /\n', /^Dockerfile:2: COPY failed: forbidden path outside the build context: \.\.\/x/)
  await refused('FROM scratch\nCOPY a b /x\n', /^Dockerfile:2: When using COPY with more than one source file/, [{ path: 'a' }, { path: 'b' }])
  await refused(`${withShell}RUN echo before && echo problem >&2 && exit 42\n`, /^Dockerfile:4: The command '\/bin\/sh -c echo before && echo problem >&2 && exit 42' returned a non-zero code: 42\nIts last lines were:\n  before\n  problem$/, shell)
  await refused('FROM unknown:1\n', /^Dockerfile:1: FROM unknown:1: pull access denied/)
  await refused('FROM scratch\nCOPY --chown=nobody a /\n', /^Dockerfile:2: COPY failed: .*no such user: nobody$/, [{ path: 'a' }])
  await refused('FROM scratch\nCOPY a /f\nCOPY a /f/g\n', /^Dockerfile:3: COPY failed: cannot copy to non-directory: \/f$/, [{ path: 'a' }])
  await refused('FROM scratch\n', /its name contains '\.\.' and could leave the root/, [{ path: '../evil', content: 'x' }])
  await refused('FROM scratch\n', /its name is absolute/, [{ path: '/evil', content: 'x' }])
  assert.deepEqual(await readdir(join(folder, 'build', 'work')), [])
  assert.deepEqual(await laboratory.snapshots.keys(), [])
  assert.deepEqual(await laboratory.networks.endpoints((await laboratory.networks.get('bridge')).id), [])
})

test('a link in the context or in the image cannot lead a copy out of its root', async () => {
  const { image } = await build('FROM scratch\nCOPY up /copied\nCOPY down /\nCOPY file /down/placed\n', [
    { path: 'up', type: 'symlink', link: '../../../../../../file' },
    { path: 'file', content: 'inside' },
    { path: 'down', type: 'directory' },
    { path: 'down/down', type: 'symlink', link: '../../../../../../tmp' },
    { path: 'down/tmp', type: 'directory' },
  ])
  assert.equal(await fileOf(image, 'copied'), 'inside')
  assert.equal(await fileOf(image, 'tmp/placed'), 'inside')
})

test('what a killed build left is swept when the builder opens', async () => {
  await mkdir(join(folder, 'build', 'work', 'dead', `run-${'a'.repeat(64)}`), { recursive: true })
  await mkdir(join(folder, 'build', 'work', 'dead', 'build-dead-0-1'))
  await laboratory.snapshots.prepare('build-dead-0-1', undefined)
  await laboratory.snapshots.mount('build-dead-0-1', join(folder, 'build', 'work', 'dead', 'build-dead-0-1'))
  await laboratory.networks.openSandbox('a'.repeat(64))
  const again = await openBuilder(laboratory.options)
  assert.deepEqual(await readdir(join(folder, 'build', 'work')), [])
  assert.deepEqual(await laboratory.snapshots.keys(), [])
  await assert.rejects(laboratory.networks.resolver('a'.repeat(64)), (error) => isFault(error, 'notFound'))
  laboratory.builder = again
  const before = laboratory.commandsRun()
  await build(`${withShell}RUN true\nRUN echo x > /x\n`, shell)
  assert.equal(laboratory.commandsRun(), before)
})

test('an aborted build ends at once', async () => {
  const controller = new AbortController()
  controller.abort()
  await assert.rejects(build(`${withShell}RUN echo never\n`, shell, { signal: controller.signal, noCache: true }), (error) => isFault(error, 'canceled'))
})

test('a full disk is said so, and the builder works again when there is room', async () => {
  const small = join(folder, 'small')
  await mkdir(small)
  await kernel.mounts.mount({ source: 'tmpfs', target: small, type: 'tmpfs', data: 'size=6m' })
  try {
    const tight = await openBuildLaboratory(kernel, small, 'tight')
    try {
      const context = (bytes: number): Buffer => sampleTar([{ path: 'Dockerfile', content: 'FROM scratch\nCOPY big /big\n' }, { path: 'big', content: Buffer.alloc(bytes, 7) }])
      for (const bytes of [8_000_000, 4_000_000, 2_500_000]) {
        await assert.rejects(tight.build(context(bytes)), (error) => isFault(error, 'resourceExhausted') && /no space left on device/.test(error.message), `${bytes}`)
      }
      assert.deepEqual(await readdir(join(small, 'build', 'work')), [])
      assert.deepEqual(await tight.snapshots.keys(), [])
      assert.equal((await tight.build(context(100_000))).image.config.rootfs.diff_ids.length, 1)
    } finally {
      await tight[Symbol.asyncDispose]()
    }
  } finally {
    await kernel.mounts.unmount(small)
  }
})

test('cached layers are roots for the collectors until they are pruned, the least used first', async () => {
  const { builder, options } = laboratory
  const dockerfile = `${withShell}RUN echo kept > /pruned\n`
  const { image } = await build(dockerfile, shell)
  assert.ok(options.cache.chainIds().includes(image.topLayer ?? ''))
  assert.ok(options.cache.diffIds().includes(image.config.rootfs.diff_ids.at(-1) ?? ''))
  await laboratory.snapshots.collect((chainId) => options.cache.chainIds().includes(chainId))
  const before = laboratory.commandsRun()
  await build(dockerfile, shell)
  assert.equal(laboratory.commandsRun(), before)
  const { sizeBytes } = options.cache.usage()
  await builder.prune({ all: true, reservedBytes: sizeBytes - 1 })
  assert.ok(options.cache.usage().sizeBytes < sizeBytes)
  await build(dockerfile, shell)
  assert.equal(laboratory.commandsRun(), before)
  const shown = await builder.diskUsage()
  const step = shown.find(({ description }) => description.includes('/pruned'))
  assert.deepEqual([step?.shared, step?.inUse, step?.type], [true, false, 'regular'])
  assert.ok(shown.some(({ id }) => id === step?.parentId))
  // What images have stays unless everything is asked for, what no filter names stays, and where the disk is free enough all of it.
  assert.equal((await builder.prune({ all: false, matches: ({ id }) => id === step?.id })).deleted.length, 0)
  for (const options of [{ all: true, matches: () => false }, { all: true, minFreeBytes: 1 }, { all: true, maxUsedBytes: sizeBytes, minFreeBytes: 1 }, { all: true, unusedForMs: 3_600_000 }]) assert.deepEqual((await builder.prune(options)).deleted, [])
  assert.deepEqual((await builder.prune({ all: true, matches: ({ id }) => id === step?.id })).deleted, [step?.id])
  assert.deepEqual((await builder.diskUsage()).length, shown.length - 1)
  const left = (await builder.diskUsage()).map(({ id }) => id)
  assert.deepEqual((await builder.prune({ all: true, minFreeBytes: Number.MAX_SAFE_INTEGER })).deleted.toSorted(), left.toSorted())
  assert.deepEqual(options.cache.usage(), { records: 0, sizeBytes: 0 })
  assert.deepEqual(options.cache.chainIds(), [])
  await build(dockerfile, shell)
  assert.equal(laboratory.commandsRun(), before + 1)
})

test('RUN --mount lends files and caches without leaving a trace in the image', async () => {
  const dockerfile = (n: number): string =>
    `${withShell}RUN busybox mkdir /made && echo stage > /made/f\nFROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\n` +
    `RUN --mount=type=cache,target=/cache --mount=type=bind,source=src,target=/src --mount=type=bind,from=0,source=/made,target=/stage --mount=type=tmpfs,target=/tmpfs ` +
    `busybox cat /src/a /stage/f > /seen && echo ${n} >> /cache/count && busybox cat /cache/count > /counted && echo x > /tmpfs/x\n`
  const files = (content: string): Sample[] => [...shell, { path: 'src', type: 'directory' }, { path: 'src/a', content }]
  const first = await build(dockerfile(1), files('a\n'))
  assert.equal(await fileOf(first.image, 'seen'), 'a\nstage\n')
  const cacheMount = async (): Promise<readonly BuildCacheEntry[]> => (await laboratory.builder.diskUsage()).filter(({ type }) => type === 'exec.cachemount')
  const [shown] = await cacheMount()
  assert.deepEqual([shown?.sizeBytes, shown?.inUse, shown?.shared, shown?.usageCount], [2, false, false, 1])
  assert.match(shown?.description ?? '', /^cached mount \/cache from exec \/bin\/sh -c busybox cat .* with id "\/\/cache"$/)
  const second = await build(dockerfile(2), files('a\n'))
  assert.equal(await fileOf(second.image, 'counted'), '1\n2\n')
  assert.deepEqual((await cacheMount()).map(({ id, usageCount, sizeBytes }) => [id, usageCount, sizeBytes]), [[shown?.id, 2, 4]])
  const pruned = await laboratory.builder.prune({ all: false, matches: ({ type }) => type === 'exec.cachemount' })
  assert.deepEqual([pruned.deleted, pruned.reclaimedBytes, await cacheMount()], [[shown?.id], 4, []])
  assert.deepEqual(await treeOf(second.image), ['f 644 0:0 ./counted', 'f 644 0:0 ./seen'])
  const before = laboratory.commandsRun()
  await build(dockerfile(2), files('a\n'))
  assert.equal(laboratory.commandsRun(), before)
  await build(dockerfile(2), files('changed\n'))
  assert.equal(laboratory.commandsRun(), before + 1)
  await assert.rejects(build('FROM scratch\nRUN --mount=type=bind,target=/x,source=nope true\n'), /^Fault: Dockerfile:2: RUN --mount: nope is not in the build context$/)
})

test('a client that goes takes its command along', async () => {
  const controller = new AbortController()
  const gone = build(`${withShell}RUN busybox sleep 600\n`, shell, { signal: controller.signal, onMessage: (message) => message.kind === 'stream' && message.text.includes('Running in') && controller.abort() })
  await assert.rejects(gone, (error) => isFault(error, 'canceled'))
  assert.deepEqual(await readdir(join(folder, 'build', 'work')), [])
  assert.deepEqual(await laboratory.snapshots.keys(), [])
})
