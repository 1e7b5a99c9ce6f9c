/** Builds for several platforms at once, by a client of our own: one graph for all of them, and what comes of it for each. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, suite, test } from 'node:test'
import { request } from '#base/http-module.ts'
import { ProtoMessage } from '#base/proto-wire.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { parseDigest } from '#oci/digest.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { busyboxMissing, openRealEngine, type RealEngine } from '../real-engine.fixture.ts'
import { buildAsBuildx, BuildClient } from './build-client.fixture.ts'

interface Manifest {
  readonly mediaType?: string
  readonly digest?: string
  readonly artifactType?: string
  readonly subject?: Manifest
  readonly platform?: { readonly architecture: string }
  readonly annotations?: Readonly<Record<string, string>>
  readonly manifests?: readonly Manifest[]
  readonly layers?: readonly Manifest[]
}

interface Statement {
  readonly subject: readonly { readonly name: string }[]
  readonly predicate: {
    readonly buildDefinition: { readonly externalParameters: unknown }
    readonly runDetails: { readonly builder: unknown; readonly metadata: { readonly buildkit_metadata: { readonly vcs: unknown }; readonly buildkit_completeness: unknown } }
  }
}

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
  const manifestAt = async (digest: unknown): Promise<Manifest> => {
    assert.ok(typeof digest === 'string')
    const blobs = await openFileBlobs(join(real.root, 'blobs'))
    const parsed: Manifest = JSON.parse((await blobs.read(parseDigest(digest), { maxBytes: 1 << 20 })).toString())
    return parsed
  }

  test('the image store has the whole index, with annotations and provenance; its name runs here', async () => {
    using client = await BuildClient.open(socketPath)
    const { facts } = await buildAsBuildx(client, socketPath, {
      ref: 'index', dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n', context: { f: 'content' }, name: 'index:1,localhost:5000/other:2',
      attributes: { platform: 'linux/amd64,linux/arm64', 'attest:provenance': 'mode=max,builder-id=me', 'build-arg:SAID': 'yes', 'vcs:revision': 'abc' },
      exporter: { 'annotation-index.a': 'index', 'annotation.b': 'manifests', 'annotation-manifest[linux/arm64].c': 'arm', 'annotation-manifest-descriptor.d': 'entries', 'annotation-index-descriptor.e': 'told' },
    })
    const descriptor: Manifest = JSON.parse(Buffer.from(facts.get('containerimage.descriptor') ?? '', 'base64').toString())
    assert.deepEqual([descriptor.digest, descriptor.annotations, facts.get('image.name')], [facts.get('containerimage.digest'), { e: 'told' }, 'docker.io/library/index:1,localhost:5000/other:2'])
    const index = await manifestAt(descriptor.digest)
    assert.deepEqual([index.mediaType, index.annotations], ['application/vnd.oci.image.index.v1+json', { a: 'index' }])
    const [amd64, arm64, ...attestations] = index.manifests ?? []
    assert.deepEqual([amd64?.platform, arm64?.platform, amd64?.annotations], [{ architecture: 'amd64', os: 'linux' }, { architecture: 'arm64', os: 'linux' }, { d: 'entries' }])
    assert.deepEqual([(await manifestAt(amd64?.digest)).annotations, (await manifestAt(arm64?.digest)).annotations], [{ b: 'manifests' }, { b: 'manifests', c: 'arm' }])
    assert.ok((await manifestAt(arm64?.digest)).layers?.every(({ mediaType }) => mediaType === 'application/vnd.oci.image.layer.v1.tar+gzip'))
    assert.deepEqual(attestations.map(({ platform, annotations }) => [platform, annotations]), [amd64, arm64].map((about) => [{ architecture: 'unknown', os: 'unknown' }, { 'vnd.docker.reference.digest': about?.digest, 'vnd.docker.reference.type': 'attestation-manifest' }]))
    const attestation = await manifestAt(attestations[1]?.digest)
    assert.deepEqual([attestation.artifactType, attestation.subject?.digest, attestation.layers?.[0]?.annotations], ['application/vnd.docker.attestation.manifest.v1+json', arm64?.digest, { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' }])
    const statement: Statement = JSON.parse((await (await openFileBlobs(join(real.root, 'blobs'))).read(parseDigest(attestation.layers?.[0]?.digest), { maxBytes: 1 << 20 })).toString())
    assert.deepEqual(statement.subject.map(({ name }) => name), ['pkg:docker/index@1?platform=linux%2Farm64', 'pkg:docker/localhost%3A5000/other@2?platform=linux%2Farm64'])
    const { buildDefinition: { externalParameters }, runDetails: { builder, metadata } } = statement.predicate
    assert.deepEqual([externalParameters, builder, metadata.buildkit_metadata.vcs, metadata.buildkit_completeness], [
      { configSource: { path: 'Dockerfile' }, request: { frontend: 'dockerfile.v0', args: { 'build-arg:SAID': 'yes' }, locals: [{ name: 'context' }, { name: 'dockerfile' }] } },
      { id: 'me' }, { revision: 'abc' }, { request: true, resolvedDependencies: false },
    ])
    const image = await real.engine.images.resolve('index:1')
    assert.equal(image.config.architecture, 'amd64')
    assert.equal((await real.engine.images.resolve(descriptor.digest ?? '')).id, image.id, 'the digest that clients were told is an id, too')
    assert.ok(!(await real.engine.images.list({ all: true })).some(({ config, repoTags }) => config.architecture === 'arm64' && repoTags.length === 0), 'what only the index needs is no image of its own')
  })

  test('provenance that clients ask for by themselves comes with an index alone; one image stays what it is', async () => {
    using client = await BuildClient.open(socketPath)
    const dockerfile = 'FROM bb:1\nENV INLINE=1\n'
    const { facts } = await buildAsBuildx(client, socketPath, { ref: 'inline', dockerfile, name: 'inline:1', attributes: { 'attest:provenance': 'mode=min,inline-only=true' } })
    assert.equal(facts.get('containerimage.digest'), (await real.engine.images.resolve('inline:1')).id)
    const asked = await buildAsBuildx(client, socketPath, { ref: 'asked', dockerfile, name: 'asked:1', attributes: { 'attest:provenance': 'mode=min,version=v0.2' } })
    const index = await manifestAt(asked.facts.get('containerimage.digest'))
    assert.deepEqual(index.manifests?.map(({ platform }) => platform?.architecture), ['amd64', 'unknown'])
    const attestation = await manifestAt(index.manifests?.[1]?.digest)
    assert.equal(attestation.layers?.[0]?.annotations?.['in-toto.io/predicate-type'], 'https://slsa.dev/provenance/v0.2')
    await assert.rejects(buildAsBuildx(client, socketPath, { ref: 'alone', dockerfile, exporter: { 'annotation-index.a': 'b' } }), /index annotations not supported for single platform export/)
    await assert.rejects(buildAsBuildx(client, socketPath, { ref: 'stranger', dockerfile, exporter: { 'annotation[linux/s390x].a': 'b' } }), /no platform linux\/s390x found in source/)
    await assert.rejects(buildAsBuildx(client, socketPath, { ref: 'list', dockerfile, attributes: { platform: 'linux/amd64,linux/arm64' }, exporter: { type: 'docker' } }), /docker exporter does not currently support exporting manifest lists/)
  })
  test('a scanner image of the client’s choice says what is in each platform’s files', async () => {
    using client = await BuildClient.open(socketPath)
    const script = '#!/bin/sh\necho looking\nprintf \'{"predicateType":"https://spdx.dev/Document","predicate":{"files":"%s","told":"%s"}}\' "$(ls $BUILDKIT_SCAN_SOURCE)" "$BUILDKIT_SCAN_TOLD" > $BUILDKIT_SCAN_DESTINATION/$(basename $BUILDKIT_SCAN_SOURCE).spdx.json\n'
    await buildAsBuildx(client, socketPath, { ref: 'scanner', dockerfile: 'FROM bb:1\nCOPY --chmod=755 scan /scan\nENTRYPOINT ["/scan"]\n', context: { scan: script }, name: 'scanner:1' })
    const dockerfile = 'FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n'
    const { facts } = await buildAsBuildx(client, socketPath, { ref: 'scanned', dockerfile, context: { f: '' }, name: 'scanned:1', attributes: { platform: 'linux/amd64,linux/arm64', 'attest:sbom': 'generator=scanner:1,TOLD=a $b' } })
    const { manifests: [, , ...attestations] = [] } = await manifestAt(facts.get('containerimage.digest'))
    const found = await Promise.all(attestations.map(async ({ digest }) => {
      const [layer] = (await manifestAt(digest)).layers ?? []
      const statement: { readonly predicate: unknown } = JSON.parse((await (await openFileBlobs(join(real.root, 'blobs'))).read(parseDigest(layer?.digest), { maxBytes: 1 << 20 })).toString())
      return [layer?.annotations, statement.predicate]
    }))
    assert.deepEqual(found, ['amd64', 'arm64'].map((files) => [{ 'in-toto.io/predicate-type': 'https://spdx.dev/Document' }, { files, told: 'a $b' }]))
    assert.ok((await client.steps('scanned')).includes('[linux/arm64] generating sbom using docker.io/library/scanner:1'))
    await assert.rejects(buildAsBuildx(client, socketPath, { ref: 'no scanner', dockerfile, context: { f: '' }, name: 'scanned:2', attributes: { 'attest:sbom': 'generator=localhost:1/absent' } }), /localhost:1/)
  })
  test('`POST /build` makes the same of what `berth build` asks for', async () => {
    const query = new URLSearchParams({
      version: '2', t: 'posted:1', platforms: '["linux/amd64","linux/arm64"]', attest: '{"provenance":"mode=max"}', exporter: '{"annotation-index.a":"b"}', labels: '{"l":"m"}',
    })
    const context = sampleTar([{ path: 'Dockerfile', content: 'FROM scratch\nCOPY f /f\n' }, { path: 'f', content: 'posted' }])
    const answer = await new Promise<NodeJS.ReadableStream>((done, fail) => {
      request({ socketPath, method: 'POST', path: `/build?${query.toString()}`, headers: { 'content-type': 'application/x-tar' } }, done).once('error', fail).end(context)
    })
    const told = await text(answer)
    const ids = told.split('\n').filter((line) => line.includes('moby.image.id')).map((line): { readonly aux: { readonly ID: string } } => JSON.parse(line))
    const index = await manifestAt(ids.at(-1)?.aux.ID)
    assert.deepEqual([index.annotations, index.manifests?.map(({ platform }) => platform?.architecture)], [{ a: 'b' }, ['amd64', 'arm64', 'unknown', 'unknown']], told)
    assert.equal((await real.engine.images.resolve('posted:1', { platform: 'linux/arm64' })).config.config?.Labels?.['l'], 'm')
  })
})
