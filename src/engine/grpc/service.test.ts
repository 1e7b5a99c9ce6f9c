/** BuildKit's services behind `POST /grpc` by a client of our own: builds as buildx asks for them, refusals, and clients that go away. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { ProtoMessage, type ProtoWriter } from '#base/proto-wire.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { busyboxMissing, openRealEngine, type RealEngine } from '../real-engine.fixture.ts'
import { buildAsBuildx, BuildClient, hijacked, openSession, writeMap, type AskedBuild } from './build-client.fixture.ts'

suite('build services', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let socketPath: string
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'bgrp', subnet: '172.29.128.0/22' })
    socketPath = join(real.root, 'd.sock')
  })
  after(() => real[Symbol.asyncDispose]())

  const build = (client: BuildClient, asked: AskedBuild): ReturnType<typeof buildAsBuildx> => buildAsBuildx(client, socketPath, asked)

  test('the engine tells its worker, its version and its cache', async () => {
    using client = await BuildClient.open(socketPath)
    const [worker] = new ProtoMessage(await client.control('ListWorkers')).messages(1)
    assert.equal(worker?.message(3).string(2), 'linux')
    assert.notEqual(new ProtoMessage(await client.control('Info')).message(1).string(2), '')
    assert.deepEqual(new ProtoMessage(await client.control('DiskUsage')).messages(1), [])
    await assert.rejects(client.control('DiskUsage', (request) => request.string(1, 'odd==1')), /invalid filter odd==1/)
  })

  test('a build by the client’s own frontend becomes an image, and its steps are told', async () => {
    using client = await BuildClient.open(socketPath)
    const steps = client.steps('one')
    const { facts } = await build(client, { ref: 'one', dockerfile: 'FROM bb:1\nCOPY f /f\nRUN cat /f\n', context: { f: 'content' }, name: 'grpc:1' })
    const image = await real.engine.images.resolve('grpc:1')
    assert.deepEqual([...facts], [['containerimage.config.digest', image.id], ['containerimage.digest', image.id], ['image.name', 'docker.io/library/grpc:1']])
    assert.deepEqual((await steps).filter((name) => !name.startsWith('[internal] load metadata')).toSorted(), ['[1/3] FROM docker.io/library/bb:1', '[2/3] COPY f /f', '[3/3] RUN cat /f', '[internal] load build context', '[internal] load build definition from Dockerfile', 'exporting to image'].toSorted())
  })

  test('a frontend of the engine’s own serves clients that have none', async () => {
    using client = await BuildClient.open(socketPath)
    using session = await openSession(socketPath, 's-direct', { dockerfile: { Dockerfile: 'FROM bb:1\nENV DIRECT=1\n' }, context: {} })
    await client.control('Solve', (solve) => {
      solve.string(1, 'direct')
      solve.string(5, 's-direct')
      solve.string(6, 'dockerfile.v0')
      solve.string(3, 'image')
      writeMap(solve, 4, { name: 'grpc:direct' })
    })
    assert.ok((await real.engine.images.resolve('grpc:direct')).config.config?.Env?.includes('DIRECT=1'))
    assert.deepEqual(session.transfers.map(({ folder }) => folder), ['dockerfile', 'context'], 'no step needs the context: but for its ignore file nothing of it was sent')
  })

  test('of a context only what steps name is asked for; all of it where a trigger of the base needs more', async () => {
    using client = await BuildClient.open(socketPath)
    const context = { 'a/one': '1', 'a/two': '2', b: 'b', c: 'c', d: 'd', unused: '' }
    const asked = (transfers: Awaited<ReturnType<typeof build>>['transfers']): readonly (readonly string[])[] => transfers.filter(({ folder, follow }) => folder === 'context' && follow[0] !== '.dockerignore').map(({ follow }) => follow)
    const dockerfile = 'FROM bb:1 AS skipped\nCOPY unused /\nFROM bb:1\nARG WHERE=a\nENV B=b\nCOPY ./$WHERE/one /a/\nCOPY --chmod=600 $B c /x/\nRUN --mount=source=d,target=/d cat /d /x/*\n'
    assert.deepEqual(asked((await build(client, { ref: 'paths', dockerfile, context })).transfers), [['a/one', 'b', 'c', 'd']])
    assert.deepEqual(asked((await build(client, { ref: 'args', dockerfile, context, attributes: { 'build-arg:WHERE': 'a/../a' } })).transfers), [['a/one', 'b', 'c', 'd']])
    assert.deepEqual(asked((await build(client, { ref: 'all', dockerfile: 'FROM bb:1\nCOPY b /\nCOPY . /all/\n', context })).transfers), [[]])
    assert.deepEqual(asked((await build(client, { ref: 'none', dockerfile: 'FROM bb:1\nRUN true\n', context })).transfers), [])
    await build(client, { ref: 'base', dockerfile: 'FROM bb:1\nENV FROM_BASE=a\nONBUILD COPY c /triggered\n', name: 'with-trigger:1' })
    assert.deepEqual(asked((await build(client, { ref: 'trigger', dockerfile: 'FROM with-trigger:1\nCOPY b /\n', context })).transfers), [[]])
    assert.deepEqual(asked((await build(client, { ref: 'variable', dockerfile: 'FROM with-trigger:1\nCOPY $FROM_BASE /\n', context })).transfers), [[]])
  })

  test('files of a result can be looked into', async () => {
    using client = await BuildClient.open(socketPath)
    using session = await openSession(socketPath, 's-files', { dockerfile: { Dockerfile: 'FROM scratch\nCOPY f /deep/f\n' }, context: { f: 'content' } })
    void session
    const solving = client.control('Solve', (solve) => {
      solve.string(1, 'files')
      solve.string(5, 's-files')
    })
    const solved = await client.bridge('files', 'Solve', (solve) => solve.string(2, 'dockerfile.v0'))
    const ref = new ProtoMessage(solved).message(3).message(3).string(1)
    const ask = (method: string, path: string, fill: (writer: ProtoWriter) => void = () => undefined): Promise<ProtoMessage> =>
      client.bridge('files', method, (request) => {
        request.string(1, ref)
        request.string(2, path)
        fill(request)
      }).then((answer) => new ProtoMessage(answer))
    assert.equal((await ask('StatFile', '/deep/f')).message(1).integer(5), 7n)
    assert.equal((await ask('ReadFile', 'deep/f')).string(1), 'content')
    const part = await ask('ReadFile', 'deep/f', (request) => request.message(3, (range) => {
      range.varint(1, 2)
      range.varint(2, 3)
    }))
    assert.equal(part.string(1), 'nte')
    await assert.rejects(ask('StatFile', 'absent'), /absent: no such file or directory/)
    await client.bridge('files', 'Return')
    await solving
  })

  test('builds can be looked back at, until they are deleted', async () => {
    using client = await BuildClient.open(socketPath)
    await build(client, { ref: 'seen', dockerfile: 'FROM bb:1\n' })
    const listed = (fill: (request: ProtoWriter) => void = () => undefined): Promise<readonly ProtoMessage[]> => client.history((request) => {
      request.varint(3, 1)
      fill(request)
    })
    const [event] = await listed((request) => request.string(2, 'seen'))
    assert.deepEqual([event?.integer(1), event?.message(2).string(1), event?.message(2).stringMap(3).get('filename')], [1n, 'seen', 'Dockerfile'])
    assert.deepEqual(await listed((request) => request.varint(1, 1)), [], 'none is under way')
    await client.control('UpdateBuildHistory', (request) => {
      request.string(1, 'seen')
      request.varint(3, 1)
    })
    assert.deepEqual(await listed((request) => request.string(2, 'seen')), [])
  })

  test('failures are the client’s own where its frontend returns them', async () => {
    using client = await BuildClient.open(socketPath)
    await assert.rejects(build(client, { ref: 'bad', dockerfile: 'FROM bb:1\nRUM x\n' }), /unknown instruction: RUM/)
    await assert.rejects(build(client, { ref: 'failing', dockerfile: 'FROM bb:1\nRUN exit 9\n' }), /process "\/bin\/sh -c exit 9" did not complete successfully: exit code: 9/)
    await assert.rejects(build(client, { ref: 'platforms', dockerfile: 'FROM bb:1\n', attributes: { platform: 'linux/amd64,linux/arm64', 'multi-platform': '0' } }), /returning multiple target platforms is not allowed/)
    await assert.rejects(build(client, { ref: 'request', dockerfile: 'FROM bb:1\n', attributes: { requestid: 'frontend.odd' } }), /unsupported request frontend.odd/)
  })

  test('what is not there is refused: methods, frontends, definitions, exporters, sessions, protocols', async () => {
    using client = await BuildClient.open(socketPath)
    await assert.rejects(client.control('Odd'), (error) => isFault(error, 'unimplemented'))
    await assert.rejects(client.call('/odd', Buffer.alloc(0)), (error) => isFault(error, 'unimplemented'))
    await assert.rejects(client.control('Solve', (solve) => {
      solve.string(1, 'gateway')
      solve.string(6, 'gateway.v0')
    }), /the frontend gateway.v0 is not supported/)
    await assert.rejects(client.control('Solve', (solve) => {
      solve.string(1, 'llb')
      solve.message(2, (definition) => definition.bytes(1, Buffer.from('op')))
    }), /LLB definitions are not supported/)
    await assert.rejects(client.control('Solve', (solve) => {
      solve.string(1, 'exporter')
      solve.string(3, 'odd')
    }), /exporter "odd" could not be found/)
    await assert.rejects(client.bridge('', 'Ping'), /no buildid/)
    await assert.rejects(hijacked(socketPath, '/grpc', { upgrade: 'other' }), /400/)
  })

  test('a message that is cut, of no kind, or too large ends its call alone', async () => {
    using client = await BuildClient.open(socketPath)
    await assert.rejects(client.call('/moby.buildkit.v1.Control/Solve', Buffer.from([0x0a, 0x7f])), /malformed protobuf/)
    await assert.rejects(client.call('/moby.buildkit.v1.Control/Solve', Buffer.alloc((16 << 20) + 1)), /at most 16777216 are read/)
    await client.control('Info')
  })

  test('whatever bytes come, the connection or the call alone suffers', async () => {
    const unaryMethods = ['ListWorkers', 'Info', 'DiskUsage', 'UpdateBuildHistory'].map((name) => `/moby.buildkit.v1.Control/${name}`)
    using client = await BuildClient.open(socketPath)
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...unaryMethods), fc.uint8Array({ maxLength: 60 }), async (method, bytes) => {
        const [outcome] = await Promise.allSettled([client.call(method, Buffer.from(bytes))])
        assert.ok(outcome.status === 'fulfilled' || isFault(outcome.reason), JSON.stringify(outcome))
      }),
    )
    await client.control('Info')
    const garbage = await hijacked(socketPath, '/grpc')
    const closed = new Promise<void>((done) => garbage.once('close', () => done()))
    garbage.on('error', () => garbage.destroy())
    garbage.resume().write('no preface of HTTP/2\r\n\r\n'.repeat(10))
    await closed
    await client.control('Info')
  })

  test('what a build said is there for who asks when it is over', async () => {
    using client = await BuildClient.open(socketPath)
    await build(client, { ref: 'late', dockerfile: 'FROM bb:1\n' })
    assert.ok((await client.steps('late')).includes('exporting to image'))
  })

  test('a session goes with its client, however that ends', async () => {
    using client = await BuildClient.open(socketPath)
    const folders = { dockerfile: { Dockerfile: 'FROM bb:1\n' }, context: {} }
    const first = await openSession(socketPath, 's-twice', folders)
    first[Symbol.dispose]()
    for (let round = 0, isServed = false; !isServed; round += 1) {
      assert.ok(round < 100, 'the id was not free again')
      using second = await openSession(socketPath, 's-twice', folders)
      void second
      const solved = client.control('Solve', (solve) => {
        solve.string(1, `twice-${round}`)
        solve.string(5, 's-twice')
        solve.string(6, 'dockerfile.v0')
      })
      isServed = (await Promise.allSettled([solved]))[0].status === 'fulfilled'
    }
  })

  test('a client that goes away ends its builds', async () => {
    const client = await BuildClient.open(socketPath)
    const solving = client.control('Solve', (solve) => solve.string(1, 'left'))
    await client.bridge('left', 'Ping')
    client[Symbol.dispose]()
    await assert.rejects(solving)
    // The ref is free as soon as nothing of the build is left.
    using next = await BuildClient.open(socketPath)
    for (let isLeft = true; isLeft; ) {
      const [again] = await Promise.allSettled([next.control('Solve', (solve) => solve.string(1, 'left')), next.bridge('left', 'Return')])
      isLeft = again.status === 'rejected'
      if (again.status === 'rejected') assert.match(messageOf(again.reason), /left already exists/)
    }
  })
})

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : ''
}
