/** What no client should send, and what clients that vanish leave behind: a documented status, an engine that lives on, nothing leaked. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { openTestApi, type TestApi } from './api.fixture.ts'
import { withoutClosers } from './json-input.ts'

let api: TestApi

before(async () => {
  api = await openTestApi()
})

after(async () => {
  await api[Symbol.asyncDispose]()
})

async function refused(method: string, path: string, wanted: { readonly status: number; readonly message: RegExp; readonly body?: unknown; readonly type?: string }): Promise<void> {
  const answer = await api.call(method, path, wanted.body, wanted.type === undefined ? {} : { 'Content-Type': wanted.type })
  assert.equal(answer.status, wanted.status, `${method} ${path}: ${answer.body.toString()}`)
  assert.match(String(answer.json()['message']), wanted.message)
}

async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    if (await holds()) return
    await delay(10)
  }
  assert.fail(what)
}

function connections(): Promise<number> {
  return new Promise((resolve, reject) => api.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))))
}

/** Sockets and pipes of this process that keep it alive. */
function openHandles(): number {
  return process.getActiveResourcesInfo().filter((name) => /^(Pipe|TCP)/.test(name)).length
}

// ---- words ---------------------------------------------------------------------------------------------------------------

test('a body that is no JSON, or not called so, is refused', async () => {
  await refused('POST', '/containers/create', { status: 400, message: /request body is not JSON/, body: '{"Image":' })
  await refused('POST', '/containers/create', { status: 400, message: /request body is not JSON/, body: '{"Image":"bb:1"} trailing' })
  await refused('POST', '/containers/create', { status: 400, message: /must be 'application\/json'/, body: '{"Image":"bb:1"}', type: 'text/plain' })
  await refused('POST', '/networks/create', { status: 400, message: /must be 'application\/json'/, body: 'Name=x', type: 'application/x-www-form-urlencoded' })
  await refused('POST', '/volumes/create', { status: 400, message: /JSON object/, body: [] })
  await refused('POST', '/containers/create', { status: 400, message: /JSON object/, body: '"text"' })
  assert.equal((await api.call('POST', '/containers/create', { Image: 'bb:1' }, { 'Content-Type': 'Application/JSON; charset=utf-8' })).status, 201)
})

test('a closing bracket too many goes unnoticed, as with dockerd', () => {
  const kept = (text: string): string => withoutClosers(Buffer.from(text)).toString()
  assert.equal(kept('{"a":["}\\"]"]} }, more'), '{"a":["}\\"]"]}')
  for (const text of ['{"a":1}', '{"a":1} trailing', '{"a":1}{}', '{"a":', '"}"', '}', '']) assert.equal(kept(text), text)
})

test('unknown fields are passed over, wrong types are named by their path', async () => {
  const { status, body: answer } = await api.call('POST', '/containers/create', { Image: 'bb:1', Surprise: { deep: [1] }, HostConfig: { Surprise: 1, TmpFs: { '/x': 'rw' } } })
  assert.equal(status, 201)
  // Kept under the API's spelling, where the client had its own.
  const { HostConfig: shown }: { HostConfig: object } = JSON.parse((await api.call('GET', `/containers/${JSON.parse(answer.toString()).Id}/json`)).body.toString())
  assert.deepEqual([Reflect.get(shown, 'Tmpfs'), Reflect.has(shown, 'TmpFs'), Reflect.has(shown, 'Surprise')], [{ '/x': 'rw' }, false, false])
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ Image: 5 }, /^Image must be a string$/],
    [{ Image: 'bb:1', Labels: [] }, /^Labels must be a JSON object$/],
    [{ Image: 'bb:1', Labels: { a: 1 } }, /^Labels\.a must be a string$/],
    [{ Image: 'bb:1', Env: [1] }, /^Env must be a list of strings$/],
    [{ Image: 'bb:1', Tty: 'yes' }, /^Tty must be true or false$/],
    [{ Image: 'bb:1', HostConfig: 'x' }, /^HostConfig must be a JSON object$/],
    [{ Image: 'bb:1', HostConfig: { Memory: '1g' } }, /^HostConfig\.Memory must be a number$/],
    [{ Image: 'bb:1', HostConfig: { Mounts: [{ Type: 'bind', Target: 1 }] } }, /^HostConfig\.Mounts\[0\]\.Target must be a string$/],
    [{ Image: 'bb:1', HostConfig: { PortBindings: { '80/tcp': [{ HostPort: 80 }] } } }, /^HostConfig\.PortBindings\.80\/tcp\[0\]\.HostPort must be a string$/],
    [{ Image: 'bb:1', NetworkingConfig: { EndpointsConfig: { bridge: { Aliases: 'x' } } } }, /^NetworkingConfig\.EndpointsConfig\.bridge\.Aliases must be a list$/],
  ]
  for (const [body, message] of wrong) await refused('POST', '/containers/create', { status: 400, message, body })
})

test('field names fit in any case, the exact one first; of two equal ones the last holds', async () => {
  const { status, json } = await api.call('POST', '/containers/create', '{"image":"nope","Image":"bb:1","Image":"bb:1","labels":{"a":"1","a":"2"}}')
  assert.equal(status, 201)
  const shown = (await api.call('GET', `/containers/${String(json()['Id'])}/json`)).json()
  assert.equal(Object(shown['Config']).Labels.a, '2')
})

test('keys such as __proto__ and constructor are labels like others', async () => {
  const { json } = await api.call('POST', '/containers/create', '{"Image":"bb:1","Labels":{"__proto__":"p","constructor":"c","toString":"t"},"__proto__":{"HostConfig":{"Privileged":true}}}')
  const { body } = await api.call('GET', `/containers/${String(json()['Id'])}/json`)
  assert.match(body.toString(), /"__proto__":"p"/)
  assert.match(body.toString(), /"constructor":"c"/)
  assert.equal(Object(JSON.parse(body.toString())).HostConfig.Privileged, false)
  const filters = encodeURIComponent('{"label":["__proto__=p"]}')
  assert.equal(JSON.parse((await api.call('GET', `/containers/json?all=1&filters=${filters}`)).body.toString()).length, 1)
  assert.equal(Reflect.get({}, 'HostConfig'), undefined)
})

test('10,000 labels are kept and shown; 9 MB of JSON are refused', async () => {
  const labels = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`label-${index}`, `value ${index}`]))
  const id = await api.created(['true'], { Labels: labels })
  const shown = (await api.call('GET', `/containers/${id}/json`)).json()
  assert.equal(Object.keys(Object(shown['Config']).Labels).filter((name) => name.startsWith('label-')).length, 10_000)
  await refused('POST', '/containers/create', { status: 413, message: /longer than the 8388608 bytes/, body: { Image: 'bb:1', Env: ['x'.repeat(9 << 20)] } })
})

test('numbers, times and filters in the query that are none are refused', async () => {
  const id = await api.created(['true'])
  for (const [method, path, message] of [
    ['GET', '/containers/json?limit=x', /strconv\.Atoi: parsing "x": invalid syntax/],
    ['POST', `/containers/${id}/stop?t=soon`, /parsing "soon"/],
    ['POST', `/containers/${id}/resize?h=a&w=b`, /parsing "a"/],
    ['POST', `/containers/${id}/resize`, /both h and w/],
    ['GET', `/containers/${id}/logs?stdout=1&since=yesterday`, /'since' must be seconds/],
    ['GET', '/events?until=later', /'until' must be seconds/],
    ['GET', '/events?since=20&until=10', /cannot be after/],
    ['GET', '/containers/json?filters=%7B', /not JSON/],
    ['GET', '/containers/json?filters=%5B%5D', /invalid filter/],
    ['GET', '/containers/json?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D', /invalid filter 'nope'/],
    ['GET', '/containers/json?filters=%7B%22status%22%3A3%7D', /invalid filter/],
    ['GET', '/images/search?term=x&limit=1000', /outside the range/],
    ['GET', '/system/df?type=network', /unknown object type: network/],
    ['POST', `/containers/${id}/wait?condition=never`, /invalid condition: "never"/],
  ] as const) await refused(method, path, { status: 400, message })
})

test('names with slashes, dots, NUL and broken percent-encoding reach nothing', async () => {
  for (const name of ['..%2F..%2Fetc', '%2Fetc%2Fpasswd', 'a%2Fb', '%00', '.', '%2e%2e']) {
    const { status } = await api.call('GET', `/v1.50/containers/${name}/json`)
    // A dot is cleaned out of the path, as Go's routers do.
    assert.equal(status, name === '.' ? 301 : 404, name)
  }
  await refused('GET', '/containers/%zz/json', { status: 400, message: /percent-encoded/ })
  for (const name of ['a/b', '../x', 'x y', '', '\0', '-lead', 'é', 'x'.repeat(3000)].filter((each) => each !== '')) {
    const { status } = await api.call('POST', `/containers/create?name=${encodeURIComponent(name)}`, { Image: 'bb:1' })
    assert.ok(status === 400 || (name.length > 255 && status === 201), `${JSON.stringify(name)}: ${status}`)
  }
})

test('a head longer than a megabyte is 431, noise is 400, and the engine answers the next', async () => {
  const say = async (text: string): Promise<string> => {
    const socket = connect(api.socketPath)
    let answer = ''
    socket.on('data', (chunk) => (answer += String(chunk)))
    socket.on('error', () => undefined)
    // An answer that comes before all was sent ends the connection.
    socket.write(text, () => undefined)
    await new Promise<void>((resolve) => socket.once('close', () => resolve()))
    return answer
  }
  assert.match(await say(`GET /_ping HTTP/1.1\r\nHost: x\r\nX-Long: ${'y'.repeat(2 << 20)}\r\n\r\n`), /^HTTP\/1\.1 431 /)
  assert.match(await say('\x16\x03\x01 this is no HTTP\r\n\r\n'), /^HTTP\/1\.1 400 /)
  assert.equal((await api.call('GET', '/_ping', undefined, { 'X-Registry-Config': 'y'.repeat(500_000) })).status, 200)
})

test('whatever JSON is sent to what takes JSON, the answer is never an internal error', async () => {
  const targets = ['/containers/create', '/networks/create', '/volumes/create', '/auth', '/containers/nope/update', '/containers/nope/exec', '/exec/nope/start', '/networks/nope/connect']
  const field = fc.constantFrom('Image', 'Cmd', 'Env', 'Labels', 'HostConfig', 'NetworkingConfig', 'Healthcheck', 'ExposedPorts', 'Volumes', 'Name', 'Driver', 'IPAM', 'Options', 'DriverOpts')
  const inner = fc.constantFrom('Binds', 'Mounts', 'PortBindings', 'Memory', 'Ulimits', 'RestartPolicy', 'LogConfig', 'Devices', 'SecurityOpt', 'Sysctls', 'Tmpfs', 'NetworkMode', 'PidMode', 'ExtraHosts', 'BlkioWeightDevice', 'ConsoleSize', 'Dns', 'CapAdd')
  const body = fc.oneof(fc.jsonValue(), fc.dictionary(field, fc.jsonValue()), fc.record({ Image: fc.constant('bb:1'), HostConfig: fc.dictionary(inner, fc.jsonValue()) }))
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...targets), body, async (path, value) => {
      const { status, body: answer } = await api.call('POST', path, JSON.stringify(value))
      assert.ok(status < 500 || status === 501, `${path} ${JSON.stringify(value)}: ${status} ${answer.toString()}`)
    }),
    { numRuns: 400 },
  )
})

// ---- clients that vanish -------------------------------------------------------------------------------------------------

/** Sends the first `sent` bytes, waits for the first `heard` bytes of the answer (or its end), and is gone. */
async function vanish(bytes: Buffer, sent: number, heard: number): Promise<void> {
  const socket = connect({ path: api.socketPath, allowHalfOpen: true })
  socket.on('error', () => undefined)
  let received = 0
  const enough = new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      received += chunk.length
      if (received >= heard) resolve()
    })
    socket.once('end', resolve)
    socket.once('close', () => resolve())
  })
  await new Promise<void>((resolve) => socket.write(bytes.subarray(0, sent), () => resolve()))
  if (heard > 0) await enough
  const closed = once(socket, 'close')
  socket.destroy()
  await closed
}

/** How many bytes are answered: the head, then one frame with the echo of the input. */
async function answerLength(bytes: Buffer): Promise<number> {
  const socket = connect({ path: api.socketPath, allowHalfOpen: true })
  socket.write(bytes)
  let answer = ''
  for await (const chunk of socket) {
    answer += Buffer.from(chunk).toString('latin1')
    if (answer.includes('\r\n\r\n')) break
  }
  return answer.indexOf('\r\n\r\n') + 4 + 8 + 'typed\n'.length
}

function upgradeRequest(path: string, body: string): Buffer {
  const json = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
  return Buffer.from(`POST ${path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n${json}\r\n${body}`)
}

test('an attached client may vanish at any byte of its request, its input or the answer', async () => {
  const id = await api.created(['cat'], { OpenStdin: true })
  await api.call('POST', `/containers/${id}/start`)
  const handles = openHandles()
  const head = upgradeRequest(`/containers/${id}/attach?stream=1&stdin=1&stdout=1`, '')
  const whole = Buffer.concat([head, Buffer.from('typed\n')])
  for (let sent = 0; sent <= whole.length; sent += 1) await vanish(whole, sent, 0)
  const answered = await answerLength(whole)
  for (let heard = 1; heard <= answered; heard += 1) await vanish(whole, whole.length, heard)
  await eventually(async () => (await connections()) === 0, 'a connection stayed open')
  await eventually(() => openHandles() <= handles, `handles: ${openHandles()}, before ${handles}`)
  const sinks = Object(api.runtime.live.get(id)).sinks
  await eventually(() => sinks.size <= 1, `${String(sinks.size)} sinks stayed`)
  assert.equal((await api.call('GET', `/containers/${id}/json`)).status, 200)
  assert.equal(Object((await api.call('GET', `/containers/${id}/json`)).json()['State']).Running, true, 'the container runs on')
  await api.call('DELETE', `/containers/${id}?force=1`)
})

test('a client of an exec may vanish at any byte; the exec ends, for its input has', async () => {
  const id = await api.created(['wait'])
  await api.call('POST', `/containers/${id}/start`)
  const handles = openHandles()
  const body = '{"Detach":false,"Tty":false}'
  const started: string[] = []
  const attempt = async (cut: (whole: Buffer) => Promise<void>): Promise<void> => {
    const execId = String((await api.call('POST', `/containers/${id}/exec`, { Cmd: ['cat'], AttachStdin: true, AttachStdout: true })).json()['Id'])
    started.push(execId)
    await cut(Buffer.concat([upgradeRequest(`/exec/${execId}/start`, body), Buffer.from('typed\n')]))
  }
  const { length } = Buffer.concat([upgradeRequest(`/exec/${'0'.repeat(64)}/start`, body), Buffer.from('typed\n')])
  for (let sent = 0; sent <= length; sent += 1) await attempt((whole) => vanish(whole, sent, 0))
  let answered = 0
  await attempt(async (whole) => {
    answered = await answerLength(whole)
  })
  for (let heard = 1; heard <= answered; heard += 1) await attempt((whole) => vanish(whole, whole.length, heard))
  await eventually(async () => (await connections()) === 0, 'a connection stayed open')
  await eventually(() => started.every((execId) => !api.containers.inspectExec(execId).running), `execs still run: ${started.filter((execId) => api.containers.inspectExec(execId).running).length}`)
  await eventually(() => openHandles() <= handles, `handles: ${openHandles()}, before ${handles}`)
  assert.equal(Object((await api.call('GET', `/containers/${id}/json`)).json()['State']).Running, true)
  await api.call('DELETE', `/containers/${id}?force=1`)
})

test('an upload in chunks may be cut at any byte: nothing is made of it', async () => {
  const names = (): number => api.containers.list().filter(({ name }) => name.startsWith('cut')).length
  const body = JSON.stringify({ Image: 'bb:1', Cmd: ['true'] })
  const half = Math.floor(body.length / 2)
  const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
  const whole = Buffer.from(`POST /containers/create?name=cut HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(body.slice(0, half))}${chunk(body.slice(half))}0\r\n\r\n`)
  for (let sent = 0; sent < whole.length - 2; sent += 1) await vanish(whole, sent, 0)
  await eventually(async () => (await connections()) === 0, 'a connection stayed open')
  assert.equal(names(), 0)
  await vanish(whole, whole.length, 12)
  await eventually(() => names() === 1, 'the whole upload makes the container')
})
