/** The Engine API on the wire, over fakes: versions, errors, hijacked streams, early headers, framing. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { humanDuration } from '#base/human.ts'
import { fakeImage } from '../containers/fakes.ts'
import { openTestApi, type TestApi } from './api.fixture.ts'
import { changedDefaults, mergedDefaults } from './changes.ts'
import { containerSpecOf } from './container-spec.ts'
import { mountOfBind } from './create/mounts.ts'
import { JsonInput } from './json-input.ts'
import { pruneOptionsOf } from './routes/build-prune.ts'
import { referenceMatches } from './routes/images.ts'
import { frame } from './streams.ts'

let api: TestApi
let socketPath: string
let call: TestApi['call']
let created: TestApi['created']

before(async () => {
  api = await openTestApi()
  ;({ socketPath, call, created } = api)
})

after(async () => {
  await api[Symbol.asyncDispose]()
})

/** Everything the server says on one raw connection; `input` is sent after the head, then half-closed. */
async function raw(path: string, input: string, options: { readonly body?: string; readonly onHead?: () => void } = {}): Promise<string> {
  const socket = connect({ path: socketPath, allowHalfOpen: true })
  const { body = '' } = options
  socket.write(`POST ${path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n${body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`}\r\n${body}`)
  let text = ''
  let told = false
  for await (const chunk of socket) {
    text += Buffer.from(chunk).toString('latin1')
    if (!told && text.includes('\r\n\r\n')) {
      told = true
      options.onHead?.()
      socket.end(input)
    }
  }
  return text
}

test('ping tells the versions and that there is no BuildKit', async () => {
  const { status, headers, body } = await call('GET', '/_ping')
  assert.equal(status, 200)
  assert.equal(body.toString(), 'OK')
  assert.equal(headers['api-version'], '1.50')
  assert.equal(headers['builder-version'], '1')
  const { expected } = api.runtime
  assert.equal((await call('HEAD', '/_ping')).body.length, 0)
  // The first word of a command: what that may have to wait for begins.
  assert.equal(api.runtime.expected, expected + 1)
})

test('versions outside the range and unknown paths are refused in Docker’s words', async () => {
  assert.deepEqual((await call('GET', '/v1.99/info')).json(), { message: 'client version 1.99 is too new. Maximum supported API version is 1.50' })
  assert.match(String((await call('GET', '/v1.12/info')).json()['message']), /^client version 1\.12 is too old\. Minimum supported API version is 1\.24/)
  const missing = await call('GET', '/v1.41/nope')
  assert.equal(missing.status, 404)
  assert.deepEqual(missing.json(), { message: 'page not found' })
})

test('create refuses an empty config, a body that is no JSON, and an unknown image', async () => {
  assert.deepEqual((await call('POST', '/containers/create', {})).json(), { message: 'Config cannot be empty in order to create a container' })
  const unknown = await call('POST', '/containers/create', { Image: 'nope', Cmd: ['x'] })
  assert.equal(unknown.status, 404)
  assert.deepEqual(unknown.json(), { message: 'No such image: nope:latest' })
  const wrongType = await call('POST', '/containers/create', { Image: 'bb:1', HostConfig: { Memory: 'lots' } })
  assert.deepEqual(wrongType.json(), { message: 'HostConfig.Memory must be a number' })
})

test('attach before start, half-close of stdin, framed output, and a wait that answers its headers first', async () => {
  const id = await created(['cat'], { OpenStdin: true, StdinOnce: true, AttachStdin: true })
  const waiting = request({ socketPath, method: 'POST', path: `/v1.50/containers/${id}/wait?condition=next-exit` })
  waiting.end()
  const [head]: IncomingMessage[] = await once(waiting, 'response')
  assert.equal(head?.statusCode, 200)
  const text = await raw(`/v1.50/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`, 'typed', { onHead: () => void call('POST', `/containers/${id}/start`) })
  const [headers = '', body = ''] = text.split('\r\n\r\n')
  assert.match(headers, /^HTTP\/1\.1 101 UPGRADED\r\nContent-Type: application\/vnd\.docker\.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp$/)
  assert.equal(body, '\x01\0\0\0\0\0\0\x05typed')
  let answer = ''
  if (head !== undefined) for await (const chunk of head) answer += String(chunk)
  assert.deepEqual(JSON.parse(answer), { StatusCode: 0 })
})

test('an attach that is refused gets an ordinary error on the upgraded connection', async () => {
  const text = await raw('/v1.41/containers/nope/attach?stream=1&stdout=1', '')
  assert.match(text, /^HTTP\/1\.1 404 Not Found\r\n/)
  assert.match(text, /\{"message":"No such container: nope"\}$/)
})

test('exec with a JSON body in the upgrade request; what cannot start is said in the stream', async () => {
  const id = await created(['wait'])
  await call('POST', `/containers/${id}/start`)
  const exec = async (command: readonly string[]): Promise<string> => String((await call('POST', `/containers/${id}/exec`, { Cmd: command, AttachStdout: true, AttachStderr: true, AttachStdin: true })).json()['Id'])
  const cat = await exec(['cat'])
  const body = JSON.stringify({ Detach: false, Tty: false })
  const answer = await raw(`/v1.41/exec/${cat}/start`, 'abc', { body })
  assert.match(answer, /Content-Type: application\/vnd\.docker\.raw-stream/)
  assert.ok(answer.endsWith('\r\n\r\n\x01\0\0\0\0\0\0\x03abc'))
  assert.equal((await call('GET', `/exec/${cat}/json`)).json()['ExitCode'], 0)
  const missing = await exec(['nosuch'])
  assert.match(await raw(`/v1.41/exec/${missing}/start`, '', { body }), /OCI runtime exec failed: .*executable file not found in \$PATH: unknown\r\n$/s)
  assert.equal((await call('GET', `/exec/${missing}/json`)).json()['ExitCode'], 127)
  await call('POST', `/containers/${id}/kill`)
})

test('start twice is 304, a stopped container cannot be killed, stop twice is 304', async () => {
  const id = await created(['wait'])
  assert.equal((await call('POST', `/containers/${id}/start`)).status, 204)
  assert.equal((await call('POST', `/containers/${id}/start`)).status, 304)
  assert.equal((await call('POST', `/containers/${id}/stop?t=1`)).status, 204)
  assert.equal((await call('POST', `/containers/${id}/stop`)).status, 304)
  const killed = await call('POST', `/containers/${id}/kill`)
  assert.equal(killed.status, 409)
  assert.deepEqual(killed.json(), { message: `Cannot kill container: ${id}: Container ${id} is not running` })
})

test('inspect shows what was asked for, shaped by the version', async () => {
  const id = await created(['wait'], { Env: ['A=b'], HostConfig: { Binds: ['vol1:/data', '/tmp:/t:ro'], PortBindings: { '80/tcp': [{ HostPort: '8080' }] }, Memory: 64 << 20 } })
  await call('POST', `/containers/${id}/start`)
  const shown = (await call('GET', `/v1.41/containers/${id}/json`)).json()
  const hostConfig = Object(shown['HostConfig'])
  assert.equal(hostConfig.Memory, 64 << 20)
  assert.equal(hostConfig.MemorySwap, 128 << 20)
  assert.deepEqual(Object(shown['Config']).Env, ['A=b', 'PATH=/bin', 'FROM_IMAGE=1'])
  assert.deepEqual(Object(shown['NetworkSettings']).Ports, { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }] })
  assert.deepEqual(Object(shown['Mounts']).map((mount: Record<string, unknown>) => [mount['Type'], mount['Destination'], mount['RW']]), [['volume', '/data', true], ['bind', '/t', false]])
  const rows: Record<string, unknown>[] = JSON.parse((await call('GET', '/v1.41/containers/json?filters=%7B%22status%22%3A%5B%22running%22%5D%7D')).body.toString())
  assert.ok(rows.some((row) => row['Id'] === id && row['State'] === 'running'))
  await call('DELETE', `/containers/${id}?force=1`)
})

test('inspect before, after and instead of a first start: names, addresses, and what this machine cannot limit', async () => {
  const inspect = async (id: string, version = '1.41'): Promise<{ config: Record<string, unknown>; hostConfig: Record<string, unknown>; bridge: Record<string, unknown>; mounts: unknown[] }> => {
    const shown = (await call('GET', `/v${version}/containers/${id}/json`)).json()
    return { config: Object(shown['Config']), hostConfig: Object(shown['HostConfig']), bridge: Object(Object(Object(shown['NetworkSettings'])['Networks'])['bridge']), mounts: [...Object(shown['Mounts'])] }
  }
  const host = await created(['nosuch'], { MacAddress: '02:42:ac:11:00:99', HostConfig: { UTSMode: 'host', BlkioWeightDevice: [{ Path: '/dev/vda', Weight: 400 }] } })
  const before = await inspect(host)
  assert.equal(before.config['Hostname'], host.slice(0, 12))
  assert.deepEqual([before.config['MacAddress'], before.bridge['MacAddress'], before.bridge['NetworkID']], ['02:42:ac:11:00:99', '', ''])
  assert.deepEqual(before.hostConfig['BlkioWeightDevice'], [])
  assert.equal((await inspect(host, '1.50')).bridge['MacAddress'], '02:42:ac:11:00:99')
  // The network had been joined when the program was not found.
  assert.equal((await call('POST', `/containers/${host}/start`)).status, 400)
  assert.equal((await inspect(host)).bridge['NetworkID'], 'b'.repeat(64))
  assert.equal((await inspect(host, '1.50')).bridge['MacAddress'], '')

  const donor = await created(['wait'], { Hostname: 'box', Domainname: 'example.test', HostConfig: { Binds: ['vol1:/data'] } })
  await call('POST', `/containers/${donor}/start`)
  const guest = await created(['wait'], { HostConfig: { NetworkMode: `container:${donor}`, VolumesFrom: [`${donor}:ro`] } })
  assert.equal((await inspect(guest)).config['Hostname'], guest.slice(0, 12))
  assert.deepEqual((await inspect(guest)).mounts.map((mount) => [Object(mount).Mode, Object(mount).RW]), [['', false]])
  assert.equal((await call('POST', `/containers/${guest}/start`)).status, 204)
  assert.deepEqual([(await inspect(guest)).config['Hostname'], (await inspect(guest)).config['Domainname']], ['box', 'example.test'])
  for (const id of [host, guest, donor]) await call('DELETE', `/containers/${id}?force=1`)
})

test('events are replayed with exact nanoseconds and filtered', async () => {
  const id = await created(['true'])
  const until = Math.ceil(systemClock.nowMs() / 1000)
  const { body } = await call('GET', `/events?since=1&until=${until - 0.001}&filters=${encodeURIComponent(JSON.stringify({ container: [id], event: ['create'] }))}`)
  assert.match(body.toString(), new RegExp(`^\\{"status":"create","id":"${id}","from":"bb:1","Type":"container","Action":"create".*"timeNano":\\d{19}\\}\\n$`))
})

test('an unknown image filter value lists nothing; images keep their words for old clients', async () => {
  const [image]: Record<string, unknown>[] = JSON.parse((await call('GET', '/v1.41/images/json')).body.toString())
  assert.equal(image?.['Id'], fakeImage.id)
  assert.equal(image?.['VirtualSize'], 100)
  const [newer]: Record<string, unknown>[] = JSON.parse((await call('GET', '/v1.50/images/json')).body.toString())
  assert.equal('VirtualSize' in (newer ?? {}), false)
})

test('binds, durations, image patterns and changes are read as Docker reads them', () => {
  assert.deepEqual(mountOfBind('/a:/b:ro'), { type: 'bind', source: '/a', target: '/b', readonly: true, readonlyDepth: 'recursive', mode: 'ro', createSource: true, propagation: 'rprivate' })
  assert.deepEqual(mountOfBind('data:/b'), { type: 'volume', name: 'data', target: '/b', readonly: false, readonlyDepth: 'recursive', mode: 'z', noCopy: false })
  assert.throws(() => mountOfBind('rel/path:x'), /invalid mount path: 'x' mount path must be absolute/)
  assert.throws(() => mountOfBind('/a:ro'), /invalid volume specification: '.a:ro'/)
  assert.throws(() => mountOfBind('/a:/b:ro,rw'), /invalid mode: ro,rw/)
  assert.deepEqual([0, 1000, 59_000, 60_000, 3_600_000, 86_400_000 * 3].map(humanDuration), ['Less than a second', '1 second', '59 seconds', 'About a minute', 'About an hour', '3 days'])
  assert.ok(referenceMatches('busybox:1.36', 'busybox') && referenceMatches('busybox:1.36', 'busybox:1.*') && !referenceMatches('a/busybox:1', 'busybox'))
  assert.deepEqual(changedDefaults({ Env: ['A=1'] }, ['CMD ["x","y"]', 'ENV A=2 B="c d"', 'EXPOSE 80']), { Env: ['A=2', 'B=c d'], Cmd: ['x', 'y'], ExposedPorts: { '80/tcp': {} } })
  assert.deepEqual(frame({ channel: 'stderr', data: Buffer.from('x') }), Buffer.from([2, 0, 0, 0, 0, 0, 0, 1, 120]))
})

test('changes of a commit: variables keep their places, a relative WORKDIR goes on from the old one, an entrypoint takes the command away unless CMD stands before it', () => {
  const own = { Env: ['A=1', 'B=2'], Cmd: ['old'], WorkingDir: '/srv', Labels: { a: '1' }, ExposedPorts: { '80/tcp': {} } }
  const changed = changedDefaults(own, ['ENV A=3', 'WORKDIR sub', 'ENTRYPOINT ["e"]'])
  assert.deepEqual([changed.Env, changed.WorkingDir, changed.Cmd, changed.Entrypoint], [['A=3', 'B=2'], '/srv/sub', null, ['e']])
  assert.deepEqual(changedDefaults(own, ['CMD ["c"]', 'ENTRYPOINT ["e"]']).Cmd, ['c'])
  const merged = mergedDefaults({ Env: ['B=9'], Entrypoint: ['x'], Labels: { b: '2' }, ExposedPorts: { '81/udp': {} } }, own)
  assert.deepEqual([merged.Env, merged.Cmd, merged.Entrypoint, merged.WorkingDir, merged.Labels, merged.ExposedPorts], [['B=9', 'A=1'], null, ['x'], '/srv', { a: '1', b: '2' }, { '80/tcp': {}, '81/udp': {} }])
  assert.deepEqual(mergedDefaults({}, own).Cmd, ['old'])
})

test('doubled slashes and dots lead to the clean path, and the list of networks has one with a slash at its end', async () => {
  const { status, headers } = await call('GET', '/v1.41//containers/./json?all=1')
  assert.deepEqual([status, headers['location']], [301, '/v1.41/containers/json?all=1'])
  assert.deepEqual([(await call('GET', '/v1.41/networks/')).status, (await call('GET', '/v1.41/info/')).status], [200, 404])
})

test('refusals of kill and rename say first what was being done', async () => {
  const [taken, other] = [await created(['true']), await created(['true'])]
  assert.equal((await call('POST', `/containers/${taken}/rename?name=taken`)).status, 204)
  const message = async (path: string): Promise<unknown> => Reflect.get(Object((await call('POST', path)).json()), 'message')
  assert.equal(await message('/containers/nobody/kill'), 'Cannot kill container: nobody: No such container: nobody')
  assert.match(String(await message(`/containers/${other}/rename?name=taken`)), /^Error when allocating new name: Conflict\. The container name "\/taken" is already in use by container "[0-9a-f]{64}"/)
  assert.equal(await message(`/containers/${other}/rename?name=_`), 'Error when allocating new name: Invalid container name (/_), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed')
})

test('an inspected image has the ContainerConfig that docker-compose 1.29 needs, in the newest version too', async () => {
  for (const version of ['1.41', '1.50']) {
    const { status, json } = await call('GET', `/v${version}/images/bb:1/json`)
    assert.equal(status, 200)
    assert.equal(Object.hasOwn(Object(json()), 'ContainerConfig'), true, version)
  }
})

test('a field of a body is found in whatever case it is written, the exact one first', () => {
  const input = JsonInput.of({ image: 'lower', Image: 'exact', hostconfig: { MEMORY: 5 } }, '')
  assert.equal(input.string('Image'), 'exact')
  assert.equal(input.object('HostConfig').number('Memory'), 5)
  assert.equal(input.has('Missing'), false)
})

test('any JSON as a create body is taken or refused with a reason, never an internal error', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (body, hostConfig) => {
      for (const candidate of [body, { Image: 'bb:1', HostConfig: hostConfig }, { Image: 'bb:1', HostConfig: { PortBindings: hostConfig, Mounts: hostConfig, Binds: hostConfig } }]) {
        try {
          containerSpecOf({ body: candidate, name: undefined, platform: undefined, minorVersion: 50, machine: { architecture: 'amd64', kernelRelease: '6.1.0', runtimes: new Set() } })
        } catch (error) {
          assert.ok(isFault(error, 'invalidArgument') || isFault(error, 'unimplemented'), String(error))
        }
      }
    }),
  )
})

test('builder prune takes one value per filter, and its bounds by the version of the client', () => {
  const entry = { id: 'abc1', parentId: 'p', type: 'regular', description: 'RUN x', sizeBytes: 1, createdAtNs: 0n, lastUsedAtNs: 0n, usageCount: 1, inUse: false, shared: true } as const
  const options = (filters: object, query: Readonly<Record<string, string>> = {}, minorVersion = 50): ReturnType<typeof pruneOptionsOf> => pruneOptionsOf({ query: new URLSearchParams({ ...query, filters: JSON.stringify(filters) }), minorVersion, backend: { clock: systemClock } })
  const matched = [{ id: ['^abc'] }, { parent: ['p'] }, { type: ['regular'] }, { description: ['RUN x'] }, { shared: [] }, { shared: ['true'] }, { private: ['false'] }, { inuse: ['0'] }, { id: ['1'], shared: ['1'] }]
  for (const filters of matched) assert.equal(options(filters).matches?.(entry), true, JSON.stringify(filters))
  for (const filters of [{ id: ['bcd'] }, { parent: [''] }, { type: ['frontend'] }, { private: [] }, { inuse: [] }, { id: ['abc'], type: ['internal'] }]) assert.equal(options(filters).matches?.(entry), false, JSON.stringify(filters))
  assert.equal(options({ until: ['24h'] }).matches, undefined)
  assert.equal(Math.round((options({ 'unused-for': ['24h'] }).unusedForMs ?? 0) / 1000), 86_400)
  const { reservedBytes, maxUsedBytes, minFreeBytes } = options({}, { 'keep-storage': '5', 'max-used-space': '7', 'min-free-space': '9' })
  assert.deepEqual([reservedBytes, maxUsedBytes, minFreeBytes], [5, 7, 9])
  assert.deepEqual([options({}, { 'reserved-space': '6', 'keep-storage': '5' }).reservedBytes, options({}, { 'reserved-space': '6', 'keep-storage': '5', 'max-used-space': '7' }, 47).reservedBytes, options({}, { 'max-used-space': '7' }, 47).maxUsedBytes], [6, 5, undefined])
  for (const [filters, words] of [[{ id: ['a', 'b'] }, 'filters expect only one value'], [{ until: ['1h'], 'unused-for': ['1h'] }, 'conflicting filters: "until" and "unused-for"'], [{ odd: ['x'] }, "invalid filter 'odd'"]] as const) assert.throws(() => options(filters), { message: words })
  assert.throws(() => options({}, { 'max-used-space': 'x' }), { message: 'max-used-space is in bytes and expects an integer, got x' })
})
