/** Builds for several platforms at once, by a client of our own: one graph for all of them, and what comes of it for each. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { ProtoMessage } from '#base/proto-wire.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { busyboxMissing, openRealEngine, type RealEngine } from '../real-engine.fixture.ts'
import { buildAsBuildx, BuildClient } from './build-client.fixture.ts'

suite('builds for several platforms', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let socketPath: string
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'bplt', subnet: '172.29.132.0/22' })
    socketPath = join(real.root, 'd.sock')
  })
  after(() => real[Symbol.asyncDispose]())

  /** Files of a result, by platform. */
  const read = async (client: BuildClient, ref: string, { result, path }: { readonly result: ProtoMessage; readonly path: string }): Promise<Readonly<Record<string, string>>> => {
    const contents: Record<string, string> = {}
    for (const [platform, each] of result.message(4).messageMap(1)) {
      const answer = await client.bridge(ref, 'ReadFile', (request) => {
        request.string(1, each.string(1))
        request.string(2, path)
      })
      contents[platform] = new ProtoMessage(answer).string(1)
    }
    return contents
  }

  const crossDockerfile = [
    'FROM --platform=$BUILDPLATFORM bb:1 AS make',
    'ARG WHAT=once',
    'RUN cat /proc/sys/kernel/random/uuid > /$WHAT',
    'FROM --platform=$BUILDPLATFORM make AS cross',
    'ARG TARGETARCH TARGETPLATFORM TARGETOS TARGETVARIANT',
    'ARG BUILDPLATFORM BUILDARCH',
    'RUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH "$TARGETVARIANT" $BUILDPLATFORM $BUILDARCH > /args',
    'FROM scratch',
    'ARG TARGETARCH',
    'COPY --from=cross /args /once /',
    'LABEL made=for-$TARGETARCH',
    '',
  ].join('\n')

  test('stages for the building platform run once, the others for each; arguments and names are those of the platform', async () => {
    using client = await BuildClient.open(socketPath)
    let args: Readonly<Record<string, string>> = {}
    let once: Readonly<Record<string, string>> = {}
    let platforms = ''
    for (const noCache of [false, true]) {
      const ref = `several-${noCache}`
      await buildAsBuildx(client, socketPath, {
        ref, dockerfile: crossDockerfile, name: 'several:1',
        attributes: { platform: 'linux/amd64,linux/arm64,linux/arm/v7', ...(noCache ? { 'no-cache': '' } : {}) },
        look: async (result) => {
          platforms = result.stringMap(10).get('refs.platforms') ?? ''
          ;[args, once] = [await read(client, ref, { result, path: '/args' }), await read(client, ref, { result, path: '/once' })]
        },
      })
      assert.deepEqual(args, { 'linux/amd64': 'linux/amd64 linux amd64  linux/amd64 amd64\n', 'linux/arm64': 'linux/arm64 linux arm64  linux/amd64 amd64\n', 'linux/arm/v7': 'linux/arm/v7 linux arm v7 linux/amd64 amd64\n' })
      assert.equal(new Set(Object.values(once)).size, 1, 'the stage of the building platform ran once')
      const names = await client.steps(ref)
      for (const name of ['[linux/amd64 make 2/2] RUN cat /proc/sys/kernel/random/uuid > /once', '[linux/amd64->arm64 cross 1/1] RUN echo $TARGETPLATFORM', '[linux/amd64->arm/v7 cross 1/1] RUN echo', '[linux/arm64 stage-2 1/1] COPY --from=cross /args /once /']) {
        assert.ok(names.some((each) => each.startsWith(name.replace('$TARGETPLATFORM', 'linux/arm64'))), `${name}\n${names.join('\n')}`)
      }
      assert.equal(names.filter((name) => name.includes(' make 2/2]')).length, 1)
    }
    assert.deepEqual(JSON.parse(platforms), {
      Platforms: [
        { ID: 'linux/amd64', Platform: { architecture: 'amd64', os: 'linux' } },
        { ID: 'linux/arm64', Platform: { architecture: 'arm64', os: 'linux' } },
        { ID: 'linux/arm/v7', Platform: { architecture: 'arm', os: 'linux', variant: 'v7' } },
      ],
    })
    const { config } = await real.engine.images.resolve('several:1')
    assert.deepEqual([config.architecture, config.config?.Labels], ['amd64', { made: 'for-amd64' }], 'its name means what runs here')
  })
  test('a command for a platform that this machine does not run says so, and what would help', async () => {
    using client = await BuildClient.open(socketPath)
    // The head of a program for IBM's machines; without a handler of binfmt_misc the kernel takes it for no program.
    const program = `\x7fELF\x02\x02\x01${'\0'.repeat(9)}\0\x02\0\x16${'\0'.repeat(44)}`
    await assert.rejects(
      buildAsBuildx(client, socketPath, { ref: 'foreign', dockerfile: 'FROM scratch\nCOPY --chmod=755 sh /bin/sh\nRUN true\n', context: { sh: program }, attributes: { platform: 'linux/s390x' } }),
      /Dockerfile:3: .*linux\/s390x.*binfmt_misc.*qemu/,
    )
  })
})
